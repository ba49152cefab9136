"""RegNets for Keras 3: the networks, and the method that found them."""

from keras_regnet import applications
from keras_regnet import config
from keras_regnet import design_space
from keras_regnet import export
from keras_regnet import layers
from keras_regnet import weights
from keras_regnet.builders import AnyNet
from keras_regnet.builders import RegNet
from keras_regnet.builders import RegNetV
from keras_regnet.builders import RegNetX
from keras_regnet.builders import RegNetY
from keras_regnet.builders import RegNetZ
from keras_regnet.complexity import Complexity
from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.models import build
from keras_regnet.models import replace_head
from keras_regnet.preprocessing import preprocess_input
from keras_regnet.regnet_model import RegNetModel
from keras_regnet.variants import get_config
from keras_regnet.variants import list_variants
from keras_regnet.version import VERSION
from keras_regnet.weights import list_weights

__version__ = VERSION

__all__ = [
    "AnyNet",
    "AnyNetConfig",
    "Complexity",
    "RegNet",
    "RegNetConfig",
    "RegNetModel",
    "RegNetV",
    "RegNetX",
    "RegNetY",
    "RegNetZ",
    "applications",
    "build",
    "complexity",
    "config",
    "design_space",
    "export",
    "get_config",
    "layers",
    "list_variants",
    "list_weights",
    "preprocess_input",
    "replace_head",
    "weights",
]
