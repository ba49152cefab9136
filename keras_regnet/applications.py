"""The RegNets of keras.applications, as Keras 2 had them.

A drop-in for `tf_keras.applications.regnet`: the same functions, arguments
and weights, in Keras 3. Networks pad as TensorFlow does and divide images in
0..255 by 255. Other than there, `classifier_activation` is applied.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any
from typing import Protocol

from keras_regnet import models
from keras_regnet import predictions
from keras_regnet import regnet_model
from keras_regnet import variants
from keras_regnet import weights as weights_lib
from keras_regnet.keras2_models import load_model
from keras_regnet.weights import detect
from keras_regnet.weights.readers import keras3_file

_TAG = "keras_in1k"
_CLASSES = 1000
_MEAN, _STD = (0.0,) * 3, (255.0,) * 3

_DOC = """Builds {variant} as `tf_keras.applications.{name}` did.

    Args:
      model_name: the model's name.
      include_top: whether the pool and the classifier are part of it.
      include_preprocessing: whether the model takes images in 0..255 and
        divides them by 255; if not, feed 0..1.
      weights: "imagenet" for those of keras.applications, "default" for the
        best of `keras_regnet.list_weights`, None for random ones, a file
        that Keras 2 or 3 saved, or any other value that
        `keras_regnet.build` takes.
      input_tensor: a Keras tensor to start from; None for a new input.
      input_shape: shape of one image; (224, 224, 3) by default,
        (None, None, 3) without the top.
      pooling: without the top, "avg", "max" or None.
      classes: number of classes; 1000 with "imagenet" and the top.
      classifier_activation: applied to the logits; None leaves them.

    Returns:
      A functional Keras model.

    Raises:
      OSError: if the weights cannot be fetched.
      ValueError: if an argument is not allowed.
    """


class _Application(Protocol):
    """The signature of the networks, for editors and type checkers."""

    def __call__(
        self,
        model_name: str = ...,
        include_top: bool = True,
        include_preprocessing: bool = True,
        weights: str | os.PathLike | None = "imagenet",
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = _CLASSES,
        classifier_activation: str | Callable | None = "softmax",
    ) -> regnet_model.RegNetModel: ...


def _application(name: str) -> _Application:
    """Returns the function that keras.applications has under a name."""
    variant = variants.variant_name(name)

    def application(
        model_name: str = name.lower(),
        include_top: bool = True,
        include_preprocessing: bool = True,
        weights: str | os.PathLike | None = "imagenet",
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = _CLASSES,
        classifier_activation: str | Callable | None = "softmax",
    ) -> regnet_model.RegNetModel:
        return models.build(
            variants.get_config(variant),
            _resolve(variant, weights, classes, include_top),
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            include_preprocessing=include_preprocessing,
            name=model_name,
        )

    application.__name__ = application.__qualname__ = name
    application.__doc__ = inspect.cleandoc(
        _DOC.format(name=name, variant=variant)
    )
    return application


def _resolve(variant, weights, classes, include_top):
    """Returns the requested weights, resolved for a network of Keras 2."""
    if weights == "imagenet":
        if include_top and classes != _CLASSES:
            raise ValueError(
                f"`classes` must be {_CLASSES} with weights='imagenet' and "
                f"include_top=True. Received: classes={classes!r}"
            )
        weights = _TAG
    config = dataclasses.replace(variants.get_config(variant), padding="same")
    resolved = weights_lib.resolve(
        weights, config, classes=classes, include_top=include_top
    )
    if _tells_normalization(resolved):
        return resolved
    return dataclasses.replace(resolved, mean=_MEAN, std=_STD)


def _tells_normalization(resolved):
    """Returns whether the weights bring a normalization of their own.

    A file of ours does, unless it holds weights alone or a model that does
    not normalize.
    """
    if resolved.record or not resolved.checkpoint:
        return bool(resolved.record)
    if resolved.checkpoint.format != detect.OUR_FORMAT:
        return True
    rules = keras3_file.saved_rules(resolved.path)
    return bool(rules and rules.mean)


RegNetX002 = _application("RegNetX002")
RegNetX004 = _application("RegNetX004")
RegNetX006 = _application("RegNetX006")
RegNetX008 = _application("RegNetX008")
RegNetX016 = _application("RegNetX016")
RegNetX032 = _application("RegNetX032")
RegNetX040 = _application("RegNetX040")
RegNetX064 = _application("RegNetX064")
RegNetX080 = _application("RegNetX080")
RegNetX120 = _application("RegNetX120")
RegNetX160 = _application("RegNetX160")
RegNetX320 = _application("RegNetX320")
RegNetY002 = _application("RegNetY002")
RegNetY004 = _application("RegNetY004")
RegNetY006 = _application("RegNetY006")
RegNetY008 = _application("RegNetY008")
RegNetY016 = _application("RegNetY016")
RegNetY032 = _application("RegNetY032")
RegNetY040 = _application("RegNetY040")
RegNetY064 = _application("RegNetY064")
RegNetY080 = _application("RegNetY080")
RegNetY120 = _application("RegNetY120")
RegNetY160 = _application("RegNetY160")
RegNetY320 = _application("RegNetY320")


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Returns the images as they are; the models divide by 255 themselves.

    It stands here because other modules of keras.applications have one.

    Args:
      x: images in 0..255.
      data_format: not used.

    Returns:
      `x`.
    """
    del data_format
    return x


def decode_predictions(
    preds: Any, top: int = 5
) -> list[list[predictions.Prediction]]:
    """Returns the names of the most probable classes of ImageNet.

    Args:
      preds: array (batch, 1000); of logits the softmax is taken.
      top: how many classes to return for each image.

    Returns:
      For each image a list of (WordNet id, name, probability), the best first.

    Raises:
      ValueError: if `preds` has another shape.
    """
    if len(preds.shape) != 2 or preds.shape[1] != _CLASSES:
        raise ValueError(
            f"`preds` must have the shape (batch, {_CLASSES}). "
            f"Received: shape={tuple(preds.shape)}"
        )
    return predictions.decode_predictions(preds, top)


__all__ = [
    *(name for name in globals() if name.startswith("RegNet")),
    "decode_predictions",
    "load_model",
    "preprocess_input",
]
