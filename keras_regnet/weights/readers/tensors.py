"""The tensors of a file, by name, each read on access."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np


class Tensors(Mapping):
    """Arrays by name, whose shapes are known before any is read.

    Args:
      shapes: shape of each tensor, by name.
      read: returns the array of a name.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        read: Callable[[str], np.ndarray],
    ):
        self.shapes = dict(shapes)
        self._read = read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        # The inherited one would read the tensor.
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def spread(self) -> "Tensors":
        """Returns tensors of these shapes that are 0 and take no memory."""
        return Tensors(
            self.shapes,
            lambda name: np.broadcast_to(np.float32(0), self.shapes[name]),
        )

    def renamed(self, new_name: Callable[[str], str]) -> "Tensors":
        """Returns the same tensors under other names."""
        old_names: dict[str, str] = {}
        for name in self.shapes:
            other = old_names.setdefault(new_name(name), name)
            if other != name:
                raise ValueError(f"{other!r} and {name!r} are one tensor.")
        shapes = {new: self.shapes[old] for new, old in old_names.items()}
        return Tensors(shapes, lambda name: self._read(old_names[name]))
