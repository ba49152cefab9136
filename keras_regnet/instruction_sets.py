"""Instruction sets of processors, by oneDNN's names."""

import functools
import os
import platform

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


@functools.cache
def best() -> str:
    """Returns the best instruction set that oneDNN may use here."""
    return best_of(_flags(), os.environ.get(_LIMIT, ""))


def of_machine() -> str:
    """Returns the best instruction set of this machine, whatever the limit."""
    return best_of(_flags())


def best_of(flags: frozenset[str], limit: str = "") -> str:
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
