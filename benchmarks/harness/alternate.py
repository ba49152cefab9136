"""The loop of all benchmarks: rounds in which each case takes its turn.

Absolute times say little on a shared machine. Cases that take turns share its
slow moments, so that ratios within a round are fair.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping

from benchmarks.harness import child

Measured = dict[str, float]


def order(names: list[str], number: int) -> list[str]:
    """Returns the order of a round: forward and backward in turn.

    So no case always stands behind the same other one, which leaves its data in
    the caches.

    Example:
    >>> order(["a", "b"], 0), order(["a", "b"], 1)
    (['a', 'b'], ['b', 'a'])
    """
    return names[::-1] if number % 2 else names


def alternate(
    turns: Mapping[str, Callable[[], Measured]],
    rounds: Iterable[int],
    begin: Callable[[int], None],
    keep: Callable[[dict[str, Measured], dict[str, str]], None],
) -> None:
    """Lets cases take turns; one that fails takes none after that.

    Args:
      turns: by name of the case.
      rounds: their numbers.
      begin: called before each round with its number.
      keep: called after each round with what was measured, and with the errors
        of those that failed in it.
    """
    left = dict(turns)
    for number in rounds:
        begin(number)
        measured, failed = {}, {}
        for name in order(list(left), number):
            try:
                measured[name] = left[name]()
            except child.CaseError as error:
                failed[name] = str(error)
                del left[name]
        keep(measured, failed)
