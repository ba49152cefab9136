"""The faults: each strikes a run once, and says how many steps were lost."""

import errno
import os
import pathlib
import random
import re
import shutil
import signal
import time
from collections.abc import Callable

from tests.system.faults import faults_harness as harness

CHECKPOINT_STEPS = 5
STEPS_PER_EPOCH = 12
_BATCH = 4
_CLUSTER_BATCH = 128
_COMMON = (
    "--image_size=32",
    "--min_crop_area=0.5",
    "--warmup_epochs=1",
    f"--global_batch_size={_BATCH}",
    "--log_seconds=0",
    f"--checkpoint_steps={CHECKPOINT_STEPS}",
)
RECIPES = {
    "quickstart": ("--recipe=quickstart",),
    # Two layers of RandAugment only take longer to trace.
    "modern": (
        "--recipe=modern",
        "--randaugment_layers=1",
        "--drop_path_rate=0.1",
        "--dropout_rate=0.1",
        "--ema_decay=0.9",
        "--base_learning_rate=0.5",
    ),
}
STRATEGIES = {
    "one_device": ("--strategy=one_device",),
    "mirrored": ("--strategy=mirrored", "--num_cpu_devices=2"),
}


class BrokenPromiseError(AssertionError):
    """The trainer did not do what it promises."""


class Bench:
    """A folder with a data set and a network, in which runs are harmed."""

    def __init__(
        self,
        folder,
        strategy="mirrored",
        recipe="modern",
        epochs=6,
        most_steps_on=9,
    ):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.rng = random.Random(0)
        self.images = self.folder / "images"
        self._hidden = self.images.with_suffix(".hidden")
        if self._hidden.exists():
            # Left by a suite that was stopped.
            self._hidden.rename(self.images)
        self._most_steps_on = most_steps_on
        per_class = STEPS_PER_EPOCH * _BATCH // 2
        self.arguments = [
            f"--variant={harness.write_network(folder)}",
            f"--dataset={harness.write_images(self.images, per_class)}",
            f"--epochs={epochs}",
            *RECIPES[recipe],
            *STRATEGIES[strategy],
            *_COMMON,
        ]

    def run(self, name):
        """Returns a run that has not begun."""
        return harness.Run(self.folder / name, self.arguments)

    def _some_steps_on(self, run):
        return run.newest_step() + self.rng.randint(2, self._most_steps_on)

    def kill(self, run):
        """SIGKILL from outside, at no particular moment."""
        process = run.start()
        code = process.send_at(
            self._some_steps_on(run), seconds=0.02 * self.rng.random()
        )
        _expect(process, code, -signal.SIGKILL)
        return _lost(process, run)

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
        return _lost(process, run)

    def fill_disk(self, run):
        """Nothing is left on the run's disk; it must be a small one."""
        process = run.start()
        process.wait_for_step(self._some_steps_on(run))
        ballast = run.folder / "ballast"
        while process.is_alive():
            _fill(ballast)
            time.sleep(0.001)
        ballast.unlink()
        _expect(process, process.wait(), 1, "error: .*No space left on device")
        return self._lost_on_disk(process, run)

    def forbid_growth(self, run):
        """No file may grow (RLIMIT_FSIZE) when a checkpoint is written."""
        process = run.start(harness.Harm(full_at_write=1))
        _expect(process, process.wait(), 1, "error: .*last good checkpoint is")
        return self._lost_on_disk(process, run)

    def _lost_on_disk(self, process, run):
        if list(run.folder.rglob("*.partial")):
            raise BrokenPromiseError("half a file was left")
        return _lost(process, run)

    def spoil(self, run):
        """A weight is no number any more, from some step on."""
        step = self._some_steps_on(run)
        process = run.start(harness.Harm(spoil_at_step=step))
        code = process.wait()
        last = run.checkpoints()[-1:]
        name = re.escape(str(last[0])) if last else "none"
        _expect(
            process,
            code,
            1,
            f"error: The loss of step {step + 1} is not finite; the last "
            f"good checkpoint is {name}",
        )
        return _lost(process, run)

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
        return _lost(process, run)

    def remove_images(self, run):
        """The data set disappears while the run goes on, and comes back."""
        process = run.start()
        try:
            process.wait_for_step(self._some_steps_on(run))
            self.images.rename(self._hidden)
            _expect(process, process.wait(), 1, "error: .*images/.*png")
        finally:
            self._hidden.rename(self.images)
        return _lost(process, run)

    def finish(self, run):
        """Starts the command once more, to the end."""
        process = run.start()
        _expect(process, process.wait(), 0, r"epoch (\d+)/\1 .*validation")


class Cluster:
    """A run of several workers, on the digits."""

    def __init__(self, folder, num_workers=2, epochs=1, *fields):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.num_workers = num_workers
        self.rng = random.Random(0)
        self.seconds_to_notice = 0.0
        self.arguments = [
            f"--variant={harness.write_network(folder)}",
            "--image_size=32",
            f"--global_batch_size={_CLUSTER_BATCH}",
            "--base_learning_rate=0.05",
            "--warmup_epochs=0",
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
        return self._kill(job, self.rng.randrange(1, self.num_workers))

    def kill_chief(self, job):
        """SIGKILL for the worker that writes; the others notice, and end."""
        return self._kill(job, 0)

    def _kill(self, job, victim):
        workers = job.start()
        step = job.run.newest_step() + CHECKPOINT_STEPS + self.rng.randint(1, 5)
        code = workers[victim].send_at(step)
        _expect(workers[victim], code, -signal.SIGKILL)
        begin = time.monotonic()
        for index, worker in enumerate(workers):
            if index != victim:
                _expect(worker, worker.wait(), 1, "error: .*workers is gone")
        self.seconds_to_notice = time.monotonic() - begin
        return _lost(workers[0], job.run)

    def terminate_worker(self, job):
        """SIGTERM for one worker; all of them save and end."""
        workers = job.start()
        victim = self.rng.randrange(len(workers))
        step = job.run.newest_step() + self.rng.randint(2, 9)
        workers[victim].send_at(step, signal.SIGTERM)
        for worker in workers:
            _expect(worker, worker.wait(), 0, "SIGTERM: stopped after step")
        return _lost(workers[0], job.run)

    def inputs(self, name, workers):
        """Returns the files in which `losses` notes what each worker read."""
        return [self.folder / f"{name}.{i}.inputs" for i in range(workers)]

    def losses(self, name, *fields, workers, float64=False):
        """Trains anew, to the end, and notes the losses.

        Args:
          name: of the job.
          *fields: flags of its own.
          workers: how many; a single one trains under `one_device`.
          float64: compute in double precision.

        Returns:
          The loss of every step as each worker saw it, and the workers.
        """
        job = harness.Job(
            harness.Run(self.folder / name, [*self.arguments, *fields]), workers
        )
        paths = [self.folder / f"{name}.{i}.losses" for i in range(workers)]
        shutil.rmtree(job.run.folder, ignore_errors=True)
        for path in (*paths, *self.inputs(name, workers)):
            path.unlink(missing_ok=True)
        harms = [
            harness.Harm(losses=str(path), inputs=str(inputs), float64=float64)
            for path, inputs in zip(
                paths, self.inputs(name, workers), strict=True
            )
        ]
        if workers == 1:
            job.run.arguments.append("--strategy=one_device")
            started = [job.run.start(*harms)]
            _expect(started[0], started[0].wait(), 0, "validation")
        else:
            started = self.finish(job, harms)
        return [
            harness.losses(path) / _CLUSTER_BATCH for path in paths
        ], started

    def finish(self, job, harms=None):
        """Starts all workers, to the end."""
        workers = job.start(harms)
        for worker in workers:
            _expect(worker, worker.wait(), 0, "validation")
        return workers


def _lost(process, run):
    """Returns the steps that have to be done again."""
    step = process.step()
    if step is None:
        raise BrokenPromiseError(f"not a step was done: {process.text()}")
    return step - run.newest_step()


def _expect(process, code, wanted, text=""):
    said = process.text()
    if code != wanted or not re.search(text, said):
        raise BrokenPromiseError(
            f"ended with {code}, not {wanted}, and should say {text!r}: "
            f"{said[-3000:]}"
        )


FAULTS: dict[str, Callable[[Bench, harness.Run], int]] = {
    "SIGKILL at a random moment": Bench.kill,
    "SIGKILL within the write of a checkpoint": Bench.kill_in_write,
    "files may not grow (`ulimit -f`)": Bench.forbid_growth,
    "newest checkpoint torn": Bench.tear,
    "SIGTERM": Bench.terminate,
    "data set removed, and put back": Bench.remove_images,
    "a weight becomes NaN": Bench.spoil,
}
# This one needs the right to mount.
DISK_FULL = {"disk full": Bench.fill_disk}


def _fill(path):
    """Leaves no room on a disk."""
    try:
        with open(path, "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


# Settings whose loss curve must not depend on the number of processes: flags
# of all, flags of the single process, whether in double precision.
CURVES: dict[str, tuple[list[str], list[str], bool]] = {
    "sync_bn, zero_init_last_gamma": (
        ["--sync_bn", "--zero_init_last_gamma"],
        [],
        False,
    ),
    "sync_bn": (["--sync_bn"], [], False),
    "sync_bn, float64": (["--sync_bn"], [], True),
    # Parts of a batch are normalised each by itself, as a replica's share is.
    "per replica, float64": ([], ["--accumulation_steps={}"], True),
}
