"""Which instructions, threads and kernels a process computes with."""

import dataclasses
import os
import platform

import keras

from keras_regnet import onednn
from keras_regnet.layers import kernels
from keras_regnet.layers import tracing

# oneDNN's names of instruction sets, best first, and what of the processor's
# flags each needs; `ONEDNN_MAX_CPU_ISA` takes the names.
_INSTRUCTION_SETS = (
    ("AVX512_CORE_AMX", ("amx_tile", "amx_int8", "amx_bf16")),
    ("AVX512_CORE_BF16", ("avx512_bf16",)),
    ("AVX512_CORE_VNNI", ("avx512_vnni",)),
    ("AVX512_CORE", ("avx512f", "avx512bw", "avx512vl", "avx512dq")),
    ("AVX2_VNNI", ("avx2", "avx_vnni")),
    ("AVX2", ("avx2",)),
    ("AVX", ("avx",)),
    ("SSE41", ("sse4_1",)),
)
_LIMIT = "ONEDNN_MAX_CPU_ISA"


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
        instructions=instructions(_flags(), os.environ.get(_LIMIT, "")),
        threads=_threads(),
        onednn={True: "on", False: "off", None: "unused"}[on],
        groups=_groups(),
    )


def instruction_set() -> str:
    """Returns the best instruction set of this machine, by oneDNN's names."""
    return instructions(_flags())


def instructions(flags: frozenset[str], limit: str = "") -> str:
    """Returns the best instruction set within a limit, by oneDNN's names.

    Args:
      flags: of the processor, as Linux names them.
      limit: the name of the best one allowed; any other text is no limit.

    Returns:
      The name, or that of the machine where no flag tells.
    """
    names = [name for name, _ in _INSTRUCTION_SETS]
    start = names.index(limit.upper()) if limit.upper() in names else 0
    for name, needed in _INSTRUCTION_SETS[start:]:
        if flags.issuperset(needed):
            return name
    return platform.machine()


def _flags():
    """Returns the processor's flags; none where Linux does not list them."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()


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
