"""Sizes of images as people write them: 224, or 224x320."""


def parse(argument: str, value: int | str, also: str = "") -> tuple[int, int]:
    """Returns (height, width) in pixels.

    Args:
      argument: name of the argument, for errors.
      value: the side of a square, or "HEIGHTxWIDTH".
      also: what else the argument may be, for errors.

    Raises:
      ValueError: if it is neither.

    Example:
    >>> parse("image_size", 224), parse("image_size", "224x320")
    ((224, 224), (224, 320))
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    sides = value.strip().split("x") if isinstance(value, str) else []
    if len(sides) not in (1, 2) or not all(map(str.isdecimal, sides)):
        others = f", or {also}" if also else ""
        raise ValueError(
            f"`{argument}` must be a number of pixels or HEIGHTxWIDTH, such as "
            f"224 or 224x320{others}. Received: {argument}={value!r}"
        )
    return int(sides[0]), int(sides[-1])


def short(size: tuple[int, int]) -> int | str:
    """Returns a size as it is written: a number if it is a square's.

    Args:
      size: height and width in pixels.

    Example:
    >>> short((224, 224)), short((224, 320))
    (224, '224x320')
    """
    height, width = size
    return height if height == width else f"{height}x{width}"
