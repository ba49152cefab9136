"""RegNets as KerasHub has its models: backbone, classifier, preprocessing.

Importing it registers the classes, by which `from_preset` of KerasHub's own
`Backbone` and `ImageClassifier` opens a folder of ours. Needs the extra [hub].
"""

from keras_regnet.hub.backbone import RegNetBackbone
from keras_regnet.hub.image_classifier import RegNetImageClassifier
from keras_regnet.hub.image_classifier import RegNetImageClassifierPreprocessor
from keras_regnet.hub.image_converter import RegNetImageConverter
from keras_regnet.hub.presets import write_preset

__all__ = [
    "RegNetBackbone",
    "RegNetImageClassifier",
    "RegNetImageClassifierPreprocessor",
    "RegNetImageConverter",
    "write_preset",
]
