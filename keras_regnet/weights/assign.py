"""Assigning tensors to a model: everything fits, or nothing is touched."""

import re
from collections.abc import Collection
from collections.abc import Mapping

import keras
import numpy as np

from keras_regnet.weights import transforms
from keras_regnet.weights import values
from keras_regnet.weights.mapping import Source
from keras_regnet.weights.readers.tensors import Tensors

_NAMES_SHOWN = 3
_RGB = 3
_FLOAT16_MAX = float(np.finfo("float16").max)


def assign(
    model: keras.Model,
    tensors: Mapping[str, np.ndarray],
    sources: Mapping[str, Source],
    *,
    dropped: str = r"\bnum_batches_tracked$",
    unfilled: Collection[str] = (),
    unused: Collection[str] = (),
    stem: str = "",
) -> None:
    """Assigns every variable of a model, after all checks have passed.

    The tensors are read twice, one at a time, so that a mapping which reads
    them from a file on access keeps no second copy of the weights in memory.

    Args:
      model: the model; every variable gets a value.
      tensors: arrays by their name in the file.
      sources: where the variables come from, see
        `keras_regnet.weights.mapping.of_format`; without the classifier if the
        file's is not to be loaded.
      dropped: a regular expression, found in the names of tensors that are
        left out; see `keras_regnet.weights.formats.Layout`.
      unfilled: paths of variables that keep their value.
      unused: names of tensors that may be left over, such as those of a
        classifier that is not to be loaded.
      stem: path of the first kernel, if one made for three channels is to be
        adapted to the model's number, see `adapt_input_channels`.

    Raises:
      ValueError: if a tensor or a variable is left over, shapes differ, or a
        value is not one that a network can compute with (not finite, beyond the
        variable's precision, a negative variance, a whole number); the model
        is as it was.
    """
    targets = _targets(model, unfilled)
    _check_names(targets, tensors, sources, dropped, unused)
    _check_shapes(targets, tensors, sources, stem)
    for path, target in targets.items():
        array = _read(tensors, sources[path], target, path, stem)
        reason = _unfit_numbers(array, target, path)
        if reason:
            raise ValueError(f"The tensor {sources[path].name!r} {reason}.")
    for path, target in targets.items():
        target.assign(_read(tensors, sources[path], target, path, stem))


def _unfit_numbers(array, target, path):
    """Returns why a variable cannot take some numbers, None if it can."""
    reason = values.unfit(array, path.rpartition("/")[2])
    if reason is not None or target.dtype != "float16":
        return reason
    if np.abs(array).max(initial=0) <= _FLOAT16_MAX:
        return None
    return (
        "holds numbers beyond what float16 can, the type of the model's "
        "variables; use the policy 'mixed_float16'"
    )


def _check_shapes(targets, tensors, sources, stem):
    """Raises if a tensor has another shape, before any is read."""
    if not isinstance(tensors, Tensors):
        return
    # Of one number, spread over the shape: no memory is taken.
    spread = tensors.spread()
    for path, target in targets.items():
        _read(spread, sources[path], target, path, stem)


def _targets(model, unfilled):
    return {
        variable.path: variable
        for variable in model.weights
        if variable.path not in unfilled
    }


def _check_names(targets, tensors, sources, dropped, unused):
    present = {name for name in tensors if not re.search(dropped, name)}
    expected = {sources[path].name for path in targets if path in sources}
    missing = sorted(expected - present)
    unmapped = sorted(targets.keys() - sources.keys())
    left_over = sorted(present - expected - set(unused))
    if missing or unmapped or left_over:
        raise ValueError(
            f"missing in the file: {_some(missing + unmapped)}; "
            f"left over in it: {_some(left_over)}."
        )


def _some(names):
    listed = ", ".join(names[:_NAMES_SHOWN]) or "none"
    more = len(names) - _NAMES_SHOWN
    return f"{listed} and {more} more" if more > 0 else listed


def _read(tensors, source, target, path, stem):
    """Returns a tensor in Keras's layout, of the variable's shape."""
    array = transforms.to_keras(source.transform, tensors[source.name])
    shape = tuple(target.shape)
    others_fit = array.shape[:2] + array.shape[3:] == shape[:2] + shape[3:]
    if path == stem and array.shape[2] == _RGB and others_fit:
        array = adapt_input_channels(array, shape[2])
    if array.shape != shape:
        raise ValueError(
            f"The tensor {source.name!r} has, in Keras's order of axes, the "
            f"shape {array.shape}, where {path!r} needs {shape}."
        )
    return array


def adapt_input_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Returns a stem's kernel for another number of input channels.

    Args:
      kernel: (height, width, 3, outputs), red first.
      channels: the number of channels of the images.

    Returns:
      (height, width, channels, outputs): for one channel the sum over the
      three, otherwise the three repeated in turn and scaled by 3 / channels,
      so that the sum over equal channels stays what it was.

    Source:
      timm's rule for pretrained stems (`adapt_input_conv`).

    Example:
    >>> adapt_input_channels(np.ones((1, 1, 3, 1)), 4)[0, 0, :, 0].tolist()
    [0.75, 0.75, 0.75, 0.75]
    """
    if channels == _RGB:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    taken = [channel % _RGB for channel in range(channels)]
    return kernel[:, :, taken] * np.asarray(_RGB / channels, kernel.dtype)
