"""A trainer's process, as `python training/main.py` makes it, to be harmed.

Started by fork from a server that has imported TensorFlow and no more, which
saves its start. What is done to a process from inside, because the moment
matters, is listed in `Harm`; the rest is done from outside.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import math
import os
import resource
import signal
import sys

from tests.support import paths

CHECKOUT = paths.ROOT


@dataclasses.dataclass(frozen=True)
class Harm:
    """What happens to a process.

    Args:
      kill_in_write: kill it in the middle of writing this checkpoint, counted
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
    arguments: list[str], log: str, environment: dict[str, str], harm: Harm
) -> None:
    """Runs training/main.py; ends the process."""
    _die_with_parent()
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.dont_write_bytecode = True
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))
    from absl import app

    from training import main as entry

    _harm(harm)
    app.run(
        entry._main,
        argv=["training/main.py", *arguments],
        flags_parser=entry._parse_flags,
    )


def _harm(harm):
    import keras

    from training.trainer import run
    from training.workdir import checkpoint

    if not harm.export:
        run.final_export.write = lambda *_: None
    if harm.losses:
        _record(run.Run, harm.losses)
    if harm.inputs:
        _record_inputs(harm.inputs)
    if harm.float64:
        set_policy = keras.config.set_dtype_policy
        keras.config.set_dtype_policy = lambda _: set_policy("float64")
    if harm.spoil_at_step:
        _spoil(run.Run, harm.spoil_at_step)
    write, count = checkpoint.write_atomically, [0]

    def harmed(path, contents):
        if path.suffix != ".npz":
            write(path, contents)
            return
        count[0] += 1
        if count[0] == harm.kill_in_write:
            with open(f"{path}.partial", "wb") as file:
                file.write(contents[: len(contents) // 2])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        if count[0] == harm.full_at_write:
            # A module imported meanwhile would leave a torn .pyc behind.
            sys.dont_write_bytecode = True
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            try:
                write(path, contents)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        write(path, contents)

    checkpoint.write_atomically = harmed


def _die_with_parent():
    """Lets no trainer outlive the suite, and write into the next one's run."""
    death_signal = 1  # PR_SET_PDEATHSIG
    with contextlib.suppress(AttributeError, OSError):  # Not Linux.
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)


def _spoil(run_class, step):
    """Makes a weight NaN once a step is done."""
    original = run_class.train_steps

    def spoiled(self, *arguments):
        if self.state.step == step:
            # The classifier's: after others, ReLU may hide it from the loss.
            weight = self.model.trainable_variables[-1]
            weight.assign(weight * math.nan)
        original(self, *arguments)

    run_class.train_steps = spoiled


def _record_inputs(path):
    """Appends a line for what this process reads of every step."""
    import tensorflow as tf

    from training.data import pipeline as data

    original = data.distribute

    def note(images):
        digests = [hashlib.md5(image.tobytes()).hexdigest() for image in images]
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(digests) + "\n")
        return images

    def noted(images, labels):
        found = tf.numpy_function(note, [images], images.dtype)
        return tf.ensure_shape(found, images.shape), labels

    def recorded(strategy, config, make):
        def noting(share):
            batches = make(share)
            # Those for evaluation have weights too.
            trains = len(batches.element_spec) == 2
            return batches.map(noted) if trains else batches

        return original(strategy, config, noting)

    data.distribute = recorded


def _record(run_class, path):
    """Appends step and sum of losses to a file after every call."""
    original = run_class.train_steps

    def recorded(self, *arguments):
        before = self.state.sums[0] if self.state.sums else 0.0
        original(self, *arguments)
        record = [self.state.step, self.state.sums[0] - before]
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    run_class.train_steps = recorded
