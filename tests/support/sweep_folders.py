"""Folders of images that sweeps are made of."""

import pathlib

from PIL import Image

from training.sweeps import regimes

_SIZES = ((40, 60), (90, 30), (37, 37))


def write_images(
    folder: pathlib.Path, count: int, color: tuple, mode: str = "RGB"
) -> None:
    """Writes images of one color and of several shapes."""
    folder.mkdir(parents=True)
    for number in range(count):
        size = _SIZES[number % len(_SIZES)]
        shade = color if mode == "RGB" else color[0]
        Image.new(mode, size, shade).save(folder / f"{number}.png")


def regime(folder: pathlib.Path, **changes) -> regimes.Regime:
    """Returns a regime of a small sweep of a folder."""
    return regimes.of_data(
        f"folder:{folder}",
        **{"classes": 2, "image_size": 28, "batch_size": 4, **changes},
    )


def write(folder: pathlib.Path, *parts: str, images: int = 10) -> None:
    """Writes parts of a set of two classes, of red and of gray images."""
    for part in parts:
        write_images(folder / part / "a", images, (200, 0, 0))
        write_images(folder / part / "b", images, (90, 90, 90), mode="L")
