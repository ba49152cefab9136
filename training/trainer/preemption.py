"""SIGTERM: what a scheduler sends before it takes a machine away."""

import signal
import sys
import threading

from absl import logging


class Preemption:
    """Turns SIGTERM into a request to stop, while it is entered.

    During training the request is kept until the run sees it, saves, and
    ends. At any other time nothing would be lost, and the process exits at
    once. Both are a normal end, with exit code 0.
    """

    def __init__(self):
        self.requested = False
        self.saves = False
        self._previous = None

    def __enter__(self) -> "Preemption":
        self._previous = self._listen()
        return self

    def _listen(self):
        # Python lets only the main thread handle signals.
        if threading.current_thread() is threading.main_thread():
            return signal.signal(signal.SIGTERM, self._received)
        return None

    def keep(self) -> None:
        """From now on a request to stop is kept until the run sees it.

        Listens anew: TensorFlow, when it connects to other workers, takes
        SIGTERM for itself.
        """
        self.saves = True
        self._listen()

    def release(self) -> None:
        """From now on there is nothing to save: SIGTERM exits at once."""
        self.saves = False

    def __exit__(self, *unused) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _received(self, *unused):
        self.requested = True
        if not self.saves:
            logging.info("SIGTERM: nothing to save, exiting")
            sys.exit(0)
