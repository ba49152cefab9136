"""Workers on a Ray cluster: actors, each in a process of its own.

The nodes need Ray, this project's dependencies and, for ImageNet, the sweep's
folder; the code, and arrays that fit into memory, are sent to them. Actors end
with the driver, however it ends; what a node that is gone was training is
recorded as failed, like the trial of any other worker that ended.

The one module that needs Ray: `pip install 'keras_regnet[cluster]'`.
"""

import dataclasses
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import keras

import keras_regnet
from training.sweeps import pool
from training.sweeps import regimes
from training.sweeps import trial
from training.sweeps import trial_data

try:
    import ray
except ImportError as error:
    raise ImportError(
        "`--engine=ray` needs Ray: pip install 'keras_regnet[cluster]'"
    ) from error

_CODE = (
    pathlib.Path(keras_regnet.__file__).parent,
    pathlib.Path(__file__).parents[1],
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_CONNECT_SECONDS = 5.0
_INIT_SECONDS = 60.0
# Nodes may be on their way, where a cluster grows by itself.
_ROOM_SECONDS = 300.0
_TAIL = 300
# As a worker on one machine has them, see training/sweeps/worker.py.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
# What Ray says of an end, and what the record does.
_ENDS = (
    ("node has died", "the worker's node is gone"),
    ("node was terminated", "the worker's node is gone"),
    (
        "temporarily unavailable",
        "the worker cannot be reached, perhaps its node is gone",
    ),
    ("running low on memory", "out of memory: Ray ended the worker"),
)


class _Trainer:
    """What runs on the cluster."""

    def __init__(self, regime, folder, threads, arrays):
        if threads:
            trial.step_module().limit_threads(threads)
        if arrays is None:
            arrays = trial_data.load(regimes.get(regime), folder)
        self._arrays = arrays

    def ready(self):
        """Returns when it can take a trial."""
        return {"ready": True}

    def train(self, job):
        """Returns the fields of a trial's record."""
        record = trial.run(
            trial.Trial(**job["trial"]), self._arrays, job["attempt"]
        )
        return dataclasses.asdict(record)


class Worker(pool.Worker):
    """One actor.

    Args:
      number: names it.
      actor: Ray's handle.
    """

    def __init__(self, number: int, actor: Any):
        super().__init__(number)
        self._actor = actor
        self.answer = actor.ready.remote()
        self.error: Exception | None = None

    def send(self, job: dict[str, Any]) -> None:
        """Sends a trial on its way."""
        self.answer = self._actor.train.remote(job)

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Returns the message that has come, and whether it has ended."""
        try:
            return [ray.get(self.answer)], False
        except ray.exceptions.RayError as error:
            self.error = error
            return [], True

    def reason(self) -> str:
        """Returns why it ended, when it should not have."""
        text = str(self.error)
        for part, said in _ENDS:
            if part in text:
                return said
        return f"worker ended: {_short(self.error)}"

    def stop(self) -> None:
        """Ends it, in the middle of a trial if need be."""
        ray.kill(self._actor)


class Pool(pool.Pool):
    """Actors on a cluster that this process is connected with.

    Args:
      count: how many workers.
      setup: what they need to know.
    """

    def __init__(self, count: int, setup: pool.Setup):
        self._needed = _needed(setup)
        self._had_room = time.monotonic()
        # What a file holds is sent; what is no file, or too large, is not.
        regime = regimes.get(setup.regime)
        path = trial_data.path(regime, setup.folder)
        arrays = None
        if path is not None and path.suffix == ".npz":
            arrays = ray.put(trial_data.load(regime, setup.folder))
        folder = str(setup.folder.absolute())
        self._arguments = (setup.regime, folder, setup.threads, arrays)
        self._class = ray.remote(_Trainer).options(
            num_cpus=self._needed["CPU"], num_gpus=self._needed["GPU"]
        )
        super().__init__(count, setup)

    def __exit__(self, *unused) -> None:
        super().__exit__(*unused)
        ray.shutdown()

    def _start(self, number):
        return Worker(number, self._class.remote(*self._arguments))

    def _forget(self, worker):
        pass

    def _poll(
        self, timeout: float
    ) -> Iterator[tuple[Worker, list[dict[str, Any]], bool]]:
        waited_for = {
            worker.answer: worker for worker in self._workers if not worker.idle
        }
        try:
            come, left = ray.wait(list(waited_for), timeout=timeout)
            if left:
                # All that have come, so that none of them counts as late.
                come += ray.wait(left, num_returns=len(left), timeout=0)[0]
            if not come:
                self._check_room()
        except ray.exceptions.RayError as error:
            raise pool.WorkerError(
                f"The Ray cluster does not answer: {_short(error)}"
            ) from error
        for answer in come:
            worker = waited_for[answer]
            yield worker, *worker.read()

    def _check_room(self):
        """Raises if for long no node could have trained."""
        now = time.monotonic()
        if room(self._needed):
            self._had_room = now
        elif now > self._had_room + _ROOM_SECONDS:
            raise _no_room(self._needed)


def start(
    address: str, setup: pool.Setup, most: int, count: int | None = None
) -> Pool:
    """Connects with a cluster and starts workers there.

    Args:
      address: of the cluster, HOST:PORT; "auto" for that of RAY_ADDRESS, or
        the one that this machine is part of.
      setup: what the workers need to know.
      most: how many workers have something to do.
      count: how many there shall be, perhaps more than there is room for
        today; None for as many as there is room for.

    Returns:
      The workers.

    Raises:
      ValueError: if there is no cluster.
      pool.WorkerError: if no node has what a worker needs.
    """
    _connect(address)
    needed = _needed(setup)
    found = room(needed)
    if not found:
        raise _no_room(needed)
    return Pool(min(count or found, most), setup)


def _needed(setup):
    """Returns what one worker takes of a node: one core at least."""
    return {"CPU": float(max(1, setup.threads)), "GPU": setup.gpus}


def _connect(address):
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        if address != "auto":
            _check_listening(address)
        _init(address)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            "`ray_address` must be HOST:PORT of a running Ray cluster (see "
            f"`ray start`). Received: ray_address={address!r}: {reason}"
        ) from error


def _init(address):
    """Connects; Ray itself would wait for ever where something else answers."""
    caught = []

    def init():
        try:
            ray.init(
                address,
                runtime_env={
                    "py_modules": [str(folder) for folder in _CODE],
                    "env_vars": {
                        "KERAS_BACKEND": keras.backend.backend(),
                        **_ENVIRONMENT,
                    },
                },
                logging_level="ERROR",
                log_to_driver=False,
            )
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=init, daemon=True)
    thread.start()
    thread.join(_INIT_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {_INIT_SECONDS:g} s")
    if caught:
        raise caught[0]


def _check_listening(address):
    """Raises OSError if nobody is there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host in _LOOPBACK:
        # As Ray does, to which other nodes cannot be "localhost".
        host = ray.util.get_node_ip_address()
    socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()


def room(needed: dict[str, float]) -> int:
    """Returns how many workers the cluster's nodes have room for.

    Args:
      needed: resources of one worker by their names.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        min(int(node.get(k, 0) / v) for k, v in needed.items() if v)
        for node in nodes
    )


def _short(error):
    """Returns the end of what Ray says, in one line."""
    return " ".join(str(error).split())[-_TAIL:]


def _no_room(needed):
    wanted = " and ".join(f"{v:g} {k}" for k, v in needed.items() if v)
    return pool.WorkerError(
        f"No node of the Ray cluster has the {wanted} that a worker needs."
    )
