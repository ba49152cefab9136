"""The builders by name: `models.build` of one type or family of networks."""

import inspect
from collections.abc import Callable
from typing import Any
from typing import Protocol
from typing import TypeVar

from keras_regnet import models
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.regnet_model import RegNetModel

_Config = TypeVar("_Config", RegNetConfig, AnyNetConfig)
_Accepted = TypeVar("_Accepted", contravariant=True)


class _ConfigBuilder(Protocol[_Accepted]):
    """The signature of `RegNet` and `AnyNet`, for editors and type checkers."""

    def __call__(
        self,
        config: _Accepted,
        weights: models.Weights = None,
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
    ) -> RegNetModel: ...


class _FamilyBuilder(Protocol):
    """The signature of `RegNetX` and its like."""

    def __call__(
        self,
        variant: str = ...,
        weights: models.Weights = None,
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
    ) -> RegNetModel: ...


def _config_builder(
    name: str, config_type: type[_Config], doc: str
) -> _ConfigBuilder[_Config]:
    """Returns `build` for one type of configuration."""

    def builder(
        config: _Config,
        weights: models.Weights = None,
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
        models.check_type(config, config_type)
        return models.build(
            config,
            weights,
            include_top,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
            include_preprocessing,
            dropout_rate,
            drop_path_rate,
            name,
            output_stride=output_stride,
            zero_init_last_gamma=zero_init_last_gamma,
            synchronized_bn=synchronized_bn,
            tag=tag,
        )

    builder.__annotations__["config"] = config_type
    _name(builder, name, doc)
    return builder


def _family_builder(family: str, default: str, doc: str) -> _FamilyBuilder:
    """Returns `build` for the published networks of one family."""

    def builder(
        variant: str = default,
        weights: models.Weights = None,
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
        return models.build(
            variants.variant_name(variant, family),
            weights,
            include_top,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
            include_preprocessing,
            dropout_rate,
            drop_path_rate,
            name,
            output_stride=output_stride,
            zero_init_last_gamma=zero_init_last_gamma,
            synchronized_bn=synchronized_bn,
            tag=tag,
        )

    _name(builder, family, doc)
    return builder


def _name(builder, name, doc):
    builder.__name__ = builder.__qualname__ = name
    builder.__doc__ = inspect.cleandoc(doc)


RegNet = _config_builder(
    "RegNet",
    RegNetConfig,
    """Builds the RegNet of a configuration.

    Args:
      config: a `RegNetConfig`; the other arguments are those of `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is not allowed.

    Source:
      Paper, section 3.3.

    Example:
    >>> config = RegNetConfig(4, w_0=16, w_a=8, w_m=2, group_width=8)
    >>> RegNet(config, input_shape=(32, 32, 3), classes=2).output.shape
    (None, 2)
    """,
)

AnyNet = _config_builder(
    "AnyNet",
    AnyNetConfig,
    """Builds the network of a configuration given stage by stage.

    Args:
      config: an `AnyNetConfig`; the other arguments are those of `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is not allowed.

    Source:
      Paper, section 3.2.

    Example:
    >>> config = AnyNetConfig((1, 1), (16, 32), group_widths=8)
    >>> AnyNet(config, input_shape=(32, 32, 3), classes=2).output.shape
    (None, 2)
    """,
)

RegNetX = _family_builder(
    "RegNetX",
    "400MF",
    """Builds a RegNetX of the paper.

    Args:
      variant: "200MF" to "32GF", in any common spelling; the other arguments
        are those of `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is not allowed.

    Source:
      Paper, figure 15.

    Example:
    >>> RegNetX("200MF", include_top=False).output.shape
    (None, None, None, 368)
    """,
)

RegNetY = _family_builder(
    "RegNetY",
    "400MF",
    """Builds a RegNetY: a RegNetX with squeeze-and-excitation.

    Args:
      variant: "200MF" to "256GF", in any common spelling; the other arguments
        are those of `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is not allowed.

    Source:
      Paper, figure 16; ClassyVision's definitions from 64GF on.

    Example:
    >>> list(RegNetY("200MF", include_top=False).pyramid_outputs)
    ['P1', 'P2', 'P3', 'P4', 'P5']
    """,
)

RegNetZ = _family_builder(
    "RegNetZ",
    "500MF",
    """Builds a RegNetZ: linear inverted bottlenecks, SiLU, no projections.

    Args:
      variant: "500MF", "4GF", "B16" ..., in any common spelling; the other
        arguments are those of `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is not allowed.

    Source:
      arXiv 2103.06877; ClassyVision's definitions, and timm's of those with
      letters.

    Example:
    >>> RegNetZ("500MF", include_top=False).output.shape
    (None, None, None, 1024)
    """,
)

RegNetV = _family_builder(
    "RegNetV",
    "4GF",
    """Builds a RegNetV: a RegNetY with pre-activation blocks and SiLU.

    Args:
      variant: "4GF" or "6.4GF", in any common spelling; the other arguments
        are those of `build`.

    Returns:
      A functional Keras model, see `build`.

    Raises:
      ValueError: if an argument is not allowed.

    Source:
      timm's definitions, with the stages of RegNetY.

    Example:
    >>> RegNetV("4GF", include_top=False).output.shape
    (None, None, None, 1088)
    """,
)
