"""Stems, blocks and heads: functions from tensor to tensor.

`LayerMaker` makes a layer from its row in `rows`, so that a block reads like
its drawing in the paper. Layer names are fixed, stages and blocks
counted from 1, and the model's name is not part of them.
"""

import dataclasses
import math
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor

from keras_regnet import errors
from keras_regnet import layers
from keras_regnet import plan
from keras_regnet.config import NetworkTemplate
from keras_regnet.rows import Layer

BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5
GROUP_NORM_EPSILON = 1e-5
EVONORM_EPSILON = 1e-3
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
    """Raises unless Keras knows an activation: a name, a function or None."""
    try:
        keras.activations.get(activation)
    except ValueError as error:
        known = sorted(filter(_is_activation, dir(keras.activations)))
        raise errors.unknown_value(argument, activation, known) from error


@dataclasses.dataclass(frozen=True)
class LayerMaker:
    """Makes the layers of one network, each from the row of its name.

    Args:
      config: what all blocks have in common.
      rows: the rows of the network's plan, by name.
      data_format: "channels_last" or "channels_first".
      synchronized_bn: whether batch norm takes its statistics over all
        replicas of a `tf.distribute` strategy.
      zero_init_last_gamma: whether each residual branch starts at zero;
        a block without a shortcut does not.

    Raises:
      ValueError: if Keras has no activation of the config's name.
    """

    config: NetworkTemplate
    rows: Mapping[str, Layer]
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

    def activation(self, x: KerasTensor, name: str) -> KerasTensor:
        """Applies the network's activation."""
        return keras.layers.Activation(self.config.activation, name=name)(x)

    def norm(
        self, x: KerasTensor, name: str, *, last: bool = False
    ) -> KerasTensor:
        """Normalizes; `last` marks the end of a residual branch.

        A norm of the kind "evonorm_act" is the activation, too.
        """
        row = self.rows[name]
        zero = last and self.zero_init_last_gamma
        options: dict[str, Any] = {
            "axis": self.channel_axis,
            "gamma_initializer": "zeros" if zero else "ones",
            "name": name,
        }
        if row.kind == "norm":
            norm = layers.BatchNormalization(
                momentum=BATCH_NORM_MOMENTUM,
                epsilon=BATCH_NORM_EPSILON,
                synchronized=self.synchronized_bn,
                **options,
            )
        elif row.kind == "group_norm":
            norm = layers.GroupNormalization(
                row.groups, epsilon=GROUP_NORM_EPSILON, **options
            )
        else:
            norm = layers.EvoNormS0a(
                int(row.groups),
                epsilon=EVONORM_EPSILON,
                activates=row.kind == "evonorm_act",
                **options,
            )
        return norm(x)

    def norm_act(self, x: KerasTensor, name: str) -> KerasTensor:
        """Normalizes, then activates where the norm has not done so."""
        x = self.norm(x, name)
        if self.rows[name].kind == "evonorm_act":
            return x
        return self.activation(x, f"{name.removesuffix('_bn')}_act")

    def conv(
        self,
        x: KerasTensor,
        name: str,
        initializer: keras.Initializer | None = None,
    ) -> KerasTensor:
        """Convolves without bias; height and width shrink by the stride."""
        row = self.rows[name]
        padding = "same"
        strided = row.stride > 1 and row.kernel > 1
        if strided and self.config.padding == "symmetric":
            padding = "valid"
            x = keras.layers.ZeroPadding2D(
                row.kernel // 2,
                data_format=self.data_format,
                name=f"{name}_pad",
            )(x)
        return layers.GroupedConv2D(
            row.outputs,
            row.kernel,
            strides=row.stride,
            padding=padding,
            groups=row.groups,
            dilation_rate=row.dilation,
            use_bias=False,
            kernel_initializer=initializer or _conv_initializer(),
            data_format=self.data_format,
            name=name,
        )(x)

    def conv_norm(
        self, x: KerasTensor, name: str, *, last: bool = False
    ) -> KerasTensor:
        """Convolves, then normalizes if the plan has a norm behind."""
        x = self.conv(x, name)
        if f"{name}_bn" not in self.rows:
            return x
        return self.norm(x, f"{name}_bn", last=last)

    def conv_norm_act(self, x: KerasTensor, name: str) -> KerasTensor:
        """Convolves, normalizes, then activates."""
        return self.norm_act(self.conv(x, name), f"{name}_bn")

    def squeeze_excite(self, x: KerasTensor, name: str) -> KerasTensor:
        """Scales channels by gates computed from all, if the plan says so.

        Source: paper, appendix D (Y block); arXiv 1709.01507.
        """
        if f"{name}_reduce" not in self.rows:
            return x
        gate = keras.layers.GlobalAveragePooling2D(
            keepdims=True, data_format=self.data_format, name=f"{name}_pool"
        )(x)
        activation = self.config.se_activation or self.config.activation
        gate = self._gate_conv(gate, activation, f"{name}_reduce")
        gate = self._gate_conv(gate, "sigmoid", f"{name}_expand")
        return keras.layers.Multiply(name=f"{name}_scale")([x, gate])

    def _gate_conv(self, x, activation, name):
        row = self.rows[name]
        return layers.GroupedConv2D(
            row.outputs,
            row.kernel,
            activation=activation,
            kernel_initializer=_conv_initializer(),
            bias_initializer=_bias_initializer(row.inputs),
            data_format=self.data_format,
            name=name,
        )(x)

    def max_pool(self, x: KerasTensor, name: str) -> KerasTensor:
        """Pools by the maximum, padded as the network's convolutions are."""
        row = self.rows[name]
        options: dict[str, Any] = {
            "strides": row.stride,
            "data_format": self.data_format,
            "name": name,
        }
        if self.config.padding == "same":
            pool = keras.layers.MaxPooling2D(
                row.kernel, padding="same", **options
            )
        else:
            pool = layers.PaddedMaxPooling2D(row.kernel, **options)
        return pool(x)

    def average_pool(self, x: KerasTensor, name: str) -> KerasTensor:
        """Pools by the mean, if the plan has such a pool."""
        if name not in self.rows:
            return x
        # At an odd size the last window holds fewer pixels.
        return keras.layers.AveragePooling2D(
            self.rows[name].stride,
            padding="same",
            data_format=self.data_format,
            name=name,
        )(x)


def build_stem_layer(
    maker: LayerMaker, x: KerasTensor, name: str
) -> KerasTensor:
    """Returns the output of one of the stem's convolutions or pools."""
    if maker.rows[name].kind == "pool":
        return maker.max_pool(x, name)
    if f"{name}_bn" not in maker.rows:
        # In front of pre-activation blocks, which begin with a norm.
        return maker.conv(x, name)
    return maker.conv_norm_act(x, name)


def _bottleneck(maker, x, name):
    """1x1, 3x3 in groups, [SE], 1x1: blocks X, Y, R and Z."""
    x = maker.conv_norm_act(x, f"{name}_conv1")
    x = maker.conv_norm_act(x, f"{name}_conv2")
    x = maker.squeeze_excite(x, f"{name}_se")
    return maker.conv_norm(x, f"{name}_conv3", last=True)


def _pre_activated(maker, x, name):
    """The same with norm and activation before each convolution.

    Those before the first are applied already: the shortcut has them too.
    """
    x = maker.conv(x, f"{name}_conv1")
    x = maker.norm_act(x, f"{name}_norm2")
    x = maker.conv(x, f"{name}_conv2")
    x = maker.squeeze_excite(x, f"{name}_se")
    x = maker.norm_act(x, f"{name}_norm3")
    # A gamma of zero in front of a ReLU would never learn; a kernel does.
    zeros = keras.initializers.Zeros() if maker.zero_init_last_gamma else None
    return maker.conv(x, f"{name}_conv3", zeros)


def _plain(maker, x, name):
    """One 3x3: blocks V and VR."""
    return maker.conv_norm(x, f"{name}_conv1", last=True)


def _basic(maker, x, name):
    """3x3, 3x3: the basic residual block."""
    x = maker.conv_norm_act(x, f"{name}_conv1")
    return maker.conv_norm(x, f"{name}_conv2", last=True)


_MAIN_PATHS = {
    "x": _bottleneck,
    "z": _bottleneck,
    "pre": _pre_activated,
    "v": _plain,
    "vr": _plain,
    "basic": _basic,
}


def _projection(maker, x, name):
    """Returns a shortcut that changes width or size."""
    x = maker.average_pool(x, f"{name}_pool")
    return maker.conv_norm(x, name)


def build_block(
    maker: LayerMaker,
    x: KerasTensor,
    block: plan.Block,
    name: str,
    drop_rate: float = 0.0,
) -> KerasTensor:
    """Returns the output of one block.

    In training an image skips the residual branch with the probability
    `drop_rate`.

    Source:
      Paper, figure 4 and appendix D; stochastic depth: arXiv 1603.09382;
      pre-activation: arXiv 1603.05027, as timm's RegNetV has it.
    """
    if maker.config.block == "pre":
        x = maker.norm_act(x, f"{name}_norm1")
    if not block.has_sum:
        # A zero that nothing is added to would silence all that follows.
        maker = dataclasses.replace(maker, zero_init_last_gamma=False)
    main = _MAIN_PATHS[maker.config.block](maker, x, name)
    if block.has_sum:
        shortcut = x
        if block.projections:
            shortcut = _projection(maker, x, f"{name}_shortcut")
        if drop_rate:
            main = keras.layers.Dropout(
                drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_path"
            )(main)
        # In this order a file of tf_keras.applications loads by topology.
        main = keras.layers.Add(name=f"{name}_add")([main, shortcut])
    if maker.config.block in _LINEAR_BLOCKS:
        return main
    return maker.activation(main, f"{name}_act")


def build_stage(
    maker: LayerMaker,
    x: KerasTensor,
    stage: plan.Stage,
    name: str,
    drop_rates: Iterator[float],
) -> KerasTensor:
    """Returns the output of a stage; `drop_rates` are those of all blocks."""
    for number, block in enumerate(stage.blocks, start=1):
        block_name = f"{name}_block{number}"
        x = build_block(maker, x, block, block_name, next(drop_rates))
    return x


def build_head(maker: LayerMaker, x: KerasTensor) -> KerasTensor:
    """Returns the features that are pooled."""
    if "head_conv" in maker.rows:
        return maker.conv_norm_act(x, "head_conv")
    if maker.config.block in _LINEAR_BLOCKS:
        return maker.activation(x, "head_act")
    return x
