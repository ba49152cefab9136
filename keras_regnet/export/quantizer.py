"""Int8 files from float ones, by LiteRT's quantizer, without TensorFlow.

It was called ai-edge-quantizer up to its version 0.10.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

import numpy as np

# The type of an input in a recipe of the quantizer.
_PIXELS = {"uint8": "UINT", "int8": "INT"}


def require() -> Any:
    """Returns the package.

    Raises:
      ImportError: that says what to install.
    """
    try:
        import litert_quantizer.quantizer
    except ImportError as error:
        raise ImportError(
            "For int8, litert-quantizer must be installed: "
            "pip install keras_regnet[export]"
        ) from error
    return litert_quantizer


def quantized(
    contents: bytes,
    ranges: Mapping[str, tuple[float, float]],
    in_float: Collection[str],
    input_type: str,
) -> bytes:
    """Returns an int8 file, of weights per channel, with outputs in float32.

    Args:
      contents: of the float file.
      ranges: (min, max) of what each operation gives, and of the input, by the
        names of the tensors.
      in_float: outputs of the operations that stay in float32.
      input_type: "uint8", "int8" or "float".
    """
    package = require()
    statistics = {
        name: {"min": np.array([low]), "max": np.array([high])}
        for name, (low, high) in ranges.items()
    }
    quantizer = package.quantizer.Quantizer(
        contents, _recipe(in_float, input_type)
    )
    # It shows one of its two bars whatever it is told.
    silent = contextlib.redirect_stderr(io.StringIO())
    with silent, warnings.catch_warnings():
        # Of the memory of the interpreter that it looks at the file with.
        warnings.simplefilter("ignore", UserWarning)
        result = quantizer.quantize(
            statistics, enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(result.quantized_model)


def _recipe(in_float, input_type):
    """Returns the rules of the quantizer; of several that fit the last."""
    rules = [_rule(".*", "*", "INT"), _rule(".*", "OUTPUT")]
    kind = _PIXELS.get(input_type)
    rules.append(_rule(".*", "INPUT", kind))
    # It takes for an operation's name those of its outputs, each with ";".
    names = "|".join(re.escape(name) for name in sorted(in_float))
    if names:
        rules.append(_rule(f"(^|;)({names});", "*"))
    return rules


def _rule(pattern, operation, activations=None):
    """Returns a rule: int8, or float32 where activations have no type."""
    rule = {"regex": pattern, "operation": operation}
    if activations is None:
        return {**rule, "algorithm_key": "no_quantize", "op_config": {}}
    return {
        **rule,
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": {
            "activation_tensor_config": {
                "num_bits": 8,
                "symmetric": False,
                "granularity": "TENSORWISE",
                "dtype": activations,
            },
            "weight_tensor_config": {
                "num_bits": 8,
                "symmetric": True,
                "granularity": "CHANNELWISE",
                "dtype": "INT",
            },
            "compute_precision": "INTEGER",
            "explicit_dequantize": False,
        },
    }
