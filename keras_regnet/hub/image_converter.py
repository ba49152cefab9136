"""Scaling and cropping of images, as the weights are evaluated."""

import dataclasses
from typing import Any

import keras

from keras_regnet import images as images_lib
from keras_regnet.center_crop import CenterCrop
from keras_regnet.hub import bases
from keras_regnet.hub.backbone import RegNetBackbone


@keras.saving.register_keras_serializable(package="keras_regnet")
class RegNetImageConverter(bases.ImageConverter):
    """KerasHub's image converter with the center crop of the weights.

    KerasHub scales the largest window that has the aspect of `image_size`; the
    networks were evaluated on a part of it. With `crop_fraction` the pixels
    are those of `keras_regnet.preprocess_input`.

    Args:
      image_size: (height, width) of the result; None leaves images alone.
      crop_fraction: of the shorter side, which the crop keeps, such as
        224 / 256; None for KerasHub's way.
      crop_rounding: where the crop begins if an odd number of pixels is left
        over, see `CenterCrop`.
      to_integers: whether the scaled pixels are rounded, likewise.
      data_format: "channels_last", "channels_first", or None for Keras's
        default. A saved converter keeps its own.
      dtype: of the pixels returned.
      **kwargs: further arguments of KerasHub's `ImageConverter`, such as
        `interpolation`, `antialias`, `scale` and `offset`.

    Raises:
      ValueError: if `crop_fraction` is not allowed, or given together with
        another way to keep the aspect.

    Example:
    >>> import numpy as np
    >>> converter = RegNetImageConverter((224, 224), crop_fraction=0.875)
    >>> tuple(converter(np.zeros((300, 400, 3), "uint8")).shape)
    (224, 224, 3)
    """

    backbone_cls = RegNetBackbone
    resizing: keras.layers.Resizing

    def __init__(
        self,
        image_size: tuple[int, int] | None = None,
        crop_fraction: float | None = None,
        crop_rounding: str = "up",
        to_integers: bool = False,
        data_format: str | None = None,
        # Half precision has no room for the pixels between two values.
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_size=image_size,
            data_format=data_format,
            dtype=dtype,
            **kwargs,
        )
        self.crop_fraction = crop_fraction
        self.crop_rounding = crop_rounding
        self.to_integers = to_integers
        if crop_fraction is not None:
            self._check_crop(crop_fraction)
            self._replace_resizing(crop_fraction)
        # There is nothing to build; Keras quantizes only models that are.
        self.resizing.built = True

    def _check_crop(self, fraction: float) -> None:
        if not 0 < fraction <= 1:
            raise ValueError(
                "`crop_fraction` must be above 0 and up to 1, or None. "
                f"Received: crop_fraction={fraction!r}"
            )
        if self.pad_to_aspect_ratio or not self.crop_to_aspect_ratio:
            raise ValueError(
                "`crop_fraction` must be None where images are padded or "
                f"stretched. Received: crop_fraction={fraction!r}, "
                f"crop_to_aspect_ratio={self.crop_to_aspect_ratio}, "
                f"pad_to_aspect_ratio={self.pad_to_aspect_ratio}"
            )

    def _replace_resizing(self, fraction: float) -> None:
        config = self.resizing.get_config()
        self._layers.remove(self.resizing)  # To assign another leaves it.
        self.resizing = CenterCropResizing(
            fraction, self.crop_rounding, self.to_integers, **config
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            **super().get_config(),
            "crop_fraction": self.crop_fraction,
            "crop_rounding": self.crop_rounding,
            "to_integers": self.to_integers,
            "data_format": self.data_format,
        }


class CenterCropResizing(keras.layers.Resizing):
    """Scales images until they cover more than the size, and crops."""

    def __init__(
        self, fraction: float, rounding: str, to_integers: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.fraction = fraction
        self.rounding = rounding
        self.to_integers = to_integers

    def transform_images(
        self, images: Any, transformation: Any = None, training: bool = True
    ) -> Any:
        """Returns the crops, float32 (..., height, width, channels)."""
        del transformation, training
        size = (self.height, self.width)
        return images_lib.resize_and_crop(
            images,
            tuple(round(side / self.fraction) for side in size),
            size,
            interpolation=self.interpolation,
            antialias=self.antialias,
            crop_rounding=self.rounding,
            to_integers=self.to_integers,
            data_format=self.data_format,
        )

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Raises: a box may be cut off by the crop."""
        raise ValueError(
            "`crop_fraction` must be None for images with bounding boxes. "
            f"Received: crop_fraction={self.fraction!r}"
        )


def crop_arguments(crop: CenterCrop) -> dict[str, Any]:
    """Returns the arguments of a converter that crops as a `CenterCrop`."""
    names = {"fraction": "crop_fraction", "rounding": "crop_rounding"}
    return {
        names.get(field, field): value
        for field, value in dataclasses.asdict(crop).items()
    }
