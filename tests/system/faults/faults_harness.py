"""Starts the trainer as processes of its own, harms them, compares ends."""

import csv
import dataclasses
import json
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import time

import numpy as np
from PIL import Image

import keras_regnet
from tests.system.faults import faults_child

Harm = faults_child.Harm
UNHARMED = Harm()

# Columns of metrics.csv that say how fast a run was.
_TIMED = ("images_per_second", "data_wait", "train_seconds", "eval_seconds")
_STEP = re.compile(r"epoch (\d+)/\d+  step (\d+)/(\d+)")
# Of a machine that others use too.
_PATIENCE = 900.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tensorflow", "keras", "h5py"])


class Process:
    """One process of a run."""

    def __init__(self, arguments, log, harm=UNHARMED, **environment):
        self.log = pathlib.Path(log)
        self.begin = self.log.stat().st_size if self.log.exists() else 0
        environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **environment}
        self._process = _context.Process(
            target=faults_child.main,
            args=(arguments, str(log), environment, harm),
        )
        self._process.start()

    def is_alive(self):
        return self._process.is_alive()

    def text(self):
        """What it has logged so far."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self.begin :].decode(errors="replace")

    def step(self):
        """The last step it has logged, None before the first."""
        found = _STEP.findall(self.text())
        if not found:
            return None
        epoch, step, steps = map(int, found[-1])
        return (epoch - 1) * steps + step

    def send_at(self, step, number=signal.SIGKILL, seconds=0.0):
        """Sends a signal when a step was logged; waits for the end."""
        self.wait_for_step(step)
        time.sleep(seconds)
        begin = time.monotonic()
        self.send(number)
        code = self.wait()
        self.seconds_to_end = time.monotonic() - begin
        return code

    def wait_for_step(self, step):
        """Returns when a step was logged, or the process has ended."""
        end = time.monotonic() + _PATIENCE
        while (self.step() or 0) < step and self._process.is_alive():
            if time.monotonic() > end:
                self.send()
                raise TimeoutError(f"no step {step}: {self.text()[-2000:]}")
            time.sleep(0.002)

    def send(self, number=signal.SIGKILL):
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait(self, seconds=_PATIENCE):
        """Returns the exit code, below 0 for a signal."""
        self._process.join(seconds)
        if self._process.is_alive():
            self.send()
            self._process.join()
            raise TimeoutError(f"still running: {self.text()[-2000:]}")
        return self._process.exitcode


@dataclasses.dataclass
class Run:
    """A run folder and the command that belongs to it."""

    folder: pathlib.Path
    arguments: list[str]

    def start(self, harm=UNHARMED, **environment):
        arguments = [*self.arguments, f"--workdir={self.folder}"]
        log = self.folder.with_suffix(".log")
        return Process(arguments, log, harm, **environment)

    def checkpoints(self):
        return sorted((self.folder / "checkpoints").glob("*.npz"))

    def newest_step(self):
        paths = self.checkpoints()
        return int(paths[-1].stem.partition("-")[2]) if paths else 0

    def rows(self):
        with open(self.folder / "metrics.csv", encoding="utf-8") as file:
            return [
                {name: row[name] for name in row if name not in _TIMED}
                for row in csv.DictReader(file)
            ]

    def end(self):
        """Returns the arrays of the newest checkpoint."""
        with np.load(self.checkpoints()[-1]) as stored:
            return {
                name: stored[name]
                for name in stored.files
                if name != "state.json"
            }


def differences(one: Run, other: Run) -> list[str]:
    """Returns what differs between the ends of two runs, to the bit."""
    ours, theirs = one.end(), other.end()
    found = sorted(set(ours) ^ set(theirs))
    found += [
        name
        for name in set(ours) & set(theirs)
        if ours[name].tobytes() != theirs[name].tobytes()
    ]
    if one.rows() != other.rows():
        found.append("metrics.csv")
    if one.newest_step() != other.newest_step():
        found.append("step")
    return found


def write_images(root, per_class, side=40, seed=0):
    """Writes a `folder:` set of two classes, told by their colours."""
    if root.exists():
        return f"folder:{root}"
    rng = np.random.default_rng(seed)
    for part, count in (("train", per_class), ("val", 8)):
        for label, name in enumerate(("red", "blue")):
            folder = pathlib.Path(root) / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 160, (side, side, 3), np.uint8)
                pixels[..., 2 * label] += 80
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return f"folder:{root}"


def write_network(folder):
    """Writes a network that traces in a second; returns its path."""
    network = keras_regnet.RegNetConfig(
        depth=2, w_0=8, w_a=8, w_m=2.0, group_width=4, stem_width=8
    )
    path = pathlib.Path(folder) / "tiny.json"
    path.write_text(network.to_json())
    return path


def free_ports(count):
    """Returns ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


@dataclasses.dataclass
class Job:
    """A run of several workers on this machine."""

    run: Run
    num_workers: int

    def start(self, harms=None):
        hosts = [f"127.0.0.1:{port}" for port in free_ports(self.num_workers)]
        workers = []
        for index in range(self.num_workers):
            folder = self.run.folder
            # Only the chief needs the run folder.
            workdir = folder if not index else folder.with_suffix(f".{index}")
            arguments = [
                *self.run.arguments,
                "--strategy=multi_worker",
                f"--workdir={workdir}",
            ]
            environment = {}
            if index % 2:
                arguments += [
                    f"--worker_hosts={','.join(hosts)}",
                    f"--task_index={index}",
                ]
            else:
                environment["TF_CONFIG"] = json.dumps(
                    {
                        "cluster": {"worker": hosts},
                        "task": {"type": "worker", "index": index},
                    }
                )
            workers.append(
                Process(
                    arguments,
                    folder.with_suffix(f".{index}.log"),
                    harms[index] if harms else UNHARMED,
                    **environment,
                )
            )
        return workers


def losses(path):
    """Returns the loss sum of each call from what a child recorded."""
    lines = pathlib.Path(path).read_text().splitlines()
    return np.array([json.loads(line)[1] for line in lines])
