"""Export of built models to the formats that serve them."""

from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import saved_model
from keras_regnet.export.inference_model import fold_batch_norm
from keras_regnet.export.latency_meter import LatencyMeter
from keras_regnet.export.spec import ExportSpec
from keras_regnet.export.timer import latency
from keras_regnet.export.verification import Latency
from keras_regnet.export.verification import Report
from keras_regnet.export.verification import Tolerance
from keras_regnet.export.verification import verify

__all__ = [
    "ExportSpec",
    "Latency",
    "LatencyMeter",
    "Report",
    "Tolerance",
    "fold_batch_norm",
    "latency",
    "litert",
    "onnx",
    "saved_model",
    "verify",
]
