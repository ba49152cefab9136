"""Weights: what may be asked for, and filling a built model with it."""

from keras_regnet.weights.files import check_name
from keras_regnet.weights.files import load

__all__ = ["check_name", "load"]
