"""The stage after a sweep: which of its best networks to use.

The best few are trained again with fresh seeds, by the same driver; what was
lucky in the sweep has no part in the choice. The chosen one is tested last.
"""

import dataclasses
import os
import pathlib
import zlib

import numpy as np

from keras_regnet import atomic
from keras_regnet import design_space
from keras_regnet.design_space import checks
from keras_regnet.design_space import records
from keras_regnet.design_space.records import Record
from keras_regnet.design_space.records import Trial
from training.sweeps import arrays
from training.sweeps import commands
from training.sweeps import driver
from training.sweeps import files
from training.sweeps import preparing
from training.sweeps import spec as spec_lib
from training.sweeps.options import Options

TOP, REPEATS = 5, 3
_TRIAL_FIELDS = tuple(Trial.__dataclass_fields__)
# Tell the seeds of the one training from those of the other, and of the sweep.
_AGAIN, _TEST = 1, 2


def pick(
    folder: str | os.PathLike,
    top: int | None,
    repeats: int,
    options: Options,
) -> None:
    """Trains the best networks of a sweep again, chooses, tests and says so.

    Args:
      folder: of a sweep that is finished.
      top: how many networks; None for `TOP`, or all if there are fewer.
      repeats: fresh seeds of each.
      options: how to train.

    Raises:
      ValueError: if the sweep is not finished, has fewer networks, or too few
        of them could be trained again.
      ImportError: if SciPy is not installed.
      Exception: as of `driver.train`.
    """
    folder = pathlib.Path(folder)
    checks.scipy_special("To pick")
    if repeats < 2:
        raise ValueError(
            "`repeats` must be 2 at least, to see how far seeds differ. "
            f"Received: repeats={repeats}"
        )
    spec, trials = spec_lib.load(folder)
    candidates = _candidates(folder, trials, top)
    with driver.sole_driver(folder):
        trained, errors, lost = _train_again(
            folder, spec, candidates, repeats, options
        )
        picked = design_space.pick(errors)
        _print_table(trained, picked, errors, lost)
        best = trained[picked.best].record
        preparing.prepare(spec.regime, folder, options.data_dir)
        data = arrays.load(spec.regime, folder)
        print(_tested(folder, spec, best, data, options))
        path = folder / files.BEST
        with atomic.replacing(path) as partial:
            partial.write_text(best.config + "\n", encoding="utf-8")
    print(f"wrote {path}. To train it in full, and to export it:")
    side = best.resolution or spec.regime.image_size
    regime = dataclasses.replace(spec.regime, image_size=side)
    for command in commands.after(
        regime, path, options.data_dir, bool(data.test_held_out)
    ):
        print(command)


def _candidates(folder, trials, top):
    """Returns the best networks of a sweep, which must be finished."""
    ids = {trial.trial_id for trial in trials}
    found = [r for r in files.read_records(folder) if r.trial_id in ids]
    recorded = {record.trial_id for record in found}
    if len(recorded) < len(ids):
        raise ValueError(
            f"`out` must be a sweep that is finished: {len(ids - recorded)} of "
            f"{len(ids)} trials are not trained yet (`train` does it). "
            f"Received: out={str(folder)!r}"
        )
    networks = len({record.config for record in found if record.done})
    if not networks:
        last = found[-1]
        raise ValueError(
            f"`out` must be a sweep with a network that could be trained: all "
            f"{len(ids)} trials failed, the last one by {last.reason!r}. "
            f"Received: out={str(folder)!r}"
        )
    if top is None:
        top = min(TOP, networks)
    return design_space.best_networks(found, top)


def _fresh(spec, record, repeat, purpose):
    """Returns a trial of a network with a seed that the sweep did not use."""
    entropy = [spec.seed, zlib.crc32(record.config.encode()), repeat, purpose]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
    fields = {name: getattr(record, name) for name in _TRIAL_FIELDS}
    name = spec_lib.identify(
        record.config, seed, spec.regime, record.resolution
    )
    return Trial(**{**fields, "seed": seed, "trial_id": name})


def _train_again(folder, spec, candidates, repeats, options):
    """Returns the candidates that could be trained, and their errors.

    A network of which one repeat failed for good is not to be used: it is
    among those that are returned last.
    """
    again = [
        [_fresh(spec, c.record, repeat, _AGAIN) for c in candidates]
        for repeat in range(repeats)
    ]
    driver.train_trials(
        folder,
        spec.regime,
        [trial for turn in again for trial in turn],
        folder / files.PICKS,
        options,
    )
    last = records.last_of_each_trial(records.read(folder / files.PICKS))
    by_id = {record.trial_id: record for record in last}
    trained, errors, lost = [], [], []
    for candidate, *seeds in zip(candidates, *again, strict=True):
        found = [by_id[trial.trial_id] for trial in seeds]
        if all(record.done for record in found):
            trained.append(candidate)
            errors.append([record.error for record in found])
        else:
            lost.append((candidate, next(r for r in found if not r.done)))
    if not trained:
        raise ValueError(
            "`out` must be a sweep with a network that could be trained "
            f"again. Received: of {len(lost)} each failed, the last one by "
            f"{lost[-1][1].reason!r}"
        )
    return trained, np.array(errors), lost


def _tested(folder, spec, best, data, options):
    """Measures the test error of the chosen network; returns a sentence."""
    if data.val_images is None:
        return (
            "errors are on the test images, since the regime holds out no "
            "validation part: the lowest of several is a little too good"
        )
    trial = _fresh(spec, best, 0, _TEST)
    path = folder / files.TESTS
    driver.train_trials(folder, spec.regime, [trial], path, options, test=True)
    last = records.last_of_each_trial(records.read(path))
    record = next(r for r in last if r.trial_id == trial.trial_id)
    if not record.done:
        raise ValueError(
            "`out` must be a sweep whose chosen network can be trained once "
            f"more, for its test error. Received: {record.reason!r}"
        )
    return (
        f"test error of the chosen one, trained once more with a fresh seed: "
        f"{record.error:.2f} %; all errors above are on the validation part"
    )


def _print_table(trained, picked, errors, lost):
    print(
        f"{errors.shape[0]} networks trained {errors.shape[1]} times each with "
        "fresh seeds: mean error in percent, its 95 % interval; a network's "
        f"own spread is {picked.spread:.2f} points"
    )
    print(
        f"{'network':24} {'sweep':>6} {'mean':>6} {'interval':>16} "
        f"{'multiply-adds':>14} {'params':>9}"
    )
    for index in picked.order.tolist():
        record = trained[index].record
        interval = f"{picked.low[index]:.2f} to {picked.high[index]:.2f}"
        word = "within noise" if picked.within_noise[index] else ""
        print(
            f"{_name(record):24} {trained[index].error:6.2f} "
            f"{picked.means[index]:6.2f} {interval:>16} {record.flops:14,} "
            f"{record.params:9,} "
            f"{'chosen' if index == picked.best else word}".rstrip()
        )
    for candidate, record in lost:
        print(f"{_name(candidate.record):24} FAILED: {record.reason}")


def _name(record: Record) -> str:
    return f"{record.space} #{record.index}"
