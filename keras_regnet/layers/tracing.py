"""Properties of the machine and of the function being traced."""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


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
