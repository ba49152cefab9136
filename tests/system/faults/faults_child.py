"""A trainer's process, as `python training/main.py` makes it, with faults.

Started by fork from a server that has imported TensorFlow and no more, which
saves its start. Faults that are injected from inside a process, because the
moment matters, are listed in `Injection`; the others come from outside.
"""

import contextlib
import ctypes
import dataclasses
import os
import signal
import sys

from tests.support import paths

CHECKOUT = paths.ROOT


@dataclasses.dataclass(frozen=True)
class Injection:
    """What happens to a process.

    Args:
      kill_in_write: end it in the middle of writing this checkpoint, counted
        from 1; 0 for none.
      full_at_write: no file may grow at this checkpoint; 0 for none.
      spoil_at_step: a weight is NaN after this step; 0 for none.
      float64: compute in double precision.
      export: whether to write model.keras and the SavedModel.
      losses: file for the sum of losses of each call.
      inputs: file for the digests of the images of each step.
    """

    kill_in_write: int = 0
    full_at_write: int = 0
    spoil_at_step: int = 0
    float64: bool = False
    export: bool = False
    losses: str = ""
    inputs: str = ""


def main(
    arguments: list[str],
    log: str,
    environment: dict[str, str],
    injection: Injection,
) -> None:
    """Runs training/main.py; ends the process."""
    _die_with_parent()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.dont_write_bytecode = True
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))
    from absl import app

    from tests.system.faults import faults_hooks
    from training import main as entry

    if injection.float64:
        _compute_in_float64()
    hooks = faults_hooks.FaultHooks(injection)
    app.run(
        lambda rest: entry.main(rest, hooks),
        argv=["training/main.py", *arguments],
        flags_parser=entry.parse_flags,
    )


def _die_with_parent():
    """Lets no trainer outlive the suite, and write into the next one's run."""
    death_signal = 1  # PR_SET_PDEATHSIG
    with contextlib.suppress(AttributeError, OSError):  # Not Linux.
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)


def _compute_in_float64():
    """Makes float64 what Keras takes for any dtype policy."""
    import keras

    set_policy = keras.config.set_dtype_policy
    keras.config.set_dtype_policy = lambda _: set_policy("float64")
