"""Records for tests: trials that nobody trained."""

import dataclasses
import json
import re

import numpy as np

from keras_regnet.config import AnyNetConfig
from keras_regnet.design_space import records

RECORD = records.Record(
    trial_id="0",
    space="RegNetX",
    index=0,
    seed=1,
    regime="digits",
    config=AnyNetConfig(
        (1, 2), (16, 32), bottleneck_ratios=2, group_widths=8
    ).to_json(),
    depth=3,
    flops=1_000_000,
    params=20_000,
    activations=30_000,
    status="done",
    error=40.0,
    train_losses=[2.0, 1.5],
    train_errors=[80.0, 60.0],
    test_errors=[70.0, 40.0],
    test_images=[100, 1000],
    seconds=12.5,
)
FAILED = dataclasses.replace(
    RECORD, status="failed", error=None, reason="loss is nan in epoch 1"
)


def trial(**changes) -> records.Trial:
    """Returns the trial of `RECORD`, with other values of some fields."""
    names = [field.name for field in dataclasses.fields(records.Trial)]
    fields = {name: getattr(RECORD, name) for name in names}
    return records.Trial(**{**fields, **changes})


def record_of(trial: records.Trial, **changes) -> records.Record:
    """Returns the record of another trial with the outcome of `RECORD`."""
    return dataclasses.replace(RECORD, **vars(trial), **changes)


def population(space: str, count: int, mean: float, seed: int = 0):
    """Returns finished trials whose errors scatter around a mean."""
    rng = np.random.default_rng(seed)
    return [
        dataclasses.replace(
            RECORD,
            trial_id=f"{space}-{index}",
            space=space,
            index=index,
            depth=int(rng.integers(4, 30)),
            flops=int(rng.integers(1_000_000, 1_500_000)),
            error=round(float(rng.normal(mean, 3)), 2),
        )
        for index in range(count)
    ]


def page_data(page: str) -> dict:
    """Returns what a page's scripts read."""
    text = re.search(
        r'<script id="data" type="application/json">(.*?)</script>', page
    )[1]
    return json.loads(text)


def rows(page: str) -> list[dict]:
    """Returns the trials that a page holds, with the configurations' JSON."""
    data = page_data(page)
    found = []
    for number, row in enumerate(data["rows"]):
        values = dict(zip(data["columns"], row, strict=True))
        values["space"] = data["spaces"][values["space"]]["name"]
        kind, own = data["configs"]["rows"][number]
        rest = iter(own)
        config = {
            name: next(rest) if common is None else common[0]
            for name, common in data["configs"]["kinds"][kind]
        }
        found.append({**values, "config": json.dumps(config)})
    return found
