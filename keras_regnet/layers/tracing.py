"""Properties of the machine and of the function being traced."""

import sys
from types import FrameType

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.eager import record


def has_accelerator() -> bool:
    """Whether TensorFlow sees any device but CPUs."""
    return any(
        device.device_type != "CPU"
        for device in tf.config.list_logical_devices()
    )


def traces_for_xla() -> bool:
    """Whether the function being traced is compiled (`jit_compile=True`)."""
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        # No public API tells this; `tf.function` itself asks the same way.
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def records_gradients() -> bool:
    """Whether a gradient tape is open around the call, on TensorFlow."""
    # No public API tells this; `tf.custom_gradient` asks the same way.
    return record.could_possibly_record()


def is_recomputing() -> bool:
    """Whether `tf.recompute_grad` repeats a forward pass for its gradient.

    TensorFlow does not say so to what it calls, so the calling frames are
    asked. Costs microseconds, and only while tracing.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "inner_recompute_grad":
            return True
        frame = frame.f_back
    return False
