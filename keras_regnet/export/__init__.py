"""Export of built models to the formats that serve them."""

from keras_regnet.export import saved_model
from keras_regnet.export.folding import fold_batch_norm

__all__ = ["fold_batch_norm", "saved_model"]
