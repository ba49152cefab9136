"""Export of built models to the formats that serve them."""

from keras_regnet.export import litert
from keras_regnet.export import saved_model
from keras_regnet.export.folding import fold_batch_norm
from keras_regnet.export.verification import Report
from keras_regnet.export.verification import Tolerance
from keras_regnet.export.verification import verify

__all__ = [
    "Report",
    "Tolerance",
    "fold_batch_norm",
    "litert",
    "saved_model",
    "verify",
]
