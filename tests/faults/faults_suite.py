"""The faults: each strikes a run once, and says how many steps were lost.

As a script it strikes many times and prints the table of docs/faults.md:

    python tests/faults/faults_suite.py
"""

import argparse
import os
import pathlib
import random
import re
import signal
import tempfile
import time
from collections.abc import Callable

import faults_harness as harness

CHECKPOINT_STEPS = 5
_COMMON = (
    "--recipe=modern",
    "--image_size=32",
    "--min_crop_area=0.5",
    "--drop_path_rate=0.1",
    "--dropout_rate=0.1",
    "--ema_decay=0.9",
    "--base_learning_rate=0.5",
    "--warmup_epochs=1",
    "--global_batch_size=4",
    "--log_seconds=0",
    f"--checkpoint_steps={CHECKPOINT_STEPS}",
)
STRATEGIES = {
    "one_device": ("--strategy=one_device",),
    "mirrored": ("--strategy=mirrored", "--num_cpu_devices=2"),
}


class BrokenPromiseError(AssertionError):
    """The trainer did not do what it promises."""


class Bench:
    """A folder with a data set and a network, in which runs are harmed."""

    def __init__(self, folder, strategy="mirrored", epochs=3, seed=0):
        self.folder = pathlib.Path(folder)
        self.rng = random.Random(seed)
        self.images = self.folder / "images"
        self.arguments = [
            f"--variant={harness.write_network(folder)}",
            f"--dataset={harness.write_images(self.images)}",
            f"--epochs={epochs}",
            *STRATEGIES[strategy],
            *_COMMON,
        ]

    def run(self, name):
        """Returns a run that has not begun."""
        return harness.Run(self.folder / name, self.arguments)

    def _some_steps_on(self, run):
        return run.newest_step() + self.rng.randint(2, 9)

    def kill(self, run):
        """SIGKILL from outside, at no particular moment."""
        process = run.start()
        code = process.send_at(
            self._some_steps_on(run), seconds=0.02 * self.rng.random()
        )
        _expect(process, code, -signal.SIGKILL)
        return process.step() - run.newest_step()

    def kill_in_write(self, run):
        """SIGKILL when a checkpoint is half written."""
        before = run.newest_step()
        harm = harness.Harm(kill_in_write=self.rng.randint(1, 2))
        process = run.start(harm)
        _expect(process, process.wait(), -signal.SIGKILL)
        if not list((run.folder / "checkpoints").glob("*.partial")):
            raise BrokenPromiseError("it was not killed within a write")
        if harm.kill_in_write == 1 and run.newest_step() != before:
            raise BrokenPromiseError(
                "half a checkpoint was taken for a whole one"
            )
        return process.step() - run.newest_step()

    def fill_disk(self, run):
        """No file may grow (RLIMIT_FSIZE) when a checkpoint is written."""
        process = run.start(harness.Harm(full_at_write=1))
        _expect(process, process.wait(), 1, "error: .*last good checkpoint is")
        if list(run.folder.rglob("*.partial")):
            raise BrokenPromiseError("half a file was left")
        return process.step() - run.newest_step()

    def tear(self, run):
        """SIGKILL, and then the newest checkpoint loses its second half."""
        process = run.start()
        _expect(
            process,
            process.send_at(run.newest_step() + 2 * CHECKPOINT_STEPS + 1),
            -signal.SIGKILL,
        )
        *_, torn = run.checkpoints()
        os.truncate(torn, torn.stat().st_size // 2)
        again = run.start()
        code = again.send_at(1, signal.SIGKILL)
        _expect(
            again,
            code,
            -signal.SIGKILL,
            f"warning: .*{torn.name} cannot be read",
        )
        resumed = int(re.search(r"from step (\d+) ", again.text()).group(1))
        return process.step() - resumed

    def terminate(self, run):
        """SIGTERM, as a cluster gives notice."""
        process = run.start()
        process.send_at(self._some_steps_on(run), signal.SIGTERM)
        _expect(process, process.wait(), 0, "SIGTERM: stopped after step")
        if process.seconds_to_end > 30:
            raise BrokenPromiseError("SIGTERM took longer than seconds")
        return process.step() - run.newest_step()

    def remove_images(self, run):
        """The data set disappears while the run goes on, and comes back."""
        process = run.start()
        hidden = self.images.with_suffix(".hidden")
        try:
            process.wait_for_step(self._some_steps_on(run))
            self.images.rename(hidden)
            _expect(process, process.wait(), 1, "error: .*images/.*png")
        finally:
            hidden.rename(self.images)
        return process.step() - run.newest_step()

    def finish(self, run):
        """Starts the command once more, to the end."""
        process = run.start()
        _expect(process, process.wait(), 0, r"epoch (\d+)/\1 .*validation")


class Cluster:
    """A run of several workers, on the digits."""

    def __init__(self, folder, num_workers=2, seed=0, epochs=1, *fields):
        self.folder = pathlib.Path(folder)
        self.num_workers = num_workers
        self.rng = random.Random(seed)
        self.seconds_to_notice = 0.0
        self.arguments = [
            f"--variant={harness.write_network(folder)}",
            "--image_size=32",
            "--global_batch_size=128",
            "--base_learning_rate=0.05",
            "--warmup_epochs=0",
            "--zero_init_last_gamma",
            f"--epochs={epochs}",
            "--ema_decay=0.9",
            "--log_seconds=0",
            f"--checkpoint_steps={CHECKPOINT_STEPS}",
            *fields,
        ]

    def job(self, name):
        return harness.Job(
            harness.Run(self.folder / name, self.arguments), self.num_workers
        )

    def kill_worker(self, job):
        """SIGKILL for one worker; the others notice, and end."""
        workers = job.start()
        victim = self.rng.randrange(1, len(workers))
        step = job.run.newest_step() + CHECKPOINT_STEPS + self.rng.randint(1, 5)
        code = workers[victim].send_at(step)
        _expect(workers[victim], code, -signal.SIGKILL)
        begin = time.monotonic()
        for index, worker in enumerate(workers):
            if index != victim:
                _expect(worker, worker.wait(), 1, "error: .*workers is gone")
        self.seconds_to_notice = time.monotonic() - begin
        return workers[0].step() - job.run.newest_step()

    def terminate_worker(self, job):
        """SIGTERM for one worker; all of them save and end."""
        workers = job.start()
        victim = self.rng.randrange(len(workers))
        step = job.run.newest_step() + self.rng.randint(2, 9)
        workers[victim].send_at(step, signal.SIGTERM)
        for worker in workers:
            _expect(worker, worker.wait(), 0, "SIGTERM: stopped after step")
        return workers[0].step() - job.run.newest_step()

    def finish(self, job, harms=None):
        """Starts all workers, to the end."""
        workers = job.start(harms)
        for worker in workers:
            _expect(worker, worker.wait(), 0, "validation")
        return workers


def _expect(process, code, wanted, text=""):
    said = process.text()
    if code != wanted or not re.search(text, said):
        raise BrokenPromiseError(
            f"ended with {code}, not {wanted}, and should say {text!r}: "
            f"{said[-3000:]}"
        )


FAULTS: dict[str, Callable] = {
    "SIGKILL at a random moment": Bench.kill,
    "SIGKILL within the write of a checkpoint": Bench.kill_in_write,
    "disk full within the write of a checkpoint": Bench.fill_disk,
    "newest checkpoint torn": Bench.tear,
    "SIGTERM": Bench.terminate,
    "data set removed, and put back": Bench.remove_images,
}


def strike(bench, name, times):
    """Returns a row of the table: one run, struck several times."""
    run = bench.run(re.sub(r"\W+", "_", name))
    lost = [FAULTS[name](bench, run) for _ in range(times)]
    bench.finish(run)
    return lost, run


def print_table(times, kills, strategies, clusters):
    """Strikes every fault, and prints a line for each."""
    print("| fault | strategy | tried | lost steps: mean, most | end equal |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for strategy in strategies:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(folder, strategy, epochs=12)
            whole = bench.run("whole")
            bench.finish(whole)
            for name in FAULTS:
                count = kills if FAULTS[name] is Bench.kill else times
                lost, run = strike(bench, name, count)
                equal = not harness.differences(whole, run)
                _print_row(name, strategy, lost, equal)
    for workers in clusters:
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(folder, workers, epochs=8)
            whole = cluster.job("whole")
            cluster.finish(whole)
            for name, fault in (
                ("SIGKILL for one", cluster.kill_worker),
                ("SIGTERM for one", cluster.terminate_worker),
            ):
                harmed = cluster.job(name.replace(" ", "_"))
                lost = [fault(harmed) for _ in range(times)]
                cluster.finish(harmed)
                equal = not harness.differences(whole.run, harmed.run)
                name += f" of {workers} workers"
                _print_row(name, "multi_worker", lost, equal)


def _print_row(name, strategy, lost, equal):
    mean = sum(lost) / len(lost)
    print(
        f"| {name} | {strategy} | {len(lost)} | {mean:.1f}, {max(lost)} | "
        f"{'to the bit' if equal else 'NO'} |",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--clusters", nargs="*", type=int, default=[2, 4])
    given = parser.parse_args()
    print_table(given.times, given.kills, given.strategies, given.clusters)
