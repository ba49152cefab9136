"""Which instructions, threads and kernels a process computes with."""

import dataclasses
import os

import keras

from keras_regnet import instruction_sets
from keras_regnet import onednn
from keras_regnet.layers import kernels
from keras_regnet.layers import tracing

_WITH_BFLOAT16 = ("AVX512_CORE_BF16", "AVX512_CORE_AMX")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What computes.

    Args:
      instructions: the best instruction set that oneDNN may use, by oneDNN's
        name, or the machine's name where the processor has none of them.
      threads: of one operation.
      onednn: "on" or "off"; "unused" on other backends than TensorFlow.
      groups: how convolutions in groups are computed: "native", one
        operation; "portable", see `keras_regnet.layers.portable_ops`; "stock",
        Keras's own.
    """

    instructions: str
    threads: int
    onednn: str
    groups: str

    def __str__(self) -> str:
        return (
            f"{self.instructions}, {self.threads} threads, oneDNN "
            f"{self.onednn}, convolutions in groups {self.groups}"
        )


def setting() -> Setting:
    """Returns what this process computes with, in float32.

    TensorFlow starts, if it has not.

    Example:
    >>> setting().groups in ("native", "portable", "stock")
    True
    """
    on = None
    if keras.backend.backend() == "tensorflow":
        on = onednn.is_on()
    return Setting(
        instructions=instruction_sets.best(),
        threads=_threads(),
        onednn={True: "on", False: "off", None: "unused"}[on],
        groups=_groups(),
    )


def computes_bfloat16() -> bool:
    """Whether TensorFlow has fast bfloat16 here: an accelerator, or oneDNN's.

    On other processors casts around float32, or TensorFlow's own kernels, take
    longer than float32 does.

    Example:
    >>> computes_bfloat16() in (True, False)
    True
    """
    if tracing.has_accelerator():
        return True
    return onednn.is_on() is True and instruction_sets.best() in _WITH_BFLOAT16


def _threads():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        limit = tf.config.threading.get_intra_op_parallelism_threads()
        if limit:
            return limit
    return _cores()


def _cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _groups():
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return "portable" if jax.default_backend() == "cpu" else "stock"
    if backend != "tensorflow" or tracing.has_accelerator():
        return "stock"
    works = kernels.native_conv_works(
        "float32", "same", "channels_last", True, False
    )
    return "native" if works else "portable"
