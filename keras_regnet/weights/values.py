"""What is wrong with the numbers of a tensor: of any network, and of a trained.

Loading and verifying ask `unfit`, verifying asks `odd` as well. No Keras here.
"""

import numpy as np

# Beyond what training leaves; a flipped bit in an exponent is.
_MAX_WEIGHT = 1e6
_MAX_STATISTIC = 1e12
_STATISTICS = ("moving_mean", "moving_variance")


def unfit(array: np.ndarray, kind: str) -> str | None:
    """Returns why no network can compute with some numbers, None if one can.

    Args:
      array: the numbers of a variable.
      kind: which of its layer's variables it is, such as "moving_variance".

    Example:
    >>> unfit(np.asarray([1.0, -1.0]), "moving_variance")
    'holds negative variances'
    """
    # NumPy has no bfloat16 of its own, so its kind is not "f".
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        return f"holds numbers of type {array.dtype}, not weights"
    if not np.isfinite(array).all():
        return "holds NaN or infinity"
    if kind == "moving_variance" and array.min(initial=0) < 0:
        return "holds negative variances"
    return None


def odd(array: np.ndarray, kind: str) -> str | None:
    """Returns why some numbers are not a trained layer's, None if they may be.

    Channels that training or pruning has switched off are zero: one by one,
    a whole norm's gammas or variances, but not all of a kernel.

    Example:
    >>> odd(np.zeros((3, 3, 8, 8)), "kernel")
    'holds nothing but 0'
    """
    largest = float(np.abs(array).max(initial=0))
    if largest > (_MAX_STATISTIC if kind in _STATISTICS else _MAX_WEIGHT):
        return f"holds numbers up to {largest:.0e}"
    if array.size < 2 or array.min() != array.max():
        return None
    first = float(array.ravel()[0])
    # As a norm begins; of a norm that is switched off all may be equal, too.
    untouched = kind == "moving_variance" and first == 1
    if kind == "kernel" or untouched:
        return f"holds nothing but {first:g}"
    return None
