"""Makes a folder of JPEGs for those who have no photos at hand."""

import pathlib
import shutil
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.harness import worker

_CLASSES = 4
_SIDES = (160, 213)
# A smooth picture of so many pixels a side, and noise upon it, have about as
# many bytes as a photo.
_COARSE = 12
_NOISE = 6


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Makes the folder; its path is a fact.

    Args:
      job: folder; count of images of each part and class.
    """
    path = pathlib.Path(job["folder"]) / f"photos-{job['count']}"
    if not path.exists():
        part = path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        _write(part, job["count"])
        part.rename(path)
    return worker.Prepared(dict, facts={"path": str(path)})


def _write(root, count):
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in range(_CLASSES):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                image = tf.io.encode_jpeg(_image(rng)).numpy()
                (folder / f"{number}.jpg").write_bytes(image)


def _image(rng):
    coarse = rng.uniform(0, 255, (1, _COARSE, _COARSE, 3))
    smooth = tf.image.resize(coarse, _SIDES, "bicubic")[0].numpy()
    noisy = smooth + rng.normal(0, _NOISE, smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
