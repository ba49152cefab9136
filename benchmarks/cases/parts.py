"""How long the parts of some work take, one after the other."""

import time
from collections.abc import Callable
from typing import Any


class Parts:
    """A clock that is read after each part.

    Attributes:
      seconds: of each part, by name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def did(self, part: str) -> None:
        """Adds the time since the part before."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

    def timed(self, part: str, work: Callable[[], Any]) -> Any:
        """Returns the result of some work, which is a part."""
        result = work()
        self.did(part)
        return result

    def measured(self) -> dict[str, float]:
        """Returns all parts, and their sum as "seconds"."""
        return {**self.seconds, "seconds": sum(self.seconds.values())}
