"""The builders: a configuration becomes a functional Keras model."""

import dataclasses
import math
import numbers
import os
import re
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_regnet import blocks
from keras_regnet import class_names as names_lib
from keras_regnet import errors
from keras_regnet import inputs as inputs_lib
from keras_regnet import plan
from keras_regnet import preprocessing
from keras_regnet import rows
from keras_regnet import variants
from keras_regnet import weights as weights_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.regnet_model import RegNetModel

# What the builders take as weights.
Weights = str | os.PathLike | weights_lib.ResolvedWeights | None
_POOLINGS = ("avg", "max")
# Probability from which a class counts, where each has a sigmoid of its own.
_THRESHOLD = 0.5


def build(
    config: RegNetConfig | AnyNetConfig | str,
    weights: Weights = None,
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
      weights: None for random weights; "default" for the best set that allows
        commercial use, see `list_weights`; "imagenet" for the paper's; the tag
        of another set; "hf://owner/name" for a repository of the Hugging Face
        hub; the path of a file: `.safetensors`, `.keras`,
        `.weights.h5`, `.h5`, or with PyTorch `.pth`, `.pt`, `.pyth`, `.bin`,
        `.torch`; a run folder of the trainer, or a folder that
        `keras_regnet.weights.save_folder` wrote; or what
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
      include_preprocessing: whether the model normalizes RGB in 0..255
        itself; if not, feed what `preprocess_input` returns.
      dropout_rate: fraction of the pooled features dropped in training.
      drop_path_rate: probability to skip the last block's residual branch in
        training; it grows linearly from 0 at the first block.
      name: the model's name.
      output_stride: 8, 16 or 32; strides beyond it become dilation, for
        segmentation. None leaves the strides alone.
      zero_init_last_gamma: whether residual branches start at zero.
      synchronized_bn: whether batch norm takes its statistics over all
        replicas; for norms of single images there are none to take.
      tag: the tag in `list_weights` of a file whose names and hash do not tell
        which set it holds.

    Returns:
      A model from (batch, height, width, channels) to (batch, classes), or
      without the top to (batch, height / 32, width / 32, width), or pooled to
      (batch, width).

    Raises:
      ValueError: if an argument is not allowed.

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
    check_type(config, NetworkTemplate)
    _check_options(pooling, classes, include_top)
    _check_rate("dropout_rate", dropout_rate)
    _check_rate("drop_path_rate", drop_path_rate)
    blocks.check_activation("classifier_activation", classifier_activation)
    _check_output_stride(output_stride, config)
    resolved = weights_lib.resolve(
        weights, config, tag=tag, classes=classes, include_top=include_top
    )
    config = resolved.config
    _check_synchronized(synchronized_bn, config)
    inputs, x = inputs_lib.network_input(input_tensor, input_shape, include_top)
    stages = _stages(config, output_stride)
    maker = blocks.LayerMaker(
        config,
        {row.name: row for row in rows.layers(config, stages, classes=0)},
        keras.config.image_data_format(),
        synchronized_bn,
        zero_init_last_gamma,
    )
    if include_preprocessing:
        x = _normalize(maker, x, resolved.mean, resolved.std)
    x, pyramid = _features(maker, x, stages, drop_path_rate)
    if include_top:
        x = _pool(maker, x, "avg")
        x = _classifier(x, classes, classifier_activation, dropout_rate)
    elif pooling:
        x = _pool(maker, x, pooling)
    model = RegNetModel(inputs, x, name=name or _default_name(config))
    model.set_network(config, pyramid)
    record = resolved.model_record(
        int(classes) if include_top else 0, include_preprocessing
    )
    activation = classifier_activation if include_top else None
    model.set_record(_with_threshold(record, activation))
    resolved.assign(model)
    return model


def _check_options(pooling, classes, include_top):
    if pooling is not None and pooling not in _POOLINGS:
        raise errors.unknown_value("pooling", pooling, _POOLINGS)
    valid = isinstance(classes, numbers.Integral) and classes is not True
    if include_top and not (valid and int(classes) > 0):
        raise ValueError(
            "`classes` must be an integer above 0. "
            f"Received: classes={classes!r}"
        )


def _check_rate(name, rate):
    if not isinstance(rate, numbers.Real) or not 0 <= float(rate) < 1:
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


def _check_synchronized(synchronized_bn, config):
    if synchronized_bn and config.norm != "batch":
        raise ValueError(
            "`synchronized_bn` must be False for a network without batch norm, "
            "whose norms compute with each image alone. Received: "
            f"synchronized_bn=True, norm={config.norm!r}"
        )


def _default_name(config):
    return "regnet" if isinstance(config, RegNetConfig) else "anynet"


def _stages(config, output_stride):
    stages = plan.stages(config)
    if output_stride is None:
        return stages
    return plan.dilate(stages, rows.stem_stride(config), output_stride)


def _normalize(maker, x, mean, std):
    channels = x.shape[maker.channel_axis]
    # Half precision would round the factors by up to half a percent.
    half = keras.config.dtype_policy().compute_dtype.endswith("float16")
    dtype = "float32" if half else None
    return preprocessing.normalization_layer(
        channels, mean, std, maker.channel_axis, dtype
    )(x)


def _features(maker, x, stages, drop_path_rate):
    """Returns the features that are pooled, and the pyramid's tensors.

    A level counts the halvings of the image, before any stride is replaced
    by dilation (a stride of 3 is nearest to two halvings); the last tensor of
    a level stands for it.
    """
    level, pyramid = 0, {}
    for row in rows.stem_layers(maker.config):
        if row.norm_parameters:
            continue
        x = blocks.build_stem_layer(maker, x, row.name)
        level += round(math.log2(row.stride))
        pyramid[f"P{level}"] = x
    drop_rates = _drop_rates(drop_path_rate, stages)
    for number, stage in enumerate(stages, start=1):
        x = blocks.build_stage(maker, x, stage, f"stage{number}", drop_rates)
        level += round(math.log2(stage.first.nominal_stride))
        pyramid[f"P{level}"] = x
    return blocks.build_head(maker, x), pyramid


def _drop_rates(last, stages):
    """Yields each block's rate: linear over depth, 0 at the first."""
    blocks_in_body = sum(stage.depth for stage in stages)
    for index in range(blocks_in_body):
        yield last * index / max(1, blocks_in_body - 1)


def _pool(maker, x, pooling):
    layer = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    return layer(data_format=maker.data_format, name="head_pool")(x)


def _classifier(x, classes, activation, dropout_rate):
    """Appends dropout, logits and their activation.

    The activation is a layer of its own, in float32 at least under every
    policy, so that the logits can be had from a finished model.
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
    dtype = keras.backend.result_type(x.dtype, "float32")
    return keras.layers.Activation(
        activation or "linear", dtype=dtype, name="predictions"
    )(x)


def _with_threshold(record, activation):
    """Returns a record that says whether classes exclude each other."""
    threshold = None
    if keras.activations.get(activation) is keras.activations.sigmoid:
        threshold = record.threshold
        if threshold is None:
            threshold = _THRESHOLD
    return dataclasses.replace(record, threshold=threshold)


def replace_head(
    model: RegNetModel,
    classes: int,
    classifier_activation: str | Callable | None = "softmax",
    dropout_rate: float = 0.0,
    *,
    class_names: Sequence[str] | None = None,
) -> RegNetModel:
    """Returns the model with a new classifier; all other layers are shared.

    Its record says where the weights come from, as before.

    Args:
      model: a model built with its top.
      classes: number of classes of the new classifier.
      classifier_activation: applied to the logits; None leaves them.
      dropout_rate: fraction of the pooled features dropped in training.
      class_names: name of each output; None if they have none.

    Returns:
      A model from the same input to (batch, classes).

    Raises:
      ValueError: if the model has no pooled features, or an argument is
        not allowed.

    Example:
    >>> model = build("RegNetX-200MF", input_shape=(32, 32, 3))
    >>> model = replace_head(model, classes=2, class_names=("ant", "bee"))
    >>> model.output.shape, model.class_names
    ((None, 2), ('ant', 'bee'))
    """
    _check_options(None, classes, include_top=True)
    _check_rate("dropout_rate", dropout_rate)
    blocks.check_activation("classifier_activation", classifier_activation)
    if class_names is not None:
        class_names = names_lib.checked(class_names, int(classes))
    if not isinstance(model, RegNetModel):
        raise ValueError(
            "`model` must be one that keras_regnet's builders made. "
            f"Received: model={getattr(model, 'name', model)!r}, a "
            f"{type(model).__name__}"
        )
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
    record = dataclasses.replace(model.record, class_names=class_names)
    replaced.set_record(_with_threshold(record, classifier_activation))
    replaced._rematerializes_blocks = model._rematerializes_blocks
    return replaced


def prefix_layer_names(model: RegNetModel, prefix: str) -> RegNetModel:
    """Puts a prefix before the names of a model's layers, but of its inputs.

    Two networks have layers of the same names, of which Keras allows one in a
    model. Weights, heads and exported features are found by the names without
    a prefix: load and replace them before. A layer that is in other models
    too, as behind `replace_head`, is renamed there as well.

    Args:
      model: made by a builder; it is changed.
      prefix: such as `"left_"`, of letters, digits and `_-.`.

    Returns:
      The model.

    Raises:
      ValueError: if the prefix is empty or has other characters.

    Example:
    >>> left = build("RegNetX-200MF", include_top=False, pooling="avg")
    >>> right = build(
    ...     "RegNetY-200MF",
    ...     include_top=False,
    ...     pooling="avg",
    ...     input_tensor=left.input,
    ... )
    >>> right = prefix_layer_names(right, "right_")
    >>> both = keras.Model(left.input, [left.output, right.output])
    >>> both.layers[-1].name
    'right_head_pool'
    """
    if not isinstance(prefix, str) or not re.fullmatch(r"[\w.-]+", prefix):
        raise ValueError(
            "`prefix` must be of letters, digits, '_', '-' and '.'. "
            f"Received: prefix={prefix!r}"
        )
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            layer.name = prefix + layer.name
    model.prefix_pyramid(prefix)
    return model


def check_type(config: object, config_type: type) -> None:
    """Raises unless a configuration is of a type."""
    if not isinstance(config, config_type):
        allowed = {
            RegNetConfig: "a RegNetConfig",
            AnyNetConfig: "an AnyNetConfig",
        }.get(
            config_type,
            "a RegNetConfig, an AnyNetConfig or the name of a variant",
        )
        raise ValueError(
            f"`config` must be {allowed}. Received: config={config!r}"
        )
