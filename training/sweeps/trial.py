"""Trains and evaluates one trial: a network with a seed, as a regime says.

Runs on any Keras backend; the compiled steps are in one small module per
backend, `training/sweeps/steps_tensorflow.py` and its siblings.
"""

import contextlib
import dataclasses
import datetime
import gc
import importlib
import platform
import time
from typing import Any

import keras
import numpy as np

import keras_regnet
from keras_regnet import errors
from keras_regnet import processor
from keras_regnet.design_space.records import Record
from keras_regnet.design_space.records import Trial
from training.sweeps import arrays as arrays_lib
from training.sweeps.messages import Job
from training.sweeps.regimes import Regime

_STEPS_MODULES = {
    "tensorflow": "training.sweeps.steps_tensorflow",
    "jax": "training.sweeps.steps_jax",
    "torch": "training.sweeps.steps_torch",
}
# Fraction of the learning rate at the start of a warm-up, as in pycls.
_WARMUP_START = 0.1


class TrialError(Exception):
    """A trial went wrong in a way that has a name."""


def steps_module() -> Any:
    """Returns the module that compiles steps for Keras's backend."""
    backend = keras.backend.backend()
    if backend not in _STEPS_MODULES:
        raise errors.unknown_value("backend", backend, _STEPS_MODULES)
    return importlib.import_module(_STEPS_MODULES[backend])


def run(
    trial: Trial,
    regime: Regime,
    arrays: arrays_lib.Arrays,
    attempt: int = 1,
) -> Record:
    """Trains a network; an error of training becomes a failed record."""
    started = datetime.datetime.now(datetime.UTC)
    start = time.perf_counter()
    measured = _Measured()
    try:
        _train(trial, regime, arrays, measured)
        outcome = {"status": "done", "error": measured.test_errors[-1]}
    except Exception as error:
        outcome = {"status": "failed", "reason": _reason(error)}
    return Record(
        **vars(trial),
        **outcome,
        **vars(measured),
        attempt=attempt,
        seconds=round(time.perf_counter() - start, 3),
        started=started.isoformat(timespec="seconds"),
        **environment(),
    )


def run_job(job: Job, regime: Regime, arrays: arrays_lib.Arrays) -> Record:
    """Does what a driver asks for, see `run`."""
    measured = arrays.for_test() if job.test else arrays
    return run(job.trial, regime, measured, job.attempt)


def environment() -> dict[str, str]:
    """Returns a record's fields about the machine and the software."""
    backend = keras.backend.backend()
    versions = {
        "keras_regnet": keras_regnet.__version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        backend: importlib.import_module(backend).__version__,
        "numpy": np.__version__,
    }
    return {
        "backend": backend,
        "device": _device(),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }


def _device():
    """Returns the kind of device; of a CPU also what it computes with."""
    device = steps_module().device()
    is_cpu = device.lower() == "cpu"
    return f"{device} ({processor.setting()})" if is_cpu else device


def _reason(error):
    if isinstance(error, TrialError):
        return str(error)
    if isinstance(error, MemoryError) or steps_module().is_out_of_memory(error):
        return "out of memory"
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}"


@dataclasses.dataclass
class _Measured:
    """The measured fields of a record, filled during a trial."""

    train_losses: list[float] = dataclasses.field(default_factory=list)
    train_errors: list[float] = dataclasses.field(default_factory=list)
    test_errors: list[float] = dataclasses.field(default_factory=list)
    test_images: list[int] = dataclasses.field(default_factory=list)
    seconds_build: float = 0.0
    seconds_compile: float = 0.0
    seconds_input: float = 0.0
    seconds_train: float = 0.0
    seconds_test: float = 0.0

    def clock(self, part: str, since: float) -> float:
        """Adds the time since a moment to that of a part; returns now."""
        now = time.perf_counter()
        name = f"seconds_{part}"
        setattr(self, name, round(getattr(self, name) + now - since, 3))
        return now


def _train(trial, regime, arrays, measured):
    keras.utils.set_random_seed(trial.seed)
    with _without_collections():
        steps = _compiled(trial, regime, measured)
    rng = np.random.default_rng(trial.seed)
    lrs = learning_rates(regime, arrays_lib.steps_per_epoch(arrays, regime))
    for epoch in range(regime.epochs):
        _train_epoch(steps, arrays, regime, lrs[epoch], rng, measured)
        last = epoch == regime.epochs - 1
        _evaluate(steps, arrays, regime, last, measured)


@contextlib.contextmanager
def _without_collections():
    """Lets no garbage be collected.

    To build and trace a network makes many objects, and each of Python's
    collections looks at those of all libraries.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _variable_scope():
    """Returns where a model is built whose steps hold its variables.

    There a Keras variable is no more than its initial value, which is most of
    the time that building takes.
    """
    if keras.backend.backend() == "torch":
        return contextlib.nullcontext()
    return keras.StatelessScope(initialize_variables=False)


def _compiled(trial, regime, measured):
    moment = time.perf_counter()
    with _variable_scope():
        model = keras_regnet.build(
            keras_regnet.config.from_json(trial.config),
            input_tensor=_images(trial, regime),
            classes=regime.classes,
            classifier_activation=None,
        )
    # Keras's state would keep the steps of earlier networks, and make the
    # variables at the next occasion.
    keras.backend.clear_session(free_memory=False)
    moment = measured.clock("build", moment)
    steps = steps_module().Steps(model, regime.momentum, regime.weight_decay)
    steps.compile(regime.batch_size, regime.test_batch_size, regime.image_size)
    measured.clock("compile", moment)
    return steps


def _images(trial, regime):
    """Returns the network's input: images as stored, resized in the graph."""
    images = keras.Input((regime.image_size, regime.image_size, 3))
    side = trial.resolution or regime.image_size
    if side == regime.image_size:
        return images
    return keras.layers.Resizing(side, side, interpolation="bilinear")(images)


def learning_rates(regime: Regime, steps: int) -> np.ndarray:
    """Returns a regime's half-period cosine, float32 (epochs, steps).

    A warm-up multiplies it, as in the trainer's schedules.
    """
    done = np.arange(regime.epochs * steps).reshape(regime.epochs, steps)
    done = done / max(1, regime.epochs * steps)
    if regime.per_epoch_schedule:
        done = np.broadcast_to(done[:, :1], done.shape)
    lrs = regime.learning_rate * 0.5 * (1 + np.cos(np.pi * done))
    if regime.warmup_epochs:
        risen = np.minimum(1, done * regime.epochs / regime.warmup_epochs)
        lrs *= _WARMUP_START * (1 - risen) + risen
    return lrs.astype(np.float32)


def _train_epoch(steps, arrays, regime, lrs, rng, measured):
    loss, hits, first = 0.0, 0, 0
    moment = time.perf_counter()
    for images, labels in arrays_lib.train_chunks(arrays, regime, rng):
        moment = measured.clock("input", moment)
        chunk = lrs[first : first + len(labels)]
        chunk_loss, chunk_hits = steps.train(images, labels, chunk)
        moment = measured.clock("train", moment)
        loss, hits = loss + chunk_loss, hits + chunk_hits
        first += len(labels)
    # JSON has no NaN: the record's reason says it instead.
    if not np.isfinite(loss):
        epoch = len(measured.train_losses) + 1
        raise TrialError(f"loss is {loss} in epoch {epoch}")
    measured.train_losses.append(round(loss / len(lrs), 4))
    images = len(lrs) * regime.batch_size
    measured.train_errors.append(_error(hits, images))


def _evaluate(steps, arrays, regime, last, measured):
    count = len(arrays.evaluated()[1])
    if not last and regime.interim_test_images:
        count = min(count, regime.interim_test_images)
    moment = time.perf_counter()
    hits = sum(
        steps.evaluate(images, labels)
        for images, labels in arrays_lib.test_chunks(arrays, regime, count)
    )
    measured.clock("test", moment)
    measured.test_errors.append(_error(hits, count))
    measured.test_images.append(count)


def _error(hits, images):
    """Top-1 error in percent."""
    return round(100 * (1 - hits / images), 4)
