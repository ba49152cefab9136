"""Injects every fault many times; prints the tables of docs/faults.md.

    python tests/system/faults/faults_suite.py --folder=/tmp/faults

Stopped at any moment and started again with the same command, it resumes.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import re
import subprocess

import numpy as np

from tests.system.faults import faults_bench
from tests.system.faults import faults_harness as harness

_EPOCHS = 30
_CLUSTER_EPOCHS = 8
_CURVE_STEPS = 40
_MEGABYTES = 8


class Journal:
    """What was tried so far, a line for each fault, in a file."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "journal.jsonl"
        self._lost, self._ends = {}, {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                self._take(**json.loads(line))

    def _take(self, row, lost=None, end=None):
        if end is None:
            self._lost.setdefault(row, []).append(lost)
        else:
            self._ends[row] = end

    def add(self, row, **entry):
        """Records the `lost` steps of a fault, or the `end` of a row."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, **entry}) + "\n")
        self._take(row, **entry)

    def lost(self, row):
        """Returns the steps lost by each fault so far."""
        return self._lost.get(row, [])

    def end(self, row):
        """Returns what was recorded at a row's end, None before."""
        return self._ends.get(row)


@dataclasses.dataclass(frozen=True)
class Table:
    """Writes rows as they are filled."""

    journal: Journal

    def fill(self, key, faults, finish):
        """Does what is missing of a row, and prints it.

        Args:
          key: (fault, strategy, recipe).
          faults: functions that inject one, and return the steps lost.
          finish: brings the run to its end; returns what differs from the
            run that nothing happened to.
        """
        row = " | ".join(key)
        if self.journal.end(row) is None:
            for number in range(len(self.journal.lost(row)), len(faults)):
                self.journal.add(row, lost=faults[number](number))
            self.journal.add(row, end=finish())
        lost, found = self.journal.lost(row), self.journal.end(row)
        mean = f"{sum(lost) / len(lost):.1f}"
        equal = "to the bit" if not found else f"NO: {', '.join(found[:3])}"
        _print_row(*key, len(lost), f"{mean}, {max(lost)}", equal)

    def whole(self, key, finish):
        """Makes what the rows are compared with, once."""
        row = " | ".join(key)
        if self.journal.end(row) is None:
            finish()
            self.journal.add(row, end=[])


def _print_row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _print_head(cells):
    print()
    _print_row(*cells)
    _print_row(*["---"] * len(cells))


def try_runs(table, folder, strategy, recipe, faults, times):
    """Fills the rows of the runs of one process.

    Args:
      table: gets them.
      folder: where the runs are kept.
      strategy: of `faults_bench.STRATEGIES`.
      recipe: of `faults_bench.RECIPES`.
      faults: names of faults.
      times: how often each is injected.
    """
    steps = _EPOCHS * faults_bench.STEPS_PER_EPOCH
    bench = faults_bench.Bench(
        folder / f"{strategy}_{recipe}",
        strategy,
        recipe,
        _EPOCHS,
        # Spread over the run, and never beyond its end.
        most_steps_on=max(2, int(0.9 * steps / times)),
    )
    whole = bench.run("whole")
    table.whole(("whole", strategy, recipe), lambda: bench.finish(whole))
    for name in faults:
        key = (name, strategy, recipe)
        run = bench.run(re.sub(r"\W+", "_", name))
        fault = {**faults_bench.FAULTS, **faults_bench.DISK_FULL}[name]

        def inject(number, fault=fault, run=run, key=key):
            bench.rng.seed(f"{key} {number}")
            return fault(bench, run)

        def finish(run=run):
            bench.finish(run)
            return harness.differences(whole, run)

        with contextlib.ExitStack() as stack:
            if name in faults_bench.DISK_FULL and not stack.enter_context(
                _small_disk(run.folder)
            ):
                _print_row(*key, 0, "-", "not tried: no right to mount")
                continue
            table.fill(key, [inject] * times, finish)


@contextlib.contextmanager
def _small_disk(folder):
    """Mounts some megabytes of memory; gives whether that is allowed."""
    folder.mkdir(exist_ok=True)
    if not os.path.ismount(folder):
        size = f"size={_MEGABYTES}m"
        command = ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)]
        try:
            done = subprocess.run(command, check=False, capture_output=True)
        except FileNotFoundError:
            yield False
            return
        if done.returncode:
            yield False
            return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def try_workers(table, folder, workers, times):
    """Fills the rows of a run of several processes."""
    folder = folder / f"{workers}_workers"
    bench = faults_bench.WorkersBench(folder, workers, _CLUSTER_EPOCHS)
    whole = bench.job("whole")
    strategy, recipe = f"multi_worker, {workers}", "quickstart"
    table.whole(("whole", strategy, recipe), lambda: bench.finish(whole))
    for name, fault in (
        ("SIGKILL for one worker", bench.kill_worker),
        ("SIGKILL for the chief", bench.kill_chief),
        ("SIGTERM for one worker", bench.terminate_worker),
    ):
        key = (name, strategy, recipe)
        job = bench.job(name.replace(" ", "_"))

        def inject(number, fault=fault, job=job, key=key):
            bench.rng.seed(f"{key} {number}")
            return fault(job)

        def finish(job=job):
            bench.finish(job)
            return harness.differences(whole.run, job.run)

        table.fill(key, [inject] * times, finish)


def compare_curves(table, folder, workers, name):
    """Prints how far the losses of several processes are from one's."""
    row = f"curve of {workers} | {name}"
    if table.journal.end(row) is None:
        fields, of_one, float64 = faults_bench.CURVES[name]
        of_one = [field.format(workers) for field in of_one]
        bench = faults_bench.WorkersBench(
            folder / re.sub(r"\W+", "_", row), workers, 4, *fields
        )
        (one,), _ = bench.losses("one", *of_one, workers=1, float64=float64)
        many, _ = bench.losses("many", workers=workers, float64=float64)
        one, *many = (losses[:_CURVE_STEPS] for losses in (one, *many))
        table.journal.add(
            row,
            end=[
                float(np.abs(many[0] - one).max()),
                all(np.array_equal(losses, many[0]) for losses in many),
                len(one),
            ],
        )
    difference, same, steps = table.journal.end(row)
    same = "the same" if same else "DIFFERENT"
    _print_row(workers, name, steps, f"{difference:.1e}", same)


def describe(folder):
    """Prints on what the table was made, and with what."""
    record = json.loads(next(folder.glob("*/whole/config.json")).read_text())
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    cores = len(os.sched_getaffinity(0))
    print(f"\n{_processor()}, {cores} cores; {versions}")
    print(f"revision {record['git_revision']}")


def _processor():
    with contextlib.suppress(OSError):
        found = re.search(
            r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text()
        )
        if found:
            return found.group(1)
    return platform.machine()


def main(given):
    """Prints the tables."""
    folder = given.folder
    table = Table(Journal(folder))
    _print_head(
        ["fault", "strategy", "recipe", "tried", "lost: mean, max", "end"]
    )
    kill, *others = [*faults_bench.FAULTS, *faults_bench.DISK_FULL]
    for strategy in given.strategies:
        for recipe in given.recipes:
            bench = (table, folder, strategy, recipe)
            try_runs(*bench, [kill], given.kills)
    for strategy, recipe in zip(
        given.strategies, reversed(given.recipes), strict=False
    ):
        try_runs(table, folder, strategy, recipe, others, given.times)
    for workers in given.clusters:
        try_workers(table, folder, workers, given.times)
    _print_head(
        ["workers", "settings", "steps", "from one process", "all workers"]
    )
    for workers in given.clusters:
        for name in faults_bench.CURVES:
            compare_curves(table, folder, workers, name)
    describe(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--folder", type=pathlib.Path, required=True, help="keeps the runs")
    add("--kills", type=int, default=20, help="SIGKILLs over a run")
    add("--times", type=int, default=3, help="injections of every other fault")
    add("--strategies", nargs="*", default=list(faults_bench.STRATEGIES))
    add("--recipes", nargs="*", default=list(faults_bench.RECIPES))
    add("--clusters", nargs="*", type=int, default=[4], help="of workers")
    main(parser.parse_args())
