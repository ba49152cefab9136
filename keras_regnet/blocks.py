"""Stems, blocks and heads: functions from tensor to tensor.

`LayerMaker` carries what all layers of one network share, so that a block
reads like its drawing in the paper. Layer names are fixed, stages and blocks
counted from 1, and the model's name is no part of them.
"""

import dataclasses
import math
from typing import Any

import keras

from keras_regnet import errors
from keras_regnet import layers
from keras_regnet import plan
from keras_regnet.complexity import squeeze_width
from keras_regnet.config import NetworkTemplate
from keras_regnet.plan import Stage

BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5
HEAD_STDDEV = 0.01

# Nothing follows the sum of these.
_LINEAR_BLOCKS = ("z", "pre")


def _conv_initializer():
    """The paper's: fan-out of the whole kernel, groups not considered.

    A new one for each layer: a shared Keras initializer draws the same
    weights every time.
    """
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_out", distribution="untruncated_normal"
    )


def _bias_initializer(fan_in):
    """PyTorch's default, which the paper's code leaves to its SE biases."""
    bound = 1 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-bound, bound)


def _is_activation(name):
    helpers = ("get", "serialize", "deserialize")
    return name[0] != "_" and name not in helpers


def check_activation(argument: str, activation: Any) -> None:
    """Raises unless Keras knows an activation.

    Args:
      argument: the argument's name, for the error.
      activation: a name, a function or None.

    Raises:
      ValueError: if Keras has no activation of that name.
    """
    try:
        keras.activations.get(activation)
    except ValueError as error:
        known = sorted(filter(_is_activation, dir(keras.activations)))
        raise errors.unknown_value(argument, activation, known) from error


@dataclasses.dataclass(frozen=True)
class LayerMaker:
    """Makes the layers of one network.

    Args:
      config: what all blocks have in common.
      data_format: "channels_last" or "channels_first".
      synchronized_bn: whether batch norm takes its statistics over all
        replicas of a `tf.distribute` strategy.
      zero_init_last_gamma: whether each residual branch starts at zero; what
        has no shortcut beside it does not.

    Raises:
      ValueError: if Keras has no activation of the config's name.
    """

    config: NetworkTemplate
    data_format: str
    synchronized_bn: bool = False
    zero_init_last_gamma: bool = False

    def __post_init__(self) -> None:
        for argument in ("activation", "se_activation"):
            check_activation(argument, getattr(self.config, argument))

    @property
    def channel_axis(self) -> int:
        """The axis of an image tensor that holds the channels."""
        return 1 if self.data_format == "channels_first" else 3

    def activation(self, x, name):
        """Applies the network's activation."""
        return keras.layers.Activation(self.config.activation, name=name)(x)

    def batch_norm(self, x, name, *, last=False):
        """Normalises; `last` marks the end of a residual branch."""
        zero = last and self.zero_init_last_gamma
        return layers.BatchNormalization(
            axis=self.channel_axis,
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPSILON,
            gamma_initializer="zeros" if zero else "ones",
            synchronized=self.synchronized_bn,
            name=name,
        )(x)

    def norm_act(self, x, name):
        """Normalises, then activates."""
        return self.activation(self.batch_norm(x, name), f"{name}_act")

    def conv(
        self,
        x,
        filters,
        kernel,
        name,
        *,
        stride=1,
        groups=1,
        dilation=1,
        initializer=None,
    ):
        """Convolves without bias; height and width shrink by the stride."""
        padding = "same"
        if stride > 1 and kernel > 1 and self.config.padding == "symmetric":
            padding = "valid"
            x = keras.layers.ZeroPadding2D(
                kernel // 2, data_format=self.data_format, name=f"{name}_pad"
            )(x)
        return layers.GroupedConv2D(
            filters,
            kernel,
            strides=stride,
            padding=padding,
            groups=groups,
            dilation_rate=dilation,
            use_bias=False,
            kernel_initializer=initializer or _conv_initializer(),
            data_format=self.data_format,
            name=name,
        )(x)

    def conv_bn(self, x, filters, kernel, name, *, last=False, **conv_options):
        """Convolves, then normalises."""
        x = self.conv(x, filters, kernel, name, **conv_options)
        return self.batch_norm(x, f"{name}_bn", last=last)

    def conv_bn_act(self, x, filters, kernel, name, **conv_options):
        """Convolves, normalises, then activates."""
        x = self.conv_bn(x, filters, kernel, name, **conv_options)
        return self.activation(x, f"{name}_act")

    def squeeze_excite(self, x, squeeze, name):
        """Scales each channel by a gate computed from all channels.

        Source: paper, appendix D (Y block); arXiv 1709.01507.
        """
        width = x.shape[self.channel_axis]
        gate = keras.layers.GlobalAveragePooling2D(
            keepdims=True, data_format=self.data_format, name=f"{name}_pool"
        )(x)
        activation = self.config.se_activation or self.config.activation
        gate = self._gate_conv(gate, squeeze, activation, f"{name}_reduce")
        gate = self._gate_conv(gate, width, "sigmoid", f"{name}_expand")
        return keras.layers.Multiply(name=f"{name}_scale")([x, gate])

    def _gate_conv(self, x, filters, activation, name):
        return layers.GroupedConv2D(
            filters,
            1,
            activation=activation,
            kernel_initializer=_conv_initializer(),
            bias_initializer=_bias_initializer(x.shape[self.channel_axis]),
            data_format=self.data_format,
            name=name,
        )(x)


def stem_conv(make: LayerMaker, x, conv: plan.StemConv):
    """Returns the output of one of the stem's convolutions.

    Args:
      make: the layers' maker.
      x: images (batch, height, width, channels) or what the convolution
        before returned.
      conv: name, width, kernel and stride.

    Returns:
      (batch, height / stride, width / stride, conv.width).
    """
    apply = make.conv if conv.bare else make.conv_bn_act
    return apply(x, conv.width, conv.kernel, conv.name, stride=conv.stride)


def stem_pool(make: LayerMaker, x):
    """Returns the output of the stem's 3x3 max-pool.

    Args:
      make: the layers' maker.
      x: (batch, height, width, channels).

    Returns:
      (batch, height / 2, width / 2, channels).
    """
    options = {
        "strides": 2,
        "data_format": make.data_format,
        "name": "stem_pool",
    }
    if make.config.padding == "same":
        return keras.layers.MaxPooling2D(3, padding="same", **options)(x)
    return layers.PaddedMaxPooling2D(3, **options)(x)


def _spatial(stage, first):
    """Stride and dilation of a block's first 3x3 convolution."""
    if first:
        return {"stride": stage.stride, "dilation": stage.first_dilation}
    return {"stride": 1, "dilation": stage.dilation}


def _bottleneck(make, x, stage, first, name):
    """1x1, 3x3 in groups, [SE], 1x1: blocks X, Y, R and Z."""
    inputs = x.shape[make.channel_axis]
    inner, groups = stage.inner_of(first)
    options = {"groups": groups, **_spatial(stage, first)}
    x = make.conv_bn_act(x, inner, 1, f"{name}_conv1")
    x = make.conv_bn_act(x, inner, 3, f"{name}_conv2", **options)
    squeeze = squeeze_width(make.config, inputs, inner)
    if squeeze:
        x = make.squeeze_excite(x, squeeze, f"{name}_se")
    return make.conv_bn(x, stage.width, 1, f"{name}_conv3", last=True)


def _pre_activated(make, x, stage, first, name):
    """The same with norm and activation before each convolution.

    Those before the first are applied already: the shortcut has them too.
    """
    inputs = x.shape[make.channel_axis]
    inner, groups = stage.inner_of(first)
    options = {"groups": groups, **_spatial(stage, first)}
    x = make.conv(x, inner, 1, f"{name}_conv1")
    x = make.norm_act(x, f"{name}_norm2")
    x = make.conv(x, inner, 3, f"{name}_conv2", **options)
    squeeze = squeeze_width(make.config, inputs, inner)
    if squeeze:
        x = make.squeeze_excite(x, squeeze, f"{name}_se")
    x = make.norm_act(x, f"{name}_norm3")
    # A gamma of zero in front of a ReLU would never learn; a kernel does.
    zeros = keras.initializers.Zeros() if make.zero_init_last_gamma else None
    return make.conv(x, stage.width, 1, f"{name}_conv3", initializer=zeros)


def _plain(make, x, stage, first, name):
    """One 3x3: blocks V and VR."""
    return make.conv_bn(
        x,
        stage.width,
        3,
        f"{name}_conv1",
        last=make.config.block == "vr",
        **_spatial(stage, first),
    )


def _basic(make, x, stage, first, name):
    """3x3, 3x3: the basic residual block."""
    x = make.conv_bn_act(
        x, stage.width, 3, f"{name}_conv1", **_spatial(stage, first)
    )
    return make.conv_bn(
        x, stage.width, 3, f"{name}_conv2", dilation=stage.dilation, last=True
    )


_MAIN_PATHS = {
    "x": _bottleneck,
    "z": _bottleneck,
    "pre": _pre_activated,
    "v": _plain,
    "vr": _plain,
    "basic": _basic,
}


def _shortcut_kind(make, x, stage, first):
    """Returns what the other branch of the sum does, None without a sum."""
    return plan.shortcut(
        make.config.block,
        x.shape[make.channel_axis],
        stage.width,
        stage.nominal_stride if first else 1,
    )


def _projection(make, x, stage, first, name):
    """Returns a shortcut that changes width or size."""
    stride = stage.stride if first else 1
    if make.config.projection == "pool" and stride > 1:
        # At an odd size the last window holds fewer pixels.
        x = keras.layers.AveragePooling2D(
            stride,
            padding="same",
            data_format=make.data_format,
            name=f"{name}_pool",
        )(x)
        stride = 1
    apply = make.conv if make.config.block == "pre" else make.conv_bn
    return apply(x, stage.width, 1, name, stride=stride)


def block(make: LayerMaker, x, stage: Stage, first: bool, name: str, drop=0.0):
    """Returns the output of one block.

    Args:
      make: the layers' maker.
      x: (batch, height, width, channels).
      stage: the block's stage.
      first: whether it is the stage's first, which carries the stride.
      name: prefix of the layers' names.
      drop: probability that an image skips the residual branch in training.

    Returns:
      (batch, height / s, width / s, stage.width); s is the stage's stride in
      its first block, otherwise 1.

    Source:
      Paper, figure 4 and appendix D; stochastic depth: arXiv 1603.09382;
      pre-activation: arXiv 1603.05027, as timm's RegNetV has it.
    """
    if make.config.block == "pre":
        x = make.norm_act(x, f"{name}_norm1")
    kind = _shortcut_kind(make, x, stage, first)
    if kind is None:
        # A zero that nothing is added to would silence all that follows.
        make = dataclasses.replace(make, zero_init_last_gamma=False)
    main = _MAIN_PATHS[make.config.block](make, x, stage, first, name)
    if kind is not None:
        shortcut = x
        if kind == "project":
            shortcut = _projection(make, x, stage, first, f"{name}_shortcut")
        if drop:
            main = keras.layers.Dropout(
                drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_path"
            )(main)
        # In this order a file of tf_keras.applications loads by topology.
        main = keras.layers.Add(name=f"{name}_add")([main, shortcut])
    if make.config.block in _LINEAR_BLOCKS:
        return main
    return make.activation(main, f"{name}_act")


def stage(make: LayerMaker, x, stage: Stage, name: str, drop_rates):
    """Returns the output of a stage: its first block carries the stride.

    Args:
      make: the layers' maker.
      x: (batch, height, width, channels).
      stage: depth, widths, stride and groups.
      name: prefix of the layers' names.
      drop_rates: iterator over the blocks' drop-path rates.

    Returns:
      (batch, height / stage.stride, width / stage.stride, stage.width).
    """
    for number in range(1, stage.depth + 1):
        block_name = f"{name}_block{number}"
        x = block(make, x, stage, number == 1, block_name, next(drop_rates))
    return x


def head(make: LayerMaker, x):
    """Returns the features that are pooled.

    Args:
      make: the layers' maker.
      x: output of the last stage (batch, height, width, channels).

    Returns:
      (batch, height, width, `head_width` or channels).
    """
    if make.config.head_width:
        return make.conv_bn_act(x, make.config.head_width, 1, "head_conv")
    if make.config.block in _LINEAR_BLOCKS:
        return make.activation(x, "head_act")
    return x
