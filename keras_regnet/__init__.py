"""RegNets for Keras 3: the networks, and the method that found them."""

import importlib
from typing import Any
from typing import TYPE_CHECKING

# Before all that imports Keras, and TensorFlow with it.
from keras_regnet import onednn  # noqa: F401

# isort: split

from keras_regnet import applications
from keras_regnet import config
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
from keras_regnet.model_record import ModelRecord
from keras_regnet.models import build
from keras_regnet.models import prefix_layer_names
from keras_regnet.models import replace_head
from keras_regnet.predictions import decode_predictions
from keras_regnet.preprocessing import preprocess_input
from keras_regnet.regnet_model import RegNetModel
from keras_regnet.variants import get_config
from keras_regnet.variants import list_variants
from keras_regnet.version import VERSION
from keras_regnet.weights import list_weights

if TYPE_CHECKING:
    from keras_regnet import design_space
    from keras_regnet import export
    from keras_regnet import hub as hub

__version__ = VERSION

# Subpackages that are imported on first use: building and training a network
# needs neither.
_ON_FIRST_USE = ("design_space", "export")
# Likewise; not listed, since whoever looks through a module imports what is.
_NEEDS_AN_EXTRA = ("hub",)

__all__ = [
    "AnyNet",
    "AnyNetConfig",
    "Complexity",
    "ModelRecord",
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
    "decode_predictions",
    "design_space",
    "export",
    "get_config",
    "layers",
    "list_variants",
    "list_weights",
    "prefix_layer_names",
    "preprocess_input",
    "replace_head",
    "weights",
]


def __getattr__(name: str) -> Any:
    """Imports a subpackage on first use (PEP 562)."""
    if name in (*_ON_FIRST_USE, *_NEEDS_AN_EXTRA):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    own = (name for name in globals() if name.startswith("__"))
    return sorted({*own, *__all__})
