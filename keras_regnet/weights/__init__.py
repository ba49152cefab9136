"""Weights: what was published, and how a model gets it."""

from keras_regnet.weights.hub_folder import push
from keras_regnet.weights.hub_folder import save_folder
from keras_regnet.weights.records import find
from keras_regnet.weights.records import list_weights
from keras_regnet.weights.records import WeightRecord
from keras_regnet.weights.resolved import ResolvedWeights
from keras_regnet.weights.resolving import resolve
from keras_regnet.weights.save import export

__all__ = [
    "ResolvedWeights",
    "WeightRecord",
    "export",
    "find",
    "list_weights",
    "push",
    "resolve",
    "save_folder",
]
