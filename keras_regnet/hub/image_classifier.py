"""A classifier of KerasHub, and what it does to images before."""

from collections.abc import Sequence
from typing import Any
from typing import Self

import keras

from keras_regnet import layers
from keras_regnet.center_crop import CenterCrop
from keras_regnet.hub import bases
from keras_regnet.hub import image_converter
from keras_regnet.hub import reading
from keras_regnet.hub.backbone import RegNetBackbone
from keras_regnet.hub.image_converter import RegNetImageConverter
from keras_regnet.regnet_model import RegNetModel

_DEFAULT_IMAGE_SIZE = (224, 224)


@keras.saving.register_keras_serializable(package="keras_regnet")
class RegNetImageClassifierPreprocessor(bases.ImageClassifierPreprocessor):
    """Prepares images for a `RegNetImageClassifier`.

    Args:
      image_converter: a `RegNetImageConverter`; None leaves images alone.
      **kwargs: further arguments of KerasHub's `Preprocessor`.

    Example:
    >>> import numpy as np
    >>> converter = RegNetImageConverter((224, 224), crop_fraction=0.875)
    >>> preprocessor = RegNetImageClassifierPreprocessor(converter)
    >>> tuple(preprocessor(np.zeros((1, 300, 400, 3), "uint8")).shape)
    (1, 224, 224, 3)
    """

    backbone_cls = RegNetBackbone
    image_converter_cls = RegNetImageConverter

    @classmethod
    def for_backbone(
        cls,
        backbone: RegNetBackbone,
        image_size: tuple[int, int] = _DEFAULT_IMAGE_SIZE,
        crop: CenterCrop | None = None,
    ) -> Self:
        """Returns what a backbone needs: normalization is done once.

        Args:
          backbone: which tells whether it normalizes images itself.
          image_size: (height, width) of the images.
          crop: how they are scaled and cropped; None for the paper's way.

        Returns:
          A preprocessor with an image converter.
        """
        arguments = image_converter.crop_arguments(crop or CenterCrop())
        if not backbone.include_preprocessing:
            pairs = list(zip(backbone.mean, backbone.std, strict=True))
            arguments["scale"] = [1 / std for _, std in pairs]
            arguments["offset"] = [-mean / std for mean, std in pairs]
        return cls(
            RegNetImageConverter(
                (image_size[0], image_size[1]),
                data_format=backbone.data_format,
                **arguments,
            )
        )


@keras.saving.register_keras_serializable(package="keras_regnet")
class RegNetImageClassifier(bases.ImageClassifier):
    """KerasHub's image classifier with a `RegNetBackbone`.

    The head is computed in float32 at least, as that of `keras_regnet.build`
    is, unless `head_dtype` says otherwise.

    Args:
      backbone: a `RegNetBackbone`.
      num_classes: number of outputs.
      preprocessor: a `RegNetImageClassifierPreprocessor`; None to prepare
        images elsewhere.
      activation: of the outputs; None for logits. With "sigmoid", labels are
        (batch, num_classes) of 0 and 1, and the default loss is binary.
      head_dtype: dtype policy of the head.
      class_names: a name for each output, None if they are not known.
      **kwargs: further arguments of KerasHub's `ImageClassifier`: `pooling`,
        `dropout`, `compile`, `name`.

    Raises:
      ValueError: if there are not as many names as classes.

    Example:
    >>> import numpy as np
    >>> backbone = RegNetBackbone("RegNetX-200MF")
    >>> classifier = RegNetImageClassifier(backbone, num_classes=5)
    >>> classifier(np.zeros((2, 64, 64, 3))).shape
    TensorShape([2, 5])
    """

    backbone_cls = RegNetBackbone
    preprocessor_cls = RegNetImageClassifierPreprocessor

    def __init__(
        self,
        backbone: RegNetBackbone,
        num_classes: int,
        preprocessor: Any = None,
        activation: Any = None,
        head_dtype: Any = None,
        class_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(
                "`class_names` must have a name for each of `num_classes`. "
                f"Received: {len(class_names)} names, "
                f"num_classes={num_classes!r}"
            )
        # Before KerasHub does: by it `compile` chooses the loss.
        self.activation = activation
        super().__init__(
            backbone,
            num_classes,
            preprocessor=preprocessor,
            activation=activation,
            head_dtype=head_dtype or _head_dtype(backbone.dtype_policy),
            **kwargs,
        )
        self.class_names = None if class_names is None else tuple(class_names)

    @classmethod
    def from_regnet(
        cls,
        model: RegNetModel,
        num_classes: int | None = None,
        image_size: tuple[int, int] | None = None,
        crop: CenterCrop | None = None,
        **kwargs: Any,
    ) -> Self:
        """Returns a classifier with the network and the weights of a model.

        Args:
          model: made by a builder of this package.
          num_classes: number of outputs; None for the model's own. With
            another number the head is new.
          image_size: (height, width) to which images are brought; None for
            that of the model, else of the weights, else (224, 224).
          crop: how images are scaled and cropped; None for the way of the
            weights, else the paper's.
          **kwargs: further arguments of the classifier.

        Returns:
          A classifier with its preprocessor. Its outputs are the model's.

        Raises:
          ValueError: if the model has no top and `num_classes` is None, or
            it has other layers than its builder gave it.

        Example:
        >>> import keras_regnet
        >>> model = keras_regnet.RegNetX("200MF", weights=None, classes=5)
        >>> classifier = RegNetImageClassifier.from_regnet(model)
        >>> classifier.num_classes, classifier.activation
        (5, 'softmax')
        """
        reading.check(model)
        head = reading.classifier_arguments(model)
        classes = num_classes or head.get("num_classes")
        if classes is None:
            raise ValueError(
                "`num_classes` must be given for a model without a classifier. "
                f"Received: model={model.name!r}, num_classes=None"
            )
        has_head = classes == head.get("num_classes")
        backbone = RegNetBackbone.from_regnet(model)
        preprocessor = RegNetImageClassifierPreprocessor.for_backbone(
            backbone,
            image_size
            or reading.image_size(model, backbone.data_format)
            or model.record.image_size
            or _DEFAULT_IMAGE_SIZE,
            crop or model.record.crop,
        )
        arguments = {
            **head,
            "num_classes": classes,
            "preprocessor": preprocessor,
            "class_names": model.class_names if has_head else None,
            **kwargs,
        }
        classifier = cls(backbone, **arguments)
        if has_head:
            classifier.output_dense.set_weights(
                model.get_layer(reading.LOGITS).get_weights()
            )
        return classifier

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures training, by default with a loss for the activation.

        Args:
          optimizer: as of KerasHub's `ImageClassifier`, like all others.
          loss: likewise; KerasHub's is for one class an image.
          metrics: likewise.
          **kwargs: likewise.
        """
        if keras.activations.get(self.activation) is keras.activations.sigmoid:
            if loss == "auto":
                loss = keras.losses.BinaryCrossentropy()
            if metrics == "auto":
                metrics = [keras.metrics.BinaryAccuracy()]
        super().compile(optimizer, loss, metrics=metrics, **kwargs)

    def predict_step(self, *args: Any) -> Any:
        """Predicts a batch, as `RegNetModel` does."""
        with layers.folded_norms():
            return super().predict_step(*args)

    def test_step(self, *args: Any) -> Any:
        """Evaluates a batch, as `RegNetModel` does."""
        with layers.folded_norms():
            return super().test_step(*args)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = self.class_names and list(self.class_names)
        return {**super().get_config(), "class_names": names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuilds a classifier; of another number of classes without names."""
        config = dict(config)
        names = config.get("class_names")
        # As `from_preset(..., num_classes=...)` asks for.
        if names is not None and len(names) != config["num_classes"]:
            config["class_names"] = None
        return super().from_config(config)


def _head_dtype(policy):
    """Returns float32 in place of a policy that computes in half precision."""
    return "float32" if policy.compute_dtype.endswith("float16") else None
