"""The builders: a configuration becomes a functional Keras model."""

import inspect
import math
import numbers
import os
from collections.abc import Callable
from typing import Any

import keras

from keras_regnet import blocks
from keras_regnet import errors
from keras_regnet import layers
from keras_regnet import plan
from keras_regnet import preprocessing
from keras_regnet import variants
from keras_regnet import weights as weights_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.regnet_model import RegNetModel

MIN_IMAGE_SIZE = 32
_DEFAULT_IMAGE_SIZE = 224
_POOLINGS = ("avg", "max")


def build(
    config: RegNetConfig | AnyNetConfig | str,
    weights: str | os.PathLike | weights_lib.ResolvedWeights | None = None,
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable | None = "softmax",
    include_preprocessing: bool = True,
    dropout_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    name: str | None = None,
    *,
    output_stride: int | None = None,
    zero_init_last_gamma: bool = False,
    synchronized_bn: bool = False,
    tag: str | None = None,
) -> RegNetModel:
    """Builds a network as a functional Keras model.

    The layers take Keras's global data format and dtype policy. Build inside
    `keras.RematScope()` to trade time for memory in training.

    Args:
      config: a configuration, or the name of a variant.
      weights: None for random weights; "imagenet" for the paper's; the tag of
        another set of `list_weights`; "hf:owner/name" for a repository of the
        Hugging Face hub; the path of a file: `.safetensors`, `.keras`,
        `.weights.h5`, `.h5`, or with PyTorch `.pth`, `.pt`, `.pyth`, `.bin`,
        `.torch`; a run folder of the trainer; or what
        `keras_regnet.weights.resolve` returned. The model gets their padding,
        widths and normalization.
      include_top: whether the pool and the classifier are part of it.
      input_tensor: a Keras tensor to start from; None for a new input.
      input_shape: shape of one image, from 32 pixels up, None for any size;
        (224, 224, 3) by default, (None, None, 3) without the top.
      pooling: without the top, "avg" or "max" to pool the features, None to
        leave them (height, width, channels).
      classes: number of classes.
      classifier_activation: applied to the logits; None leaves them.
      include_preprocessing: whether the model normalises RGB in 0..255
        itself; if not, feed what `preprocess_input` returns.
      dropout_rate: share of the pooled features dropped in training.
      drop_path_rate: probability to skip the last block's residual branch in
        training; it grows linearly from 0 at the first block.
      name: the model's name.
      output_stride: 8, 16 or 32; strides beyond it become dilation, for
        segmentation. None leaves the strides alone.
      zero_init_last_gamma: whether residual branches start at zero.
      synchronized_bn: whether batch norm takes its statistics over all
        replicas.
      tag: which of `list_weights` a file is, where its names and its hash do
        not tell.

    Returns:
      A model from (batch, height, width, channels) to (batch, classes), or
      without the top to (batch, height / 32, width / 32, width), or pooled to
      (batch, width).

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      "Designing Network Design Spaces", arXiv 2003.13678, section 3.

    Example:
    >>> model = build("RegNetX-200MF", input_shape=(32, 32, 3), classes=10)
    >>> model.output.shape
    (None, 10)
    """
    if isinstance(config, str):
        name = name or variants.variant_name(config)
        config = variants.get_config(config)
    _check_type(config, NetworkTemplate)
    _check_options(pooling, classes, include_top)
    _check_rate("dropout_rate", dropout_rate)
    _check_rate("drop_path_rate", drop_path_rate)
    blocks.check_activation("classifier_activation", classifier_activation)
    _check_output_stride(output_stride, config)
    resolved = weights_lib.resolve(
        weights, config, tag=tag, classes=classes, include_top=include_top
    )
    config = resolved.config
    make = blocks.LayerMaker(
        config,
        keras.config.image_data_format(),
        synchronized_bn,
        zero_init_last_gamma,
    )
    inputs, x = _inputs(make, input_tensor, input_shape, include_top)
    if include_preprocessing:
        x = _normalise(make, x, resolved.mean, resolved.std)
    x, pyramid = _features(make, x, config, output_stride, drop_path_rate)
    if include_top:
        x = _pool(make, x, "avg")
        x = _classifier(x, classes, classifier_activation, dropout_rate)
    elif pooling:
        x = _pool(make, x, pooling)
    model = RegNetModel(inputs, x, name=name or _default_name(config))
    model.set_network(config, pyramid)
    resolved.assign(model)
    return model


def _check_options(pooling, classes, include_top):
    if pooling is not None and pooling not in _POOLINGS:
        raise errors.unknown_value("pooling", pooling, _POOLINGS)
    valid = isinstance(classes, numbers.Integral) and classes is not True
    if include_top and not (valid and classes > 0):
        raise ValueError(
            "`classes` must be an integer above 0. "
            f"Received: classes={classes!r}"
        )


def _check_rate(name, rate):
    if not isinstance(rate, numbers.Real) or not 0 <= rate < 1:
        raise ValueError(
            f"`{name}` must be a number from 0 to below 1. "
            f"Received: {name}={rate!r}"
        )


def _check_output_stride(output_stride, config):
    if output_stride is not None and config.projection == "pool":
        raise ValueError(
            "`output_stride` must be None with projection='pool': a pool "
            "cannot be dilated. "
            f"Received: output_stride={output_stride!r}"
        )


def _default_name(config):
    return "regnet" if isinstance(config, RegNetConfig) else "anynet"


def _inputs(make, input_tensor, input_shape, include_top):
    """Returns the model's inputs and the tensor that the network starts from.

    They differ where the caller's tensor is the output of other layers.
    """
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, such as keras.Input() "
                f"returns. Received: input_tensor={input_tensor!r}"
            )
        shape = tuple(input_tensor.shape[1:])
        _check_input_shape(make, shape, "input_tensor")
        if input_shape is not None and tuple(input_shape) != shape:
            raise ValueError(
                "`input_shape` must be that of `input_tensor`, or None. "
                f"Received: input_shape={input_shape} for a tensor of {shape}"
            )
        sources = keras.utils.get_source_inputs(input_tensor)
        inputs = sources[0] if len(sources) == 1 else sources
        return inputs, input_tensor
    if input_shape is None:
        size = _DEFAULT_IMAGE_SIZE if include_top else None
        input_shape = (size, size, 3)
        if make.data_format == "channels_first":
            input_shape = (3, size, size)
    _check_input_shape(make, input_shape, "input_shape")
    inputs = keras.Input(tuple(input_shape), name="images")
    return inputs, inputs


def _check_input_shape(make, shape, argument):
    order = "(height, width, channels)"
    if make.data_format == "channels_first":
        order = "(channels, height, width)"
    sizes = list(shape) if isinstance(shape, tuple | list) else []
    channels = sizes.pop(make.channel_axis - 1) if len(sizes) == 3 else None
    valid = isinstance(channels, numbers.Integral) and channels > 0
    for size in sizes:
        whole = isinstance(size, numbers.Integral)
        big_enough = whole and size >= MIN_IMAGE_SIZE
        valid = valid and (size is None or big_enough)
    if not valid:
        raise ValueError(
            f"`{argument}` must be {order} with a height and width of at "
            f"least {MIN_IMAGE_SIZE} or None, and 1 or more channels. "
            f"Received: {argument}={shape}"
        )


def _normalise(make, x, mean, std):
    channels = x.shape[make.channel_axis]
    mean, std = preprocessing.mean_and_std(channels, mean, std)
    # Half precision would round the factors by up to half a percent.
    half = keras.config.dtype_policy().compute_dtype.endswith("float16")
    return layers.Normalization(
        axis=make.channel_axis,
        mean=mean,
        variance=[value**2 for value in std],
        dtype="float32" if half else None,
        name="normalise",
    )(x)


def _features(make, x, config, output_stride, drop_path_rate):
    """Returns the features that are pooled, and the pyramid's tensors.

    A level counts the halvings of the image, before any stride is replaced
    by dilation (a stride of 3 is nearest to two halvings); the last tensor of
    a level stands for it.
    """
    level, pyramid = 0, {}
    for conv in plan.stem_convs(config):
        x = blocks.stem_conv(make, x, conv)
        level += round(math.log2(conv.stride))
        pyramid[f"P{level}"] = x
    if config.stem == "resnet":
        level += 1
        pyramid[f"P{level}"] = x = blocks.stem_pool(make, x)
    stages = plan.stages(config)
    if output_stride is not None:
        stem_stride = plan.stem_stride(config.stem)
        stages = plan.dilate(stages, stem_stride, output_stride)
    drop_rates = _drop_rates(drop_path_rate, stages)
    for number, stage in enumerate(stages, start=1):
        x = blocks.stage(make, x, stage, f"stage{number}", drop_rates)
        level += round(math.log2(stage.nominal_stride))
        pyramid[f"P{level}"] = x
    return blocks.head(make, x), pyramid


def _drop_rates(last, stages):
    """Yields each block's rate: linear over depth, 0 at the first."""
    blocks_in_body = sum(stage.depth for stage in stages)
    for index in range(blocks_in_body):
        yield last * index / max(1, blocks_in_body - 1)


def _pool(make, x, pooling):
    layer = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    return layer(data_format=make.data_format, name="head_pool")(x)


def _classifier(x, classes, activation, dropout_rate):
    """Appends dropout, logits and their activation.

    The activation is a layer of its own, in float32 under every policy, so
    that the logits can be had from a finished model.
    """
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate, name="head_dropout")(x)
    x = keras.layers.Dense(
        int(classes),
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=blocks.HEAD_STDDEV
        ),
        name="head_fc",
    )(x)
    return keras.layers.Activation(
        activation or "linear", dtype="float32", name="predictions"
    )(x)


def replace_head(
    model: RegNetModel,
    classes: int,
    classifier_activation: str | Callable | None = "softmax",
    dropout_rate: float = 0.0,
) -> RegNetModel:
    """Returns the model with a new classifier; all other layers are shared.

    Args:
      model: a model built with its top.
      classes: number of classes of the new classifier.
      classifier_activation: applied to the logits; None leaves them.
      dropout_rate: share of the pooled features dropped in training.

    Returns:
      A model from the same input to (batch, classes).

    Raises:
      ValueError: if the model has no pooled features, or an argument is none
        of those allowed.

    Example:
    >>> model = build("RegNetX-200MF", input_shape=(32, 32, 3))
    >>> replace_head(model, classes=5).output.shape
    (None, 5)
    """
    _check_options(None, classes, include_top=True)
    _check_rate("dropout_rate", dropout_rate)
    blocks.check_activation("classifier_activation", classifier_activation)
    if "head_pool" not in [layer.name for layer in model.layers]:
        raise ValueError(
            "`model` must have the layer 'head_pool', as one built with "
            "`include_top=True` or with `pooling` has. "
            f"Received: model={model.name!r}"
        )
    x = model.get_layer("head_pool").output
    x = _classifier(x, classes, classifier_activation, dropout_rate)
    replaced = RegNetModel(model.input, x, name=model.name)
    replaced.set_network(model.network, model.pyramid_outputs)
    replaced._rematerialises_blocks = model._rematerialises_blocks
    return replaced


def _with_arguments_of_build(builder):
    """Shows all arguments of `build` in help() and editors."""
    (first, *_) = inspect.signature(builder).parameters.values()
    (_, *rest) = inspect.signature(build).parameters.values()
    builder.__signature__ = inspect.Signature(
        [first, *rest], return_annotation=RegNetModel
    )
    return builder


def _check_type(config, config_type):
    if not isinstance(config, config_type):
        what = config_type.__name__
        if config_type is NetworkTemplate:
            what = "RegNetConfig, an AnyNetConfig or the name of a variant"
        raise ValueError(
            f"`config` must be a {what}. Received: config={config!r}"
        )


@_with_arguments_of_build
def RegNet(config: RegNetConfig, *args, **kwargs) -> RegNetModel:
    """Builds the RegNet of a configuration.

    Args:
      config: a `RegNetConfig`.
      *args: see `build`.
      **kwargs: see `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      Paper, section 3.3.

    Example:
    >>> config = RegNetConfig(4, w_0=16, w_a=8, w_m=2, group_width=8)
    >>> RegNet(config, input_shape=(32, 32, 3), classes=2).output.shape
    (None, 2)
    """
    _check_type(config, RegNetConfig)
    return build(config, *args, **kwargs)


@_with_arguments_of_build
def AnyNet(config: AnyNetConfig, *args, **kwargs) -> RegNetModel:
    """Builds the network of a configuration given stage by stage.

    Args:
      config: an `AnyNetConfig`.
      *args: see `build`.
      **kwargs: see `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      Paper, section 3.2.

    Example:
    >>> config = AnyNetConfig((1, 1), (16, 32), group_widths=8)
    >>> AnyNet(config, input_shape=(32, 32, 3), classes=2).output.shape
    (None, 2)
    """
    _check_type(config, AnyNetConfig)
    return build(config, *args, **kwargs)


def _variant(variant, family, args, kwargs):
    name = variants.variant_name(variant, family)
    if len(args) < _NAME_POSITION:
        kwargs.setdefault("name", name)
    return build(variants.get_config(name), *args, **kwargs)


# Where `name` stands among the arguments after the first.
_NAME_POSITION = list(inspect.signature(build).parameters).index("name")


@_with_arguments_of_build
def RegNetX(variant: str = "400MF", *args, **kwargs) -> RegNetModel:
    """Builds a RegNetX of the paper.

    Args:
      variant: "200MF" to "32GF", in any common spelling.
      *args: see `build`.
      **kwargs: see `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      Paper, figure 15.

    Example:
    >>> RegNetX("200MF", include_top=False).output.shape
    (None, None, None, 368)
    """
    return _variant(variant, "RegNetX", args, kwargs)


@_with_arguments_of_build
def RegNetY(variant: str = "400MF", *args, **kwargs) -> RegNetModel:
    """Builds a RegNetY: a RegNetX with squeeze-and-excitation.

    Args:
      variant: "200MF" to "256GF", in any common spelling.
      *args: see `build`.
      **kwargs: see `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      Paper, figure 16; ClassyVision's definitions from 64GF on.

    Example:
    >>> list(RegNetY("200MF", include_top=False).pyramid_outputs)
    ['P1', 'P2', 'P3', 'P4', 'P5']
    """
    return _variant(variant, "RegNetY", args, kwargs)


@_with_arguments_of_build
def RegNetZ(variant: str = "500MF", *args, **kwargs) -> RegNetModel:
    """Builds a RegNetZ: linear inverted bottlenecks, SiLU, no projections.

    Args:
      variant: "500MF", "4GF", "B16" ..., in any common spelling.
      *args: see `build`.
      **kwargs: see `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      arXiv 2103.06877; ClassyVision's definitions, and timm's of those with
      letters.

    Example:
    >>> RegNetZ("500MF", include_top=False).output.shape
    (None, None, None, 1024)
    """
    return _variant(variant, "RegNetZ", args, kwargs)


@_with_arguments_of_build
def RegNetV(variant: str = "4GF", *args, **kwargs) -> RegNetModel:
    """Builds a RegNetV: a RegNetY with pre-activation blocks and SiLU.

    Args:
      variant: "4GF" or "6.4GF", in any common spelling.
      *args: see `build`.
      **kwargs: see `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Source:
      timm's definitions, with the stages of RegNetY.

    Example:
    >>> RegNetV("4GF", include_top=False).output.shape
    (None, None, None, 1088)
    """
    return _variant(variant, "RegNetV", args, kwargs)
