"""A network of this package as a backbone of KerasHub."""

import contextlib
import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras

from keras_regnet import config as config_lib
from keras_regnet import errors
from keras_regnet import layers
from keras_regnet import models
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.hub import bases
from keras_regnet.hub import reading
from keras_regnet.regnet_model import RegNetModel
from keras_regnet.weights import records
from keras_regnet.weights import ResolvedWeights

_DATA_FORMATS = ("channels_last", "channels_first")


@keras.saving.register_keras_serializable(package="keras_regnet")
class RegNetBackbone(bases.FeaturePyramidBackbone):
    """A RegNet or AnyNet without its top, as KerasHub has its backbones.

    The layers, their names and their results are those of
    `keras_regnet.build(network, include_top=False)`. As there, the backbone
    normalizes RGB in 0..255 itself, so that its image converter only scales
    and crops. Random weights; `from_regnet` and `from_preset` bring others.

    Args:
      network: a configuration, or the name of a variant.
      image_shape: of one image, from 32 pixels up, None for any size;
        `(None, None, 3)` by default, or `(3, None, None)`.
      include_preprocessing: whether it normalizes images itself. If not, the
        image converter must: see `RegNetImageConverter`.
      mean: of red, green and blue, which is subtracted from 0..255.
      std: standard deviation, by which it is divided.
      drop_path_rate: see `keras_regnet.build`.
      output_stride: see `keras_regnet.build`.
      published: what was published of the weights that it began with: variant,
        tag, source and licence. It is kept in presets.
      data_format: "channels_last", "channels_first", or None for Keras's
        default. A saved backbone keeps its own.
      dtype: the dtype policy of all layers but the normalization, which stays
        in float32; None for Keras's default.
      **kwargs: further arguments of KerasHub's `Backbone`.

    Raises:
      ValueError: if an argument is not allowed.

    Example:
    >>> backbone = RegNetBackbone("RegNetX-200MF")
    >>> backbone(keras.ops.ones((1, 64, 64, 3))).shape
    TensorShape([1, 2, 2, 368])
    >>> list(backbone.pyramid_outputs)
    ['P1', 'P2', 'P3', 'P4', 'P5']
    """

    def __init__(
        self,
        network: RegNetConfig | AnyNetConfig | Mapping[str, Any] | str,
        image_shape: Sequence[int | None] | None = None,
        include_preprocessing: bool = True,
        mean: Sequence[float] = records.IMAGENET_MEAN,
        std: Sequence[float] = records.IMAGENET_STD,
        drop_path_rate: float = 0.0,
        output_stride: int | None = None,
        published: Mapping[str, Any] | None = None,
        data_format: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(network, str):
            network = variants.get_config(network)
        elif isinstance(network, Mapping):  # Out of a config.json.
            network = config_lib.from_dict(network)
        data_format = data_format or keras.config.image_data_format()
        if data_format not in _DATA_FORMATS:
            raise errors.unknown_value(
                "data_format", data_format, _DATA_FORMATS
            )
        with _keras_defaults(data_format, dtype):
            model = models.build(
                network,
                ResolvedWeights(network, tuple(mean), tuple(std)),
                include_top=False,
                input_shape=tuple(image_shape) if image_shape else None,
                include_preprocessing=include_preprocessing,
                drop_path_rate=drop_path_rate,
                output_stride=output_stride,
            )
        super().__init__(
            inputs=model.input, outputs=model.output, dtype=dtype, **kwargs
        )
        # Not a layer of its own to Keras: it has the backbone's layers.
        object.__setattr__(self, "_regnet", model)
        self.pyramid_outputs = model.pyramid_outputs
        self.network = network
        self.image_shape = tuple(model.input.shape[1:])
        self.include_preprocessing = include_preprocessing
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.drop_path_rate = drop_path_rate
        self.output_stride = output_stride
        self.published = dict(published) if published else None
        self.data_format = data_format

    @classmethod
    def from_regnet(
        cls,
        model: RegNetModel,
        image_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Returns a backbone with the network and the weights of a model.

        Args:
          model: made by a builder of this package, with its top or without;
            trained, loaded or as it is.
          image_shape: of one image; of any size by default.
          **kwargs: further arguments of the backbone.

        Returns:
          A backbone that computes what the model does before its pool.

        Raises:
          ValueError: if the model has other layers than its builder gave it.

        Example:
        >>> import keras_regnet
        >>> model = keras_regnet.RegNetX("200MF", weights=None)
        >>> backbone = RegNetBackbone.from_regnet(model)
        >>> backbone.image_shape
        (None, None, 3)
        """
        arguments = reading.backbone_arguments(model)
        if image_shape is not None:
            arguments["image_shape"] = image_shape
        backbone = cls(**{**arguments, **kwargs})
        reading.copy_weights(model, backbone)
        return backbone

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        mask: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Computes the features as the network does by itself."""
        return self._regnet.call(inputs, training=training, mask=mask, **kwargs)

    def predict_step(self, *args: Any) -> Any:
        """Predicts a batch, as `RegNetModel` does."""
        with layers.folded_norms():
            return super().predict_step(*args)

    def default_lora_layer_names(self) -> list[str]:
        """Names of the layers to adapt: the dense convolutions of blocks."""
        return [
            layer.name
            for layer in self.layers
            if isinstance(layer, layers.GroupedConv2D)
            and layer.groups == 1
            and not layer.use_bias  # As the gates have.
            and layer.name.startswith("stage")
        ]

    def enable_lora(
        self, rank: int, target_layer_names: Sequence[str] | None = None
    ) -> None:
        """Freezes the backbone but for adapters of low rank.

        Args:
          rank: of the adapters.
          target_layer_names: the convolutions that get one; None for those of
            `default_lora_layer_names`.

        Raises:
          ValueError: if a name is no layer's: nothing would be trained.
        """
        if target_layer_names is None:
            target_layer_names = self.default_lora_layer_names()
        names = [layer.name for layer in self.layers]
        for name in target_layer_names:
            if name not in names:
                raise errors.unknown_value("target_layer_names", name, names)
        super().enable_lora(rank, list(target_layer_names))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments; the network as parsed JSON."""
        return {
            **super().get_config(),
            "network": json.loads(self.network.to_json()),
            "image_shape": list(self.image_shape),
            "include_preprocessing": self.include_preprocessing,
            "mean": list(self.mean),
            "std": list(self.std),
            "drop_path_rate": self.drop_path_rate,
            "output_stride": self.output_stride,
            "published": self.published,
            "data_format": self.data_format,
        }


@contextlib.contextmanager
def _keras_defaults(data_format, dtype):
    """Lets layers take a data format and a policy, which builders do not."""
    before = keras.config.image_data_format(), keras.config.dtype_policy()
    try:
        keras.config.set_image_data_format(data_format)
        if dtype is not None:
            keras.config.set_dtype_policy(keras.dtype_policies.get(dtype))
        yield
    finally:
        keras.config.set_image_data_format(before[0])
        keras.config.set_dtype_policy(before[1])
