r"""Compares loaded weights with the projects that publish them.

For every network that `keras_regnet.list_weights` knows, in every form in
which it is published, the other project's own network gets random weights and
random batch-norm statistics and writes its file; `weights=` loads it here,
and features of every stage and logits are compared, in float32.

    python benchmarks/weight_parity.py --torch_python=/path/to/python \
        --tf_keras_python=/path/to/python --kecam_python=/path/to/python \
        --output=weight_parity.json

`tests/oracles` says what the interpreters need. Networks that the output has
already are left out, so that the same command resumes where it stopped.
"""

import contextlib
import gc
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags

from benchmarks.harness import child
from benchmarks.harness import host
from keras_regnet import atomic
from keras_regnet import plan
from keras_regnet.weights import records
from tests.support import oracle_weights

_FAMILIES = (
    *("timm", "byobnet", "torchvision", "transformers"),
    *("pycls", "classy", "swag", "keras_applications", "kecam"),
)
# Networks of which no weights were published: family and the other's name.
_UNTRAINED = {
    "RegNetY-4.0GF-GroupNorm": ("timm", "regnety_040_sgn"),
    "RegNetZ-B16-EvoNorm": ("byobnet", "regnetz_b16_evos"),
}
# Families that PyTorch does not write, and the module that does.
_OF_KERAS_2 = {
    "keras_applications": "tf_keras_weights",
    "kecam": "kecam_weights",
}

_ASKED = flags.DEFINE_multi_enum(
    "family", _FAMILIES, _FAMILIES, "Forms to compare, one flag for each."
)
_VARIANTS = flags.DEFINE_list(
    "variants", None, "Networks to compare; all by default."
)
_MAX_GIGAFLOPS = flags.DEFINE_float(
    "max_gigaflops", 33, "Larger networks are left out.", 0
)
_SIZES = flags.DEFINE_multi_integer(
    "size", [224, 193], "Height and width of the images, an even one first.", 32
)
_TORCH_PYTHON = flags.DEFINE_string("torch_python", None, "Interpreter.")
_TF_KERAS_PYTHON = flags.DEFINE_string("tf_keras_python", None, "Interpreter.")
_KECAM_PYTHON = flags.DEFINE_string("kecam_python", None, "Interpreter.")
_OUTPUT = flags.DEFINE_string(
    "output", "weight_parity.json", "JSON file; a table is written beside it."
)


class Task(NamedTuple):
    """One network in one form.

    Args:
      family: the form.
      variant: the network.
      rounding: of its widths.
      arch: the name that the other project has for it, "" if it is made from
        its stages.
    """

    family: str
    variant: str
    rounding: str
    arch: str

    @property
    def name(self) -> str:
        """What its row is called."""
        rounded = ", torchvision's widths" * (self.rounding != "pycls")
        return self.variant + rounded


def _arch(record):
    if record.source == "timm":
        return record.hub_id.split("/")[1].split(".")[0]
    if record.format not in _OF_KERAS_2:
        return ""
    # RegNetX002 of "regnetx002.h5", RegNetZB16 of "regnetz_b16_imagenet.h5",
    # RegNetZC16_EVO of "regnetz_c16_evo_imagenet.h5".
    code = record.file.removesuffix(".h5").removesuffix("_imagenet")
    kind, size = re.fullmatch("regnet([a-z])_?(.+)", code).groups()
    return f"RegNet{kind.upper()}{size.upper()}"


def tasks() -> Iterator[Task]:
    """Yields what the flags ask for, small networks first."""
    found = set()
    for task in (*_published(), *_untrained()):
        flops = keras_regnet.complexity(
            keras_regnet.get_config(task.variant)
        ).flops
        wanted = _VARIANTS.value is None or task.variant in _VARIANTS.value
        if wanted and flops <= _MAX_GIGAFLOPS.value * 1e9:
            found.add((_FAMILIES.index(task.family), flops, task))
    for _, _, task in sorted(found):
        yield task


def _published():
    for record in keras_regnet.list_weights():
        if record.format not in _FAMILIES:
            continue
        config = keras_regnet.get_config(record.variant)
        # The rounding counts only where it makes a difference.
        rounded = _config(record.variant, record.width_rounding)
        same = plan.stages(rounded) == plan.stages(config)
        rounding = "pycls" if same else record.width_rounding
        yield Task(record.format, record.variant, rounding, _arch(record))


def _untrained():
    for variant, (family, arch) in _UNTRAINED.items():
        yield Task(family, variant, "pycls", arch)


def _config(variant, rounding):
    config = keras_regnet.get_config(variant)
    if isinstance(config, keras_regnet.AnyNetConfig):
        return config
    values = json.loads(config.to_json()) | {"width_rounding": rounding}
    return keras_regnet.config.from_dict(values)


def request(task: Task, folder: str) -> dict[str, object]:
    """Returns what the oracle needs to write a network.

    Args:
      task: the network.
      folder: where to write.

    Returns:
      The request for `answer` of the oracle.
    """
    suffix = "h5" if task.family in _OF_KERAS_2 else "safetensors"
    config = _config(task.variant, task.rounding)
    stages = plan.stages(config)
    typical = records.typical(task.family, task.variant)
    asked = {
        "family": task.family,
        "classes": 1000,
        "sizes": _SIZES.value,
        "stem_width": config.stem_width,
        "depths": [stage.depth for stage in stages],
        "widths": [stage.width for stage in stages],
        "group_widths": [stage.group_width for stage in stages],
        "se": bool(config.se_ratio),
        "mean": typical.mean,
        "std": typical.std,
        "weights": os.path.join(folder, f"weights.{suffix}"),
        "outputs": os.path.join(folder, "outputs.npz"),
    }
    if isinstance(config, keras_regnet.RegNetConfig):
        names = ("depth", "w_0", "w_a", "w_m", "group_width")
        line = {name: getattr(config, name) for name in names}
        asked["torchvision"] = {**line, "bottleneck_multiplier": 1.0}
    if task.arch:
        asked["arch"] = task.arch
    return asked


def compare(task: Task, asked: dict[str, object]) -> dict[str, object]:
    """Loads what the oracle wrote, and returns the row of the comparison.

    Args:
      task: the network.
      asked: the oracle's request, which it has answered.

    Returns:
      The largest differences, relative to the largest value of each tensor.
    """
    model = keras_regnet.build(
        task.variant,
        weights=asked["weights"],
        input_shape=(None, None, 3),
        classifier_activation=None,
    )
    stages = list(model.pyramid_outputs.values())[-len(asked["depths"]) :]
    names = [f"stage{number}" for number in range(1, len(stages) + 1)]
    outputs = keras.Model(model.input, [*stages, model.output])
    expected = np.load(asked["outputs"])
    differences = {}
    for size in asked["sizes"]:
        values = outputs(oracle_weights.photos(size), training=False)
        for name, value in zip([*names, "logits"], values, strict=True):
            wanted = expected[f"{size}/{name}"]
            relative = _relative_difference(value.numpy(), wanted)
            differences[f"{name} at {size}"] = relative
    return {
        "family": task.family,
        "network": task.name,
        "params": model.count_params(),
        "largest": max(differences.values()),
        "differences": differences,
    }


def _relative_difference(got, wanted):
    scale = np.abs(wanted).max()
    if not (np.isfinite(wanted).all() and scale > 0):
        raise ValueError("The other project computed nothing to compare with.")
    return float(np.abs(got - wanted).max() / scale)


def _table(rows):
    """Returns a Markdown table: networks by families, in millionths."""
    families = [f for f in _FAMILIES if any(r["family"] == f for r in rows)]
    found = {(row["network"], row["family"]): row["largest"] for row in rows}
    lines = [
        f"| network | {' | '.join(families)} |",
        f"| --- |{' --- |' * len(families)}",
    ]
    for network in dict.fromkeys(_in_order(row["network"] for row in rows)):
        cells = [
            f"{found[network, family] * 1e6:.2f}"
            if (network, family) in found
            else ""
            for family in families
        ]
        lines.append(f"| {network} | {' | '.join(cells)} |")
    return lines


def _in_order(networks):
    order = keras_regnet.list_variants()
    return sorted(networks, key=lambda n: (order.index(n.split(",")[0]), n))


def _write(record):
    rows = record["rows"]
    contents = json.dumps(record, indent=1) + "\n"
    atomic.write(_OUTPUT.value, contents.encode())
    worst = max(rows, key=lambda row: row["largest"])
    header = {k: v for k, v in record.items() if k != "rows"}
    text = [
        "# Loaded weights against their own projects",
        "",
        "Largest difference of any stage's features or the logits, at any of",
        "the sizes, relative to the largest value of its tensor, in millionths",
        "(1 is 1e-6). Weights and batch-norm statistics are random.",
        "",
        *_table(rows),
        "",
        f"The largest of {len(rows)}: {worst['largest']:.1e} "
        f"({worst['network']}, {worst['family']}).",
        "",
        *(f"- {name}: {value}" for name, value in header.items()),
    ]
    path = pathlib.Path(_OUTPUT.value).with_suffix(".md")
    path.write_text("\n".join(text) + "\n")


def _header():
    # Without the folders of this machine.
    line = " ".join(["python benchmarks/weight_parity.py", *sys.argv[1:]])
    line = re.sub(r"(-\w+_python[= ])\S+", r"\1PYTHON", line)
    return {
        "cpu": host.cpu_model(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "keras_regnet": keras_regnet.__version__,
        "sizes": _SIZES.value,
        "command": re.sub(r"(-output[= ])\S*/", r"\1", line),
    }


def _module(task):
    """Returns the oracle of a task's family."""
    return _OF_KERAS_2.get(task.family, "torch_weights")


def _start(module, stack, children):
    """Returns the process of a module, None if no interpreter is given."""
    flag = {
        "torch_weights": _TORCH_PYTHON,
        "tf_keras_weights": _TF_KERAS_PYTHON,
        "kecam_weights": _KECAM_PYTHON,
    }[module]
    if flag.value is None:
        return None
    if module not in children:
        command = [_interpreter(flag.value), "-m", "benchmarks.harness.worker"]
        command += ["benchmarks.cases.weight_oracle", str(os.cpu_count())]
        children[module] = stack.enter_context(child.Child(command))
    return children[module]


def _interpreter(name):
    """Returns the path of an interpreter: its process has another folder."""
    found = shutil.which(name)
    return os.path.abspath(found) if found else name


def _run(stack):
    record = {**_header(), "rows": []}
    output = pathlib.Path(_OUTPUT.value)
    if output.exists():
        record["rows"] = json.loads(output.read_text())["rows"]
    done = {(row["family"], row["network"]) for row in record["rows"]}
    children = {}
    # Before the output is written, which may be under version control.
    revision = host.revision()
    for task in tasks():
        known = (task.family, task.name) in done
        if known or task.family not in _ASKED.value:
            continue
        oracle = _start(_module(task), stack, children)
        if oracle is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            asked = request(task, folder)
            reply = oracle.call({"oracle": _module(task), "asked": asked})
            record.update(reply["versions"])
            row = compare(task, asked)
        # Rows of one file may have been computed at different times.
        record["rows"].append({**row, "revision": revision})
        record["revisions"] = sorted({r["revision"] for r in record["rows"]})
        print(f"{task.family} {task.name}: {row['largest']:.1e}", flush=True)
        _write(record)
        keras.backend.clear_session()
        gc.collect()


def main(argv: list[str]) -> None:
    """Compares, and writes after every network."""
    del argv
    with contextlib.ExitStack() as stack:
        try:
            _run(stack)
        except child.CaseError as error:
            sys.exit(f"Error: {error}")


if __name__ == "__main__":
    app.run(main)
