"""Export of built models to the formats that serve them."""

from keras_regnet.export import saved_model

__all__ = ["saved_model"]
