"""Weights: what was published, and how a model gets it."""

from keras_regnet.weights.exporting import export
from keras_regnet.weights.records import find
from keras_regnet.weights.records import list_weights
from keras_regnet.weights.records import WeightRecord
from keras_regnet.weights.resolving import resolve
from keras_regnet.weights.resolving import ResolvedWeights

__all__ = [
    "ResolvedWeights",
    "WeightRecord",
    "export",
    "find",
    "list_weights",
    "resolve",
]
