"""Which operations the layers of this package trace, as the caller asks."""

import contextlib
import contextvars
from contextlib import AbstractContextManager

_FORM = contextvars.ContextVar("keras_regnet_form", default="auto")
_INFERENCE = contextvars.ContextVar("keras_regnet_inference", default=False)


@contextlib.contextmanager
def _setting(variable, value):
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def current() -> str:
    """Returns "auto", "portable" or "native", for the current thread."""
    return _FORM.get()


def portable_ops() -> AbstractContextManager[None]:
    """Makes layers trace only operations that every TensorFlow build runs.

    A grouped convolution and the bias or batch norm behind it, which oneDNN
    computes as one on this machine, fail on a server that runs with
    `TF_ENABLE_ONEDNN_OPTS=0`, and so do its gradients. Within this context,
    which holds for the current thread, the layers of this module trace NHWC
    operations that run and train there, too; no function is compiled by XLA.
    A function traced before keeps what it was traced with.
    Other backends than TensorFlow are not affected.

    Returns:
      A context manager.

    Example:
    >>> import keras
    >>> from keras_regnet.layers import GroupedConv2D
    >>> layer = GroupedConv2D(4, 3, groups=2)
    >>> with portable_ops():
    ...     y = layer(keras.ops.ones((1, 5, 5, 4)))
    >>> tuple(y.shape)
    (1, 3, 3, 4)
    """
    return _setting(_FORM, "portable")


def native_ops() -> AbstractContextManager[None]:
    """Makes layers trace one grouped `Conv2D` operation, whatever runs here.

    For converters (LiteRT, ONNX), which read the graph and do not run it:
    the operation is traced even where this machine has no kernel for it.
    Other backends than TensorFlow are not affected.

    Returns:
      A context manager, which holds for the current thread.

    Example:
    >>> import keras
    >>> from keras_regnet.layers import GroupedConv2D
    >>> layer = GroupedConv2D(4, 3, groups=2)
    >>> layer.build((None, 5, 5, 4))
    >>> with native_ops():
    ...     y = layer(keras.KerasTensor((1, 5, 5, 4)))
    >>> y.shape
    (1, 3, 3, 4)
    """
    return _setting(_FORM, "native")


def inference() -> AbstractContextManager[None]:
    """Promises that nobody takes a gradient of what is traced within."""
    return _setting(_INFERENCE, True)


def is_inference() -> bool:
    """Whether that was promised, for the current thread."""
    return _INFERENCE.get()
