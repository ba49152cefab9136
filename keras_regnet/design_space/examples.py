"""A small population of real networks to try the statistics on."""

import csv
import pathlib

import numpy as np

from keras_regnet.config import RegNetConfig

_FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data"
_FILE = _FOLDER / "regnetx_400mf_25epochs.csv"


def imagenet_population() -> tuple[tuple[RegNetConfig, ...], np.ndarray]:
    """Returns 32 RegNetX of about 0.4 GF and their errors on ImageNet.

    They were trained for 25 epochs. Their w_0 are not multiples of 8, and they
    have 3 to 5 stages.

    Returns:
      Configurations, [32]; top-1 errors in percent, [32].

    Source:
      github.com/zhanghang1989/RegNet-Search-PyTorch (MIT), out_configs.

    Example:
    >>> configs, errors = imagenet_population()
    >>> len(configs), round(float(errors.min()), 2)
    (32, 34.98)
    """
    lines = _FILE.read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))
    configs = tuple(
        RegNetConfig(
            depth=int(row["depth"]),
            w_0=int(row["w_0"]),
            w_a=float(row["w_a"]),
            w_m=float(row["w_m"]),
            group_width=int(row["group_width"]),
            bottleneck_ratio=float(row["bottleneck_ratio"]),
        )
        for row in rows
    )
    return configs, 100 - np.array([float(row["top1"]) for row in rows])
