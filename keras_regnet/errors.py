"""One form for the errors that name a value which is not allowed."""

import difflib
from collections.abc import Iterable


def unknown_value(
    argument: str, received: object, allowed: Iterable[str]
) -> ValueError:
    """Returns the error for a name that is not in a list of names.

    Args:
      argument: name of the argument, as the caller spells it.
      received: the value that the caller gave.
      allowed: the names that would have been accepted.

    Returns:
      A `ValueError` that names the argument, the close match if there is
      one, what is allowed and what was received. The caller raises it.

    Example:
    >>> print(unknown_value("stem", "cifr", ["simple", "cifar"]))
    Unknown `stem`. Did you mean 'cifar'? Allowed: 'simple', 'cifar'. \
Received: stem='cifr'
    """
    allowed = list(allowed)
    by_lower_case = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(
        str(received).lower(), by_lower_case, n=1, cutoff=0.6
    )
    hint = f" Did you mean {by_lower_case[close[0]]!r}?" if close else ""
    names = ", ".join(repr(name) for name in allowed)
    return ValueError(
        f"Unknown `{argument}`.{hint} Allowed: {names}. "
        f"Received: {argument}={received!r}"
    )
