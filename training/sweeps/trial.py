"""One trial: a network, a seed and a regime, trained and evaluated.

Runs on any Keras backend; what has to be compiled is in one small module per
backend, `training/sweeps/step_tensorflow.py` and its siblings.
"""

import dataclasses
import datetime
import hashlib
import importlib
import json
import platform
import time
from typing import Any

import keras
import numpy as np

import keras_regnet
from keras_regnet import errors
from keras_regnet.design_space import records
from training.sweeps import regimes
from training.sweeps import trial_data

_STEP_MODULES = {
    "tensorflow": "training.sweeps.step_tensorflow",
    "jax": "training.sweeps.step_jax",
    "torch": "training.sweeps.step_torch",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What is to be trained; its fields are those of `records.Record`.

    Args:
      trial: identifies config, seed and regime, see `identify`.
      space: name of the space that the network was drawn from.
      index: its number in the sample.
      seed: of weights, shuffling and augmentation.
      regime: name of the regime.
      config: the network, as its `to_json` writes it.
      depth: blocks.
      flops: multiply-adds.
      params: parameters.
      activations: activations.
    """

    trial: str
    space: str
    index: int
    seed: int
    regime: str
    config: str
    depth: int
    flops: int
    params: int
    activations: int


def identify(config: str, seed: int, regime: str) -> str:
    """Returns a short name for what a trial depends on.

    Args:
      config: the network, as its `to_json` writes it.
      seed: the trial's seed.
      regime: name of the regime.

    Returns:
      16 hexadecimal digits, which depend on the regime's fields too, but not
      on fields with their default values: a later version may have more.
    """
    network = keras_regnet.config.from_json(config)
    kind = type(network).__name__
    described = [kind, _unusual(network), seed, regime]
    described.append(_unusual(regimes.get(regime)))
    content = json.dumps(described, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _unusual(instance):
    """Returns the fields of a dataclass that have not their default value."""
    return {
        field.name: getattr(instance, field.name)
        for field in dataclasses.fields(instance)
        if getattr(instance, field.name) != field.default
    }


class TrialError(Exception):
    """A trial went wrong in a way that has a name."""


def step_module() -> Any:
    """Returns the module that compiles steps for Keras's backend.

    Raises:
      ValueError: if there is none.
    """
    backend = keras.backend.backend()
    if backend not in _STEP_MODULES:
        raise errors.unknown_value("backend", backend, _STEP_MODULES)
    return importlib.import_module(_STEP_MODULES[backend])


def run(
    trial: Trial, arrays: trial_data.Arrays, attempt: int = 1
) -> records.Record:
    """Trains a network and returns what came of it.

    Args:
      trial: what to train.
      arrays: the regime's data.
      attempt: 1 for the first.

    Returns:
      A record, "done" or "failed"; this raises no errors of training.
    """
    started = datetime.datetime.now(datetime.UTC)
    start = time.perf_counter()
    measured = _Measured()
    try:
        _train(trial, arrays, measured)
        outcome = {"status": "done", "error": measured.test_errors[-1]}
    except Exception as error:
        outcome = {"status": "failed", "reason": _reason(error)}
    return records.Record(
        **dataclasses.asdict(trial),
        **outcome,
        **dataclasses.asdict(measured),
        attempt=attempt,
        seconds=round(time.perf_counter() - start, 3),
        started=started.isoformat(timespec="seconds"),
        **environment(),
    )


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
        "device": step_module().device(),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }


def _reason(error):
    if isinstance(error, TrialError):
        return str(error)
    if isinstance(error, MemoryError) or step_module().is_out_of_memory(error):
        return "out of memory"
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}"


@dataclasses.dataclass
class _Measured:
    """The measured fields of a record, filled as a trial goes on."""

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
        """Adds the time since a moment to a part's; returns the time now."""
        now = time.perf_counter()
        name = f"seconds_{part}"
        setattr(self, name, round(getattr(self, name) + now - since, 3))
        return now


def _train(trial, arrays, measured):
    regime = regimes.get(trial.regime)
    # The steps of networks before must not pile up in Keras's state.
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(trial.seed)
    moment = time.perf_counter()
    model = keras_regnet.build(
        keras_regnet.config.from_json(trial.config),
        input_shape=(regime.image_size, regime.image_size, 3),
        classes=regime.classes,
        classifier_activation=None,
    )
    moment = measured.clock("build", moment)
    steps = step_module().Steps(model, regime.momentum, regime.weight_decay)
    steps.compile(regime.batch_size, regime.test_batch_size, regime.image_size)
    measured.clock("compile", moment)
    rng = np.random.default_rng(trial.seed)
    rates = learning_rates(regime, trial_data.steps_per_epoch(arrays, regime))
    for epoch in range(regime.epochs):
        _train_epoch(steps, arrays, regime, rates[epoch], rng, measured)
        last = epoch == regime.epochs - 1
        _evaluate(steps, arrays, regime, last, measured)


def learning_rates(regime: regimes.Regime, steps: int) -> np.ndarray:
    """Returns the half-period cosine of a regime.

    Args:
      regime: the regime.
      steps: training steps per epoch.

    Returns:
      float32 (epochs, steps).
    """
    done = np.arange(regime.epochs * steps).reshape(regime.epochs, steps)
    done = done / max(1, regime.epochs * steps)
    if regime.per_epoch_schedule:
        done = np.broadcast_to(done[:, :1], done.shape)
    rates = regime.learning_rate * 0.5 * (1 + np.cos(np.pi * done))
    return rates.astype(np.float32)


def _train_epoch(steps, arrays, regime, rates, rng, measured):
    loss, hits, first = 0.0, 0, 0
    moment = time.perf_counter()
    for images, labels in trial_data.train_chunks(arrays, regime, rng):
        moment = measured.clock("input", moment)
        chunk = rates[first : first + len(labels)]
        chunk_loss, chunk_hits = steps.train(images, labels, chunk)
        moment = measured.clock("train", moment)
        loss, hits = loss + chunk_loss, hits + chunk_hits
        first += len(labels)
    # A record holds no NaN, which JSON does not have: its reason tells.
    if not np.isfinite(loss):
        epoch = len(measured.train_losses) + 1
        raise TrialError(f"loss is {loss} in epoch {epoch}")
    measured.train_losses.append(round(loss / len(rates), 4))
    images = len(rates) * regime.batch_size
    measured.train_errors.append(_error(hits, images))


def _evaluate(steps, arrays, regime, last, measured):
    count = len(arrays.test_labels)
    if not last and regime.interim_test_images:
        count = min(count, regime.interim_test_images)
    moment = time.perf_counter()
    hits = sum(
        steps.evaluate(images, labels)
        for images, labels in trial_data.test_chunks(arrays, regime, count)
    )
    measured.clock("test", moment)
    measured.test_errors.append(_error(hits, count))
    measured.test_images.append(count)


def _error(hits, images):
    """Top-1 error in percent."""
    return round(100 * (1 - hits / images), 4)
