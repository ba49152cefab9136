"""Writes tests/data/kimm.keras and kimm_outputs.npy: a network of kimm.

Run in an environment of its own, with keras 3, tensorflow and kimm 0.2.5:

    python tests/oracles/make_kimm.py

The network is smaller than those of kimm's list. Images are normalised
outside, because kimm divides them by the square root of the deviation.
Weights are multiples of 1/32, which a zip file makes small.
"""

import pathlib
import tempfile
import zipfile
import zlib

import numpy as np
from kimm.models import regnet

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


# Two stages, the first as wide as the stem.
NETWORK = dict(w0=32, wa=4.0, wm=1.25, group_size=8, depth=3, se_ratio=0.25)


def value(path, shape):
    """Returns the value of a weight, which depends on its name alone."""
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    kind = path.split("/")[-1]
    if kind in ("gamma", "moving_variance"):
        values = rng.uniform(0.5, 1.5, shape)
    elif kind == "kernel":
        values = rng.normal(0, (1.5 / np.prod(shape[:-1])) ** 0.5, shape)
    else:
        values = rng.normal(0, 0.2, shape)
    return np.round(values * 32) / 32


def main():
    # kimm has no builder of any size that it could load again.
    for name, number in NETWORK.items():
        setattr(regnet.RegNetY002, name, number)
    model = regnet.RegNetY002(
        weights=None,
        include_preprocessing=False,
        classes=5,
        classifier_activation=None,
    )
    for variable in model.weights:
        variable.assign(value(variable.path, variable.shape))
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 33, 3), "u1")
    outputs = model.predict((images - MEAN) / STD, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/saved.keras")
        saved = zipfile.ZipFile(f"{folder}/saved.keras")
        packed = zipfile.ZipFile(
            DATA / "kimm.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9
        )
        with saved, packed:
            for name in saved.namelist():
                packed.writestr(name, saved.read(name))
    np.save(DATA / "kimm_outputs.npy", outputs)
    print(outputs)


if __name__ == "__main__":
    main()
