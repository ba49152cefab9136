"""The machine: what computes, and the rates that limit what it computes."""

import platform
import time
from concurrent import futures
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import keras
import numpy as np

from benchmarks.harness import host
from benchmarks.harness import worker
from keras_regnet import instruction_sets
from keras_regnet import processor

_SIZE = 2048
# Larger than any cache.
_COPIED_BYTES = 256 * 2**20


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares both rates; the facts are about the machine.

    Args:
      job: threads and turn_seconds.
    """
    threads = job["threads"]
    multiply = _product(threads)
    product = worker.Repeated(multiply, job["turn_seconds"])
    copy = _copy(threads)
    copy()

    def turn():
        seconds = product()["seconds"]
        return {
            "product_gmac_per_s": _SIZE**3 / seconds / 1e9,
            "copy_gb_per_s": _COPIED_BYTES / _best(copy) / 1e9,
        }

    return worker.Prepared(turn, facts=_facts())


def _facts():
    return {
        "cpu": host.cpu_model(),
        "cores": host.cores(),
        "instructions": instruction_sets.best(),
        "instructions_of_machine": instruction_sets.of_machine(),
        "setting": str(processor.setting()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": worker.versions("keras", "numpy", keras.backend.backend()),
        "keras_regnet": f"{keras_regnet.__version__}, {host.revision()}",
    }


def _product(threads):
    """Returns a product of matrices, by the backend of Keras."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    rng = np.random.default_rng(0)
    matrix = keras.ops.convert_to_tensor(
        rng.normal(size=(_SIZE, _SIZE)).astype("float32")
    )

    def multiply():
        product = keras.ops.matmul(matrix, matrix)
        # One number alone: all of it would have to be fetched.
        return keras.ops.convert_to_numpy(product[0, 0])

    return multiply


def _copy(threads):
    """Returns a copy of a large array, which takes all threads."""
    source = np.ones(_COPIED_BYTES // 8)
    target = np.zeros_like(source)
    pairs = [
        (np.array_split(target, threads)[i], np.array_split(source, threads)[i])
        for i in range(threads)
    ]
    pool = futures.ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs))


def _best(function, calls=3):
    """Returns the least seconds of a few calls."""
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)
