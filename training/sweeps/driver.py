"""The driver of a sweep: gives trials to workers and writes their records."""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

from keras_regnet import atomic
from keras_regnet import locks
from keras_regnet.design_space import records
from training.sweeps import files
from training.sweeps import local_pool
from training.sweeps import pool as pool_lib
from training.sweeps import preparing
from training.sweeps import spec as spec_lib
from training.sweeps.options import Options
from training.sweeps.regimes import Regime
from training.sweeps.trial_queue import TrialQueue

_WAIT_SECONDS = 60.0
_TAKEN = "`out` must be a sweep that no other process is training."


def train(folder: str | os.PathLike, options: Options) -> None:
    """Trains the trials of a sweep that are not trained yet.

    Raises:
      ValueError: if nothing was sampled, the data set is not there, or
        another process trains this sweep.
      OSError: if the disk is full; what was written before is whole.
      pool_lib.WorkerError: if no worker gets as far as to train.
    """
    folder = pathlib.Path(folder)
    spec, trials = spec_lib.load(folder)
    with sole_driver(folder):
        _unpack(folder)
        train_trials(
            folder, spec.regime, trials, folder / files.RECORDS, options
        )


@contextlib.contextmanager
def sole_driver(folder: pathlib.Path) -> Iterator[None]:
    """Holds a sweep, so that no other process trains it.

    Raises:
      ValueError: if another process does.
    """
    with locks.sole_user(folder, _TAKEN):
        yield


def train_trials(
    folder: pathlib.Path,
    regime: Regime,
    trials: list[records.Trial],
    path: pathlib.Path,
    options: Options,
    test: bool = False,
) -> None:
    """Trains those of some trials that have no record yet in a file.

    Args:
      folder: of the sweep, which is held by `sole_driver`.
      regime: of the sweep.
      trials: in the order in which they are trained.
      path: of the records, which are appended.
      options: how to train.
      test: whether errors are measured on the test images, even if the regime
        has a validation part.

    Raises:
      Exception: as of `train`.
    """
    with contextlib.closing(_open_log(path)) as log:
        past = records.read(path)
        queue = TrialQueue(
            trials, past, options.retries, options.trial_timeout, test
        )
        _say(f"{len(trials)} trials: {queue.progress()}")
        if queue.remaining:
            preparing.prepare(regime, folder, options.data_dir)
            with start_pool(folder, options, queue.remaining) as pool:
                _train_all(queue, pool, log)
    _say(f"finished: {queue.counts()}")


def _open_log(path):
    log = records.Log(path)
    if log.truncated:
        _say(
            f"{path.name}: its last line was cut by a crash, and is "
            f"removed ({len(log.truncated)} bytes); its trial runs again"
        )
    return log


def _unpack(folder):
    """Restores the records of a sweep of which only the packed ones are kept.

    Their trials are done; `collect` would replace them with the new ones.
    """
    path = folder / files.RECORDS
    if path.exists() or not (folder / files.PACKED).exists():
        return
    past = records.read(folder / files.PACKED)
    with atomic.replacing(path) as partial:
        partial.write_text("".join(r.to_json() + "\n" for r in past))
    _say(f"{files.PACKED}: {len(past)} records unpacked")


def start_pool(
    folder: pathlib.Path, options: Options, jobs: int
) -> pool_lib.Pool:
    """Starts the workers for some jobs, to be entered as a context.

    Raises:
      ValueError: if there is no Ray cluster.
      ImportError: if Ray is not installed.
      pool_lib.WorkerError: if the cluster has no room.
    """
    if options.engine == "ray":
        # The extra is needed by this engine alone.
        from training.sweeps import ray_pool

        return ray_pool.start(folder, options, jobs)
    count = min(options.workers or os.cpu_count() or 1, jobs)
    return local_pool.LocalPool(count, folder, options)


def _train_all(queue, pool, log):
    while queue.remaining:
        while queue.waiting and pool.idle:
            pool.submit(queue.next_job())
        for record in pool.wait(_WAIT_SECONDS, queue.limit):
            log.append(record)
            _say(f"{queue.finish(record)}; {queue.progress()}")


def _say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)
