"""A pool on a Ray cluster: actors, each in a process of its own.

The nodes need Ray, this project's dependencies and, for ImageNet, the sweep's
folder; the code, and arrays that fit into memory, are sent to them. Actors end
with the driver, however it ends; the trials that a lost node was training are
recorded as failed, like the trial of any other worker that ended.

The one module that needs Ray: `pip install 'keras_regnet[cluster]'`.
"""

import gc
import os
import pathlib
import socket
import threading
import time
from typing import Any

import keras

import keras_regnet
from keras_regnet import onednn
from training.sweeps import arrays as arrays_lib
from training.sweeps import messages
from training.sweeps import pool
from training.sweeps import spec
from training.sweeps import trial
from training.sweeps.options import Options

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
# As a worker on one machine has them, see training/sweeps/worker_main.py.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
# Parts of Ray's errors, and the reasons that records give for them.
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
    """The actor: what `worker_main.py` is on one machine."""

    def __init__(self, regime, folder, threads, arrays):
        if threads:
            trial.steps_module().limit_threads(threads)
        if arrays is None:
            arrays = arrays_lib.load(regime, folder)
        self._regime, self._arrays = regime, arrays
        gc.freeze()  # As `worker_main.py`.

    def ready(self):
        return messages.Ready().to_json()

    def train(self, line):
        job = messages.Job.from_json(line)
        record = trial.run_job(job, self._regime, self._arrays)
        return messages.Outcome(record).to_json()


class RayWorker(pool.Worker):
    """One actor, of which it has Ray's handle."""

    def __init__(self, number: int, actor: Any):
        super().__init__(number)
        self._actor = actor
        self.answer = actor.ready.remote()
        self.error: Exception | None = None

    def send(self, job: messages.Job) -> None:
        """Sends a job to the actor."""
        self.answer = self._actor.train.remote(job.to_json())

    def read(self) -> tuple[list[messages.Ready | messages.Outcome], bool]:
        """Returns the message that arrived, and whether it has ended."""
        try:
            return [messages.from_worker(ray.get(self.answer))], False
        except ray.exceptions.RayError as error:
            self.error = error
            return [], True

    def reason(self) -> str:
        """Returns why it ended, when it should not have."""
        text = str(self.error)
        for part, reason in _ENDS:
            if part in text:
                return reason
        return f"worker ended: {_short(self.error)}"

    def stop(self) -> None:
        """Ends it, in the middle of a trial if need be."""
        ray.kill(self._actor)


class RayPool(pool.Pool):
    """Actors on a cluster that this process is connected with."""

    def __init__(self, count: int, folder: pathlib.Path, options: Options):
        self._needed = _needed(options)
        self._had_room = time.monotonic()
        regime = spec.load_spec(folder).regime
        arrays = _sent_arrays(regime, folder)
        self._arguments = (
            regime,
            str(folder.absolute()),
            options.threads,
            arrays,
        )
        self._class = ray.remote(_Trainer).options(
            num_cpus=self._needed["CPU"], num_gpus=self._needed["GPU"]
        )
        super().__init__(count, folder, options)

    def __exit__(self, *unused) -> None:
        super().__exit__(*unused)
        ray.shutdown()

    def _start(self, number):
        return RayWorker(number, self._class.remote(*self._arguments))

    def _forget(self, worker):
        pass

    def _poll(self, timeout):
        workers = {
            worker.answer: worker for worker in self._workers if not worker.idle
        }
        try:
            arrived, left = ray.wait(list(workers), timeout=timeout)
            if left:
                # All that arrived, so that none of them counts as late.
                arrived += ray.wait(left, num_returns=len(left), timeout=0)[0]
            if not arrived:
                self._check_room()
        except ray.exceptions.RayError as error:
            raise pool.WorkerError(
                f"The Ray cluster does not answer: {_short(error)}"
            ) from error
        for answer in arrived:
            yield workers[answer], *workers[answer].read()

    def _check_room(self):
        """Raises if no node has had room for a worker for long."""
        now = time.monotonic()
        if room(self._needed):
            self._had_room = now
        elif now > self._had_room + _ROOM_SECONDS:
            raise _no_room(self._needed)


def start(folder: pathlib.Path, options: Options, jobs: int) -> RayPool:
    """Connects with a cluster and starts workers there for some jobs.

    There may be more workers than the cluster has room for today.

    Raises:
      ValueError: if there is no cluster.
      pool.WorkerError: if no node has what a worker needs.
    """
    _connect(options.ray_address)
    needed = _needed(options)
    available = room(needed)
    if not available:
        raise _no_room(needed)
    count = min(options.workers or available, jobs)
    return RayPool(count, folder, options)


def _needed(options):
    """Returns the resources of one worker by name: one core at least."""
    return {"CPU": float(max(1, options.threads)), "GPU": options.gpus}


def _sent_arrays(regime, folder):
    """Returns Ray's handle of the arrays, None for those not sent.

    Arrays that are made, or too large for memory, are not sent.
    """
    path = arrays_lib.path(regime, folder)
    if path is None or path.suffix != ".npz":
        return None
    return ray.put(arrays_lib.load(regime, folder))


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
    """Connects; Ray itself would wait forever if something else answers."""
    caught = []

    def init():
        try:
            ray.init(
                address,
                runtime_env={
                    "py_modules": [str(folder) for folder in _CODE],
                    "env_vars": {
                        "KERAS_BACKEND": keras.backend.backend(),
                        **_onednn(),
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


def _onednn():
    """Returns the variable that decides on oneDNN, as this process has it.

    On the nodes TensorFlow is imported before what would set it.
    """
    name = onednn.VARIABLE
    return {name: os.environ[name]} if name in os.environ else {}


def _check_listening(address):
    """Raises OSError if nobody is there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host in _LOOPBACK:
        # As Ray does, to which other nodes cannot be "localhost".
        host = ray.util.get_node_ip_address()
    socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()


def room(needed: dict[str, float]) -> int:
    """Returns how many workers with these resources the nodes have room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        min(int(node.get(k, 0) / v) for k, v in needed.items() if v)
        for node in nodes
    )


def _short(error):
    """Returns the end of an error of Ray, in one line."""
    return " ".join(str(error).split())[-_TAIL:]


def _no_room(needed):
    resources = " and ".join(f"{v:g} {k}" for k, v in needed.items() if v)
    return pool.WorkerError(
        f"No node of the Ray cluster has the {resources} that a worker needs."
    )
