"""The classes of KerasHub that ours extend.

The one module that imports KerasHub: `pip install 'keras_regnet[hub]'`.
"""

try:
    from keras_hub.layers import ImageConverter
    from keras_hub.models import FeaturePyramidBackbone
    from keras_hub.models import ImageClassifier
    from keras_hub.models import ImageClassifierPreprocessor
except ImportError as error:
    raise ImportError(
        "keras_regnet.hub needs KerasHub: pip install 'keras_regnet[hub]'"
    ) from error

__all__ = [
    "FeaturePyramidBackbone",
    "ImageClassifier",
    "ImageClassifierPreprocessor",
    "ImageConverter",
]
