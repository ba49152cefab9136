"""The processes of a run: which is the chief, and how they agree.

Only the chief reads and writes the run folder. What the others must know, it
tells them through the strategy's own all-reduce, so that no folder need be
shared and no two processes can restore different checkpoints. With a single
process nothing is sent.
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from training.workdir import checkpoint

# What a collective operation ends with when a peer does not answer.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.FailedPreconditionError,
)


class Processes:
    """The processes that train together."""

    def __init__(self, strategy: tf.distribute.Strategy):
        """Counts them, and finds out whether this one is the chief."""
        self._strategy = strategy
        self._local_replicas = len(strategy.extended.worker_devices)
        self.num_workers = strategy.num_replicas_in_sync // self._local_replicas
        self.is_chief = _is_chief(strategy)

    def total(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns sums over processes, in the dtypes given.

        Every process must call, with as many arrays of the same shapes.
        """
        if self.num_workers == 1:
            return list(arrays)
        return [self._total(np.asarray(array)) for array in arrays]

    def from_chief(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the chief's arrays, to the bit; see `total`."""
        if self.is_chief:
            return self.total(arrays)
        return self.total([np.zeros_like(array) for array in arrays])

    def json_from_chief(self, value: Any) -> Any:
        """Returns the chief's value, one of JSON's; every process must call."""
        text = json.dumps(value).encode() if self.is_chief else b""
        (length,) = self.total([np.array([len(text)], np.int64)])
        padded = text.ljust(int(length[0]))
        (sent,) = self.from_chief([np.frombuffer(padded, np.uint8)])
        return json.loads(sent.tobytes())

    def agree(
        self, count: int, save: bool, stop: bool
    ) -> tuple[int, bool, bool]:
        """Returns what all processes do: the chief decides, any may stop.

        Args:
          count: steps to run next.
          save: whether to write a checkpoint before them.
          stop: whether to stop instead.
        """
        if self.num_workers == 1:
            return count, save, stop
        chief = int(self.is_chief)
        mine = [chief * count, chief * save, stop]
        (agreed,) = self.total([np.array(mine, np.int64)])
        return int(agreed[0]), bool(agreed[1]), bool(agreed[2])

    def leave(self) -> None:
        """Waits for the others, at the end; every process must call.

        A process that has what it waited for may end while the last message
        to another is on its way. So all meet twice: nobody leaves before
        everybody knows that all are done, and what is lost then is not missed.
        """
        self.total([np.zeros([1])])
        with contextlib.suppress(*_LOST):
            self.total([np.zeros([1])])

    def _total(self, array):
        # Few dtypes can be reduced everywhere.
        exact = np.int64 if array.dtype.kind in "iub" else array.dtype
        summed = self._sum_over_workers(tf.constant(array.astype(exact)))
        return summed.numpy().astype(array.dtype)

    @tf.function(reduce_retracing=True, jit_compile=False, autograph=False)
    def _sum_over_workers(self, value):
        def of_replica():
            context = tf.distribute.get_replica_context()
            # One replica speaks for its process.
            index = context.replica_id_in_sync_group % self._local_replicas
            mine = tf.where(tf.equal(index, 0), value, tf.zeros_like(value))
            return context.all_reduce("SUM", mine)

        summed = self._strategy.run(of_replica)
        return self._strategy.experimental_local_results(summed)[0]


@contextlib.contextmanager
def lost_workers(
    processes: Processes, checkpoints: pathlib.Path
) -> Iterator[None]:
    """Says what to do when another process of the run is gone.

    Raises:
      ConnectionError: in place of TensorFlow's error.
    """
    try:
        yield
    except _LOST as error:
        if processes.num_workers == 1:
            raise
        reason = (error.message or "").splitlines() or [""]
        raise ConnectionError(
            f"Another of the {processes.num_workers} workers is gone. Start "
            "all of them again, and the run resumes from its last checkpoint, "
            f"{checkpoint.newest_name(checkpoints)}. "
            f"Received: {type(error).__name__}: {reason[0]}"
        ) from error


def _is_chief(strategy):
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().as_dict()
    )
