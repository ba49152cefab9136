"""Grouped convolutions with fewer and wider groups, zeros between the old.

The same results for more multiplications. It pays where the processor
multiplies tiles that are wider than a group, as x86 with AMX does in int8.
"""

import numpy as np


def merged_groups(groups: int, width: int, largest: int) -> int:
    """Returns how many groups are left when neighbours are merged.

    Args:
      groups: of the convolution.
      width: channels of a group.
      largest: channels that a merged group may have.

    Example:
    >>> merged_groups(10, 16, 64)  # 3 and 4 do not divide 10
    5
    """
    merged = next(
        count
        for count in range(max(1, min(groups, largest // width)), 0, -1)
        if groups % count == 0
    )
    return groups // merged


def merged_kernel(kernel: np.ndarray, groups: int, left: int) -> np.ndarray:
    """Returns the kernel of the same convolution in fewer groups.

    Args:
      kernel: (height, width, channels of a group, filters).
      groups: of the convolution.
      left: groups that it shall have, a divisor.

    Example:
    >>> kernel = np.ones((1, 1, 1, 2))
    >>> merged_kernel(kernel, 2, 1)[0, 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    height, width, channels, filters = kernel.shape
    merged = groups // left
    filter_group = np.arange(filters) // (filters // groups) % merged
    is_own = np.arange(merged)[:, None, None] == filter_group
    wide = kernel[:, :, None] * is_own
    return wide.reshape(height, width, merged * channels, filters).astype(
        kernel.dtype
    )
