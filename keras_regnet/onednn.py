"""oneDNN, TensorFlow's library of fast operations for x86 processors.

TensorFlow turns it on by itself where a processor has AVX-512's instructions
for neural networks. On others it waits for an environment variable, which it
reads once, at its import: `keras_regnet` imports this module before Keras.
"""

import functools
import logging
import os
import platform
import sys

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
_X86 = ("x86_64", "amd64")


def is_x86() -> bool:
    """Whether the processor is one that oneDNN was written for."""
    return platform.machine().lower() in _X86


def enable() -> None:
    """Has TensorFlow turn oneDNN on, unless the environment decides it.

    Does nothing once TensorFlow is imported: processes that are started from
    this one shall not differ from it.
    """
    if is_x86() and "tensorflow" not in sys.modules:
        os.environ.setdefault(VARIABLE, "1")


def is_on() -> bool | None:
    """Whether TensorFlow uses oneDNN; None if it is not imported."""
    if "tensorflow" not in sys.modules:
        return None
    # No public API tells this.
    from tensorflow.python.util import _pywrap_util_port

    return _pywrap_util_port.IsMklEnabled()


@functools.cache
def warn_if_left_off() -> None:
    """Logs once what is lost where nobody has turned oneDNN off.

    A line of the log and not a warning, which some take for errors: results
    are right.
    """
    if is_x86() and VARIABLE not in os.environ and is_on() is False:
        logging.getLogger(__name__).warning(
            "TensorFlow runs without oneDNN, as it does by default on "
            "processors without AVX-512: convolutions in groups take longer, "
            "and their gradients most of all. Import keras_regnet before "
            "TensorFlow and Keras, or set %s=1 in the environment; %s=0 "
            "silences this line.",
            VARIABLE,
            VARIABLE,
        )


enable()
