"""What exports change in a model: each function notes one kind of change."""

import keras
import numpy as np

from keras_regnet.export import rewriting
from keras_regnet.layers import folding
from keras_regnet.layers.graph import Graph


def fold_norms(model: keras.Model, changes: rewriting.Changes) -> None:
    """Makes batch norm a part of the convolution that feeds it alone.

    At inference it is a factor and an offset for each channel. What stands
    elsewhere, or shares a convolution, stays. (arXiv 1712.05877, section 3.2)
    """
    for conv, norm in folding.foldable(model):
        changes.omitted[norm.name] = conv.name
        changes.options[conv.name]["use_bias"] = True
        changes.weights[conv.name] = _folded(conv, norm)


def _folded(conv, norm):
    """Returns kernel and bias that do what both layers do."""
    array = keras.ops.convert_to_numpy
    deviation = np.sqrt(
        array(norm.moving_variance).astype("float64") + norm.epsilon
    )
    scale = (array(norm.gamma) if norm.scale else 1.0) / deviation
    offset = array(norm.beta) if norm.center else 0.0
    bias = array(conv.bias) if conv.use_bias else 0.0
    kernel = array(conv.kernel) * scale
    bias = (bias - array(norm.moving_mean)) * scale + offset
    return [kernel.astype("float32"), bias.astype("float32")]


def in_float32(model: keras.Model, changes: rewriting.Changes) -> None:
    """Computes everything in float32."""
    for layer in model.layers:
        changes.options[layer.name]["dtype"] = "float32"


def in_bfloat16(model: keras.Model, changes: rewriting.Changes) -> None:
    """Computes in bfloat16, but for normalization and the last layer."""
    for layer in model.layers[:-1]:
        if not isinstance(layer, keras.layers.Normalization):
            changes.options[layer.name]["dtype"] = "mixed_bfloat16"


def merge_groups(largest: int) -> rewriting.Rewrite:
    """Returns a rewrite to grouped convolutions with fewer and wider groups.

    There are zeros between what were groups: the same results for more
    multiplications. It pays where the processor multiplies tiles that are
    wider than a group, as x86 with AMX does in int8.

    Args:
      largest: channels that a merged group may have.
    """

    def rewrite(model, changes):
        for layer in model.layers:
            if type(layer) not in folding.CONVOLUTIONS or layer.groups == 1:
                continue
            kernel, *bias = changes.weights_of(layer)
            left = merged_groups(layer.groups, kernel.shape[2], largest)
            merged = merged_kernel(kernel, layer.groups, left)
            changes.options[layer.name]["groups"] = left
            changes.weights[layer.name] = [merged, *bias]

    return rewrite


def merged_groups(groups: int, width: int, largest: int) -> int:
    """Returns how many groups of a width are left when neighbors are merged.

    Example:
    >>> merged_groups(10, 16, 64)  # 3 and 4 do not divide 10
    5
    """
    merged = next(
        count
        for count in range(max(1, min(groups, largest // width)), 0, -1)
        if groups % count == 0
    )
    return groups // merged


def merged_kernel(kernel: np.ndarray, groups: int, left: int) -> np.ndarray:
    """Returns the kernel of the same convolution in fewer groups.

    Args:
      kernel: (height, width, channels of a group, filters).
      groups: groups of the convolution.
      left: groups that it is to have, a divisor.

    Example:
    >>> kernel = np.ones((1, 1, 1, 2))
    >>> merged_kernel(kernel, 2, 1)[0, 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    height, width, channels, filters = kernel.shape
    merged = groups // left
    filter_group = np.arange(filters) // (filters // groups) % merged
    is_own = np.arange(merged)[:, None, None] == filter_group
    wide = kernel[:, :, None] * is_own
    return wide.reshape(height, width, merged * channels, filters).astype(
        kernel.dtype
    )


def join_normalization(
    model: keras.Model, changes: rewriting.Changes
) -> np.ndarray:
    """Makes the images' deviation a part of the first convolution.

    Returns:
      The mean of each channel, which the caller subtracts from the images in
      the normalization's place; zeros if it stays, since other layers than
      one convolution read it.
    """
    channels = model.inputs[0].shape[-1]
    graph = Graph(model)
    first = graph.only_reader(model.inputs[0])
    norm = first and first.operation
    if not isinstance(norm, keras.layers.Normalization) or norm.invert:
        return np.zeros(channels)
    if max(np.shape(norm.variance)[:-1], default=1) > 1:
        return np.zeros(channels)  # Pixels have a mean each.
    reader = graph.only_reader(first.outputs[0])
    while reader and isinstance(reader.operation, keras.layers.ZeroPadding2D):
        reader = graph.only_reader(reader.outputs[0])
    conv = reader and reader.operation
    if type(conv) not in folding.CONVOLUTIONS or conv.groups > 1:
        return np.zeros(channels)
    kernel, *bias = changes.weights_of(conv)
    variance = _per_channel(norm.variance, channels)
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    changes.omitted[norm.name] = model.layers[0].name
    changes.weights[conv.name] = [kernel / deviation[:, None], *bias]
    return _per_channel(norm.mean, channels)


def _per_channel(values, channels):
    values = keras.ops.convert_to_numpy(values).astype("float64")
    return np.broadcast_to(values.reshape(-1), [channels])
