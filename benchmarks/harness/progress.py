"""What a run says while it goes on."""

import time


class Progress:
    """Prints one line for each thing that comes next, with the time left.

    Args:
      settings: how many there are to run.
    """

    def __init__(self, settings: int) -> None:
        self._left = settings
        self._finished: list[float] = []
        self._start = self._first = time.monotonic()
        self._rounds = 0

    def say(self, what: str) -> None:
        """Prints what comes next."""
        print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)

    def begin_setting(self) -> None:
        """Starts the clock of a setting."""
        self._start = self._first = time.monotonic()
        self._rounds = 0

    def begin_round(self, what: str, rounds_left: int) -> None:
        """Prints that a round begins, and the time left.

        Args:
          what: the setting and the round.
          rounds_left: of the setting, this one too.
        """
        now = time.monotonic()
        if self._rounds == 0:
            self._first = now  # What came before was warming up.
            self.say(what)
        else:
            each = (now - self._first) / self._rounds
            self.say(f"{what}; {self._remaining(now, each * rounds_left)}")
        self._rounds += 1

    def end_setting(self) -> None:
        """Remembers how long a setting took."""
        self._left -= 1
        self._finished.append(time.monotonic() - self._start)

    def _remaining(self, now, here):
        whole = [*self._finished, now - self._start + here]
        seconds = here + (self._left - 1) * sum(whole) / len(whole)
        return f"about {seconds / 60:.1f} min left"
