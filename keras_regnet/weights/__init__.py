"""Weights: what was published, and filling a built model with it."""

from keras_regnet.weights.exporting import export
from keras_regnet.weights.records import find
from keras_regnet.weights.records import list_weights
from keras_regnet.weights.records import WeightRecord
from keras_regnet.weights.request import Request
from keras_regnet.weights.request import resolve

__all__ = [
    "Request",
    "WeightRecord",
    "export",
    "find",
    "list_weights",
    "resolve",
]
