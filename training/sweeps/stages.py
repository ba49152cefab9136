"""The stages of a sweep after sampling: train, collect, analyze, report.

A sweep's folder, beside what `training/sweeps/populations.py` writes:
  records.jsonl     one line per attempt, appended while the sweep trains
  records.jsonl.gz  the same, packed for keeping, by `collect`
  summary.json      statistics of each space and pair of spaces, by `analyze`
  report.html       by `report`
  data/, logs/      arrays of the data set; what the worker processes printed
"""

import collections
import contextlib
import dataclasses
import fcntl
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator

import keras

from keras_regnet import atomic
from keras_regnet import errors
from keras_regnet.design_space import records
from keras_regnet.design_space import summary
from training.sweeps import pool as pool_lib
from training.sweeps import populations
from training.sweeps import regimes
from training.sweeps import trial as trial_lib
from training.sweeps import trial_data
from training.sweeps import workers

RECORDS_FILE = "records.jsonl"
PACKED_FILE = "records.jsonl.gz"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"
_LOCK_FILE = ".lock"
ENGINES = ("local", "ray")
_WAIT_SECONDS = 60.0
# How long a trial may take, if nobody says: far longer than any other.
_LIMIT_FACTOR = 10
_MIN_LIMIT = 600.0


# --- train ------------------------------------------------------------------


def train(
    out: str | os.PathLike,
    *,
    data_dir: str = "",
    retries: int = 1,
    trial_timeout: float | None = None,
    **engine,
) -> None:
    """Trains what is not yet trained of a sweep.

    Args:
      out: the sweep's folder.
      data_dir: where tensorflow-datasets has the data set; needed once.
      retries: how often a failed trial is tried again.
      trial_timeout: seconds after which a trial is ended, and has failed;
        None for ten times what the slowest took, and at least 600.
      **engine: of `start_pool`.

    Raises:
      ValueError: if nothing was sampled, the data set is not there, or
        another process trains this sweep.
      OSError: if the disk is full; what was written before is whole.
      pool_lib.WorkerError: if no worker gets as far as to train.
    """
    if trial_timeout is not None and not trial_timeout > 0:
        raise ValueError(
            "`trial_timeout` must be above 0 seconds. "
            f"Received: trial_timeout={trial_timeout:g}"
        )
    out = pathlib.Path(out)
    spec, trials = populations.load(out)
    with _locked(out), contextlib.closing(_open_log(out)) as log:
        past = records.read(out / RECORDS_FILE)
        queue = Queue(trials, past, retries, trial_timeout)
        _say(f"{len(trials)} trials: {queue.progress()}")
        if not queue.finished:
            regime = regimes.get(spec.regime)
            trial_data.prepare(spec.regime, regime, out, data_dir)
            with start_pool(out, spec.regime, queue.to_go, **engine) as pool:
                _train_all(queue, pool, log)
    _say(f"finished: {queue.counts()}")


def _open_log(out):
    _unpack(out)
    log = records.Log(out / RECORDS_FILE)
    if log.truncated:
        _say(
            f"{RECORDS_FILE}: its last line was cut by a crash, and is "
            f"removed ({len(log.truncated)} bytes); its trial runs again"
        )
    return log


def _unpack(out):
    """Restores the records of a sweep of which the packed ones were kept.

    What they hold is done; `collect` would replace them with what comes.
    """
    path = out / RECORDS_FILE
    if path.exists() or not (out / PACKED_FILE).exists():
        return
    found = records.read(out / PACKED_FILE)
    with atomic.replacing(path) as partial:
        partial.write_text("".join(r.to_json() + "\n" for r in found))
    _say(f"{PACKED_FILE}: {len(found)} records unpacked")


def start_pool(
    out: pathlib.Path,
    regime: str,
    most: int,
    *,
    engine: str = "local",
    count: int | None = None,
    ray_address: str = "auto",
    **setup,
) -> pool_lib.Pool:
    """Starts the workers of a sweep.

    Args:
      out: the sweep's folder.
      regime: name of the regime.
      most: how many workers have something to do.
      engine: "local", for processes on this machine, or "ray".
      count: worker processes; None for as many as there are cores.
      ray_address: of the Ray cluster.
      **setup: of `pool.Setup`.

    Returns:
      The workers, to be entered as a context.

    Raises:
      ValueError: if there is no such engine, `gpus` are below 0, or the engine
        has no use for them.
      pool_lib.WorkerError: if there is no cluster, or it has no room.
    """
    setup = pool_lib.Setup(pathlib.Path(out), regime, **setup)
    if not 0 <= setup.gpus < math.inf:
        raise ValueError(
            f"`gpus` must be a number from 0. Received: gpus={setup.gpus}"
        )
    if engine == "ray":
        # The extra is needed by this engine alone.
        from training.sweeps import ray_workers

        return ray_workers.start(ray_address, setup, most, count)
    if engine != "local":
        raise errors.unknown_value("engine", engine, ENGINES)
    if setup.gpus:
        raise ValueError(
            "`gpus` are shared out on a Ray cluster alone; on this machine "
            "each worker sees all (choose with CUDA_VISIBLE_DEVICES). "
            f"Received: gpus={setup.gpus:g}"
        )
    count = min(count or os.cpu_count() or 1, most)
    return workers.Pool(count, setup)


@contextlib.contextmanager
def _locked(out: pathlib.Path) -> Iterator[None]:
    """Holds a lock that the system drops with the process."""
    with open(out / _LOCK_FILE, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                "`out` must be a sweep that no other process is training. "
                f"Received: out={str(out)!r}"
            ) from error
        yield


class Queue:
    """Which trials are done, running, failed for good, and to be run.

    Args:
      trials: in the order in which they are run.
      past: the records of earlier attempts.
      retries: how often a failed trial is tried again.
      trial_timeout: see `train`.
    """

    def __init__(
        self,
        trials: list[trial_lib.Trial],
        past: list[records.Record],
        retries: int,
        trial_timeout: float | None = None,
    ):
        self._retries = retries
        self._trial_timeout = trial_timeout
        self._slowest = 0.0
        self._attempts = collections.Counter(r.trial for r in past)
        done = {record.trial for record in past if record.done}
        ours = {trial.trial for trial in trials}
        self._done = len(done & ours)
        self._failed = 0
        self._running = 0
        self._waiting = collections.deque()
        for trial in trials:
            if trial.trial in done:
                continue
            if self._attempts[trial.trial] > retries:
                self._failed += 1
            else:
                self._waiting.append(trial)
        self._start = time.monotonic()
        self._finished_now = 0

    @property
    def waiting(self) -> bool:
        """Whether a trial waits to be run."""
        return bool(self._waiting)

    @property
    def to_go(self) -> int:
        """How many trials are not finished."""
        return len(self._waiting) + self._running

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.to_go

    @property
    def limit(self) -> float:
        """How many seconds a trial may take.

        What it learns, it learns from this run alone: an earlier one may have
        been on another machine. Until a trial has finished there is no limit.
        """
        if self._trial_timeout is not None:
            return self._trial_timeout
        if not self._finished_now:
            return math.inf
        return max(_MIN_LIMIT, round(_LIMIT_FACTOR * self._slowest))

    def next_job(self) -> dict:
        """Returns the next trial to run, as a worker takes it."""
        trial = self._waiting.popleft()
        self._running += 1
        self._attempts[trial.trial] += 1
        attempt = self._attempts[trial.trial]
        return {"trial": dataclasses.asdict(trial), "attempt": attempt}

    def finish(self, record: records.Record, trial: trial_lib.Trial) -> str:
        """Notes what came of a trial.

        Args:
          record: of the attempt.
          trial: what was attempted.

        Returns:
          A line for the user.
        """
        self._running -= 1
        name = f"{record.space} #{record.index}"
        if record.done:
            self._done += 1
            self._finished_now += 1
            self._slowest = max(self._slowest, record.seconds)
            return f"{name}: error {record.error:.2f} %"
        again = record.attempt <= self._retries
        if again:
            self._waiting.append(trial)
        else:
            self._failed += 1
        outlook = "will be tried again" if again else "for good"
        return (
            f"{name}: FAILED (attempt {record.attempt}, {outlook}): "
            f"{record.reason}"
        )

    def counts(self) -> str:
        """Returns how many trials are in which state, in words."""
        return (
            f"{self._done} done, {self._failed} failed, {self._running} "
            f"running, {len(self._waiting)} waiting"
        )

    def progress(self) -> str:
        """Returns counts, models per hour, and the time left, in words."""
        hours = (time.monotonic() - self._start) / 3600
        if not self._finished_now:
            return self.counts()
        rate = self._finished_now / hours
        left = self.to_go / rate * 60
        return (
            f"{self.counts()}; {rate:.0f} models/h; "
            f"{left // 60:.0f} h {left % 60:.0f} min left"
        )


def _train_all(queue, pool, log):
    while not queue.finished:
        while queue.waiting and pool.idle:
            pool.give(queue.next_job())
        for job, result in pool.wait(_WAIT_SECONDS, queue.limit):
            trial = trial_lib.Trial(**job["trial"])
            record = _record(trial, job["attempt"], result)
            log.append(record)
            _say(f"{queue.finish(record, trial)}; {queue.progress()}")


def _record(trial, attempt, result):
    """Returns what a worker sent, or a record of its end."""
    if "schema" in result:
        return records.from_dict(result)
    return records.Record(
        **dataclasses.asdict(trial),
        **result,
        attempt=attempt,
        backend=keras.backend.backend(),
    )


def _say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


# --- collect, analyze, report -----------------------------------------------


def _read(out):
    """Returns a sweep's records, from a packed file if that is all."""
    out = pathlib.Path(out)
    for name in (RECORDS_FILE, PACKED_FILE):
        if (out / name).exists():
            return records.read(out / name)
    return []


def _missing(out, found):
    """Returns how many trials of each space have no record yet."""
    if not (pathlib.Path(out) / populations.SPEC_FILE).exists():
        return {}
    _, trials = populations.load(out)
    seen = {record.trial for record in found}
    return dict(
        collections.Counter(t.space for t in trials if t.trial not in seen)
    )


def collect(out: str | os.PathLike) -> None:
    """Packs a sweep's records, and says how far each space is.

    Args:
      out: the sweep's folder.

    Raises:
      ValueError: if there are no records.
    """
    found = _read(out)
    populations_found = summary.populations(found, _missing(out, found))
    records.write_packed(pathlib.Path(out) / PACKED_FILE, found)
    for population in populations_found:
        print(population)


def analyze(out: str | os.PathLike) -> None:
    """Writes the statistics of each space and pair of spaces.

    Args:
      out: the sweep's folder.

    Raises:
      ValueError: if there are no records.
    """
    found = _read(out)
    result = summary.summarize(found, _missing(out, found))
    with atomic.replacing(pathlib.Path(out) / SUMMARY_FILE) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    for line in summary.sentences(result):
        print(line)


def report(out: str | os.PathLike) -> None:
    """Writes the page of a sweep.

    Args:
      out: the sweep's folder.

    Raises:
      ValueError: if there are no records.
    """
    # Training needs no matplotlib.
    from keras_regnet.design_space import report as report_lib

    found = _read(out)
    path = pathlib.Path(out) / REPORT_FILE
    report_lib.write(path, found, _missing(out, found))
    print(path)
