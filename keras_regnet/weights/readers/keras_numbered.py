"""Where tensors are in the files in which Keras numbers layers by class.

From 2.13 on, Keras 2 could also write `.keras` and `.weights.h5`. In these the
twelfth convolution is "conv2d_11", whatever its name. A `.keras` file lists the
names beside; a `.weights.h5` file does not, and leaves only the order, which
for these networks is always the same. As nothing in the file's structure
would show an exchange of two layers of one shape, the numbers are asked.
"""

import collections
import math
import re
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

_VARIABLES = {
    "Conv2D": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
# The order in which convolutions of a block are listed.
_MAIN = ("conv_1x1_1", "conv_3x3")
_GATES = ("squeeze_and_excite_squeeze", "squeeze_and_excite_excite")
_NAME = "network"
# Above this, a better fit of the exchanged order is not due to chance.
_MAX_STANDARD_ERRORS = 5


def paths(file: h5py.Group, config: dict[str, Any]) -> dict[str, str]:
    """Returns where each tensor is, from the description of the model."""
    found = {}
    for name, variable, location in _walk(file, config):
        if f"{name}/{variable}" in found:
            raise KeyError(f"two tensors are named {name}/{variable}")
        found[f"{name}/{variable}"] = location
    return found


def _walk(
    group: h5py.Group, config: dict[str, Any]
) -> Iterator[tuple[str, str, str]]:
    seen: collections.Counter[str] = collections.Counter()
    for layer in config["config"]["layers"]:
        kind = layer["class_name"]
        key = _numbered(_snake_case(kind), seen[kind])
        seen[kind] += 1
        if f"layers/{key}" not in group:
            continue
        inner = group[f"layers/{key}"]
        if "layers" in layer["config"]:
            yield from _walk(inner, layer)
            continue
        variables = inner.get("vars", {})
        usual = _VARIABLES.get(kind, ())
        for number in sorted(variables, key=int):
            known = int(number) < len(usual)
            variable = usual[int(number)] if known else number
            yield layer["config"]["name"], variable, variables[number].name


def _numbered(name, number):
    return f"{name}_{number}" if number else name


def _snake_case(name):
    """Returns the class's name as Keras writes it in files."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def paths_by_order(file: h5py.Group) -> dict[str, str]:
    """Returns where each tensor is in a file without names."""
    group = _network(file)
    convs = _of_class(group, "conv2d")
    norms = _of_class(group, "batch_normalization")
    names = list(_conv_names(convs))
    found = {}
    layers = [("Conv2D", *pair) for pair in zip(names, convs, strict=True)]
    norm_names = [_norm_name(n) for n in names if not n.endswith(_GATES)]
    if len(norm_names) != len(norms):
        raise KeyError(f"{len(names)} convolutions, {len(norms)} norms")
    layers += [
        ("BatchNormalization", *pair)
        for pair in zip(norm_names, norms, strict=True)
    ]
    for kind, name, layer in layers:
        for number, variable in enumerate(_VARIABLES[kind]):
            if str(number) in layer["vars"]:
                location = layer["vars"][str(number)].name
                found[f"{_NAME}_{name}/{variable}"] = location
    _check_not_exchanged(file, found)
    return found | dict(_others(file, set(found.values())))


def _others(
    file: h5py.Group, taken: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yields the tensors of other layers, under the file's names for them."""
    datasets: list[str] = []
    file["layers"].visititems(
        lambda _, node: (
            datasets.append(node.name)
            if isinstance(node, h5py.Dataset) and node.name not in taken
            else None
        )
    )
    for location in datasets:
        *_, layer, _, number = location.split("/")
        usual = _VARIABLES["Dense"] if layer.startswith("dense") else ()
        known = int(number) < len(usual)
        yield f"{layer}/{usual[int(number)] if known else number}", location


def _network(file):
    """Returns the group that holds a network's layers, nested or not."""
    if "layers/conv2d" in file:
        return file
    inner = [
        group
        for name, group in file.get("layers", {}).items()
        if name.startswith(("functional", "sequential"))
    ]
    for group in inner:
        if "layers/conv2d" in group:
            return group
    raise KeyError("no layers of a network in it")


def _of_class(group, name):
    numbers = range(len(group["layers"]))
    keys = (_numbered(name, number) for number in numbers)
    return [group["layers"][key] for key in keys if key in group["layers"]]


def _norm_name(conv):
    if conv == "stem_conv":
        return "stem_bn"
    if conv.endswith("skip_1x1"):
        return conv.removesuffix("1x1") + "bn"
    return f"{conv}_bn"


def _conv_names(convs: list[h5py.Group]) -> Iterator[str]:
    """Yields the names of convolutions from their kernels' sizes.

    A block is 1x1, 3x3, [two 1x1 with bias], 1x1, and in a stage's first
    block the shortcut's 1x1: the one that no 3x3 follows.
    """
    sizes = [conv["vars/0"].shape[0] for conv in convs] + [1]
    gated = any("1" in conv["vars"] for conv in convs)
    letter = "Y" if gated else "X"
    yield "stem_conv"
    stage, block, at = -1, 0, 1
    while at < len(convs):
        parts = [*_MAIN, *(_GATES if gated else ()), "conv_1x1_2"]
        after = at + len(parts)
        first = after < len(convs) and sizes[after + 1] == 1
        if first:
            parts.append("skip_1x1")
        stage, block = (stage + 1, 0) if first else (stage, block + 1)
        if sizes[at : at + 2] != [1, 3] or after > len(convs):
            raise KeyError(f"no block begins at convolution {at}")
        for part in parts:
            yield f"Stage_{stage}_{letter}Block_{block}_{part}"
        at += len(parts)


def _check_not_exchanged(file: h5py.Group, found: dict[str, str]) -> None:
    """Raises if shortcuts' numbers fit the main paths, and the other way.

    A channel whose kernel is large has a large running variance: the
    logarithms of both go together, in a trained network.
    """
    as_named = exchanged = chance = 0.0
    for name in found:
        if not name.endswith("skip_1x1/kernel"):
            continue
        block = name.removesuffix("skip_1x1/kernel")
        kernels = [
            _log(np.square(file[found[f"{block}{conv}/kernel"]]).sum((0, 1, 2)))
            for conv in ("conv_1x1_2", "skip_1x1")
        ]
        variances = [
            _log(file[found[f"{block}{norm}/moving_variance"]])
            for norm in ("conv_1x1_2_bn", "skip_bn")
        ]
        as_named += _correlation(kernels[0], variances[0])
        as_named += _correlation(kernels[1], variances[1])
        exchanged += _correlation(kernels[0], variances[1])
        exchanged += _correlation(kernels[1], variances[0])
        # Each of the four correlations is off by 1 / sqrt(channels).
        chance += 4 / len(variances[0])
    if exchanged > as_named + _MAX_STANDARD_ERRORS * math.sqrt(chance):
        raise ValueError(
            "The shortcuts' running variances fit the kernels of the main "
            "paths: the file's layers are not in Keras 2's order."
        )


def _log(values):
    return np.log(np.asarray(values) + 1e-12)


def _correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale else 0.0
