"""What is read of a data set before a sweep trains: its classes, its arrays.

Both is done by `convert.py`, in a process of its own: the data layer is
TensorFlow's, which a worker need not have.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from training.sweeps import arrays
from training.sweeps import regimes
from training.sweeps.regimes import Regime

_CONVERT = pathlib.Path(__file__).parent / "convert.py"
# Pixels by which small images are shifted, where nothing is said: 4 of 32.
_SHIFT = 8


def complete(
    base: Regime | None, given: Mapping[str, Any], data_dir: str
) -> Regime:
    """Returns a regime of fields that are given and of what the data say.

    Args:
      base: has the fields that are not given; None for those of a small sweep
        of a data set.
      given: fields by name, `dataset` among them where there is no base.
      data_dir: see `options.Options`.

    Raises:
      ValueError: if a field has a value that it may not have, or the data set
        is not there or not fit for it.
    """
    regime = _complete(base, given, data_dir)
    if given.get("test_images") and regime.dataset != "synthetic":
        raise ValueError(
            "`test_images` must be 0 but for synthetic images: of others all "
            f"are used. Received: test_images={regime.test_images} for "
            f"{regime.dataset}"
        )
    if regime.dataset in regimes.BUILT_IN:
        # Says what the set is not fit for; others are read to be stored.
        arrays.load(regime, "")
    return regime


def _complete(base, given, data_dir):
    if base and given.get("dataset", base.dataset) == base.dataset:
        return regimes.changed(base, **given)
    # Checked before the data are looked at.
    asked = _with(base, given, classes=2, data_digest="")
    if asked.dataset in regimes.BUILT_IN:
        said = {"classes": regimes.BUILT_IN[asked.dataset], "small": True}
    else:
        said = json.loads(_convert("describe", asked, data_dir, ""))
        print(said.pop("words"), flush=True)
    small = said.pop("small")
    if base is None and small:
        shift = max(1, asked.image_size // _SHIFT)
        given = {"shift": shift, **given}
    elif base is None:
        given = {"crop": "area", **given}
    return _with(base, given, **said)


def _with(base, given, **said):
    fields = {**given, **said}
    if base is None:
        return regimes.of_data(**fields)
    return regimes.changed(base, **fields)


def prepare(regime: Regime, folder: str | os.PathLike, data_dir: str) -> None:
    """Converts a regime's data set to arrays unless that was done before.

    A set of tensorflow-datasets that `data_dir` does not hold is fetched
    there; one that cannot be read is a ValueError.
    """
    target = arrays.path(regime, folder)
    if target is None or target.exists():
        return
    made = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _convert("store", regime, data_dir, str(target))
    except ValueError:
        if made:
            with contextlib.suppress(OSError):
                target.parent.rmdir()
        raise


def _check_folder(regime, data_dir):
    if ":" not in regime.dataset and not data_dir:
        raise ValueError(
            f"`data_dir` must be where tensorflow-datasets has "
            f"{regime.dataset!r} (images elsewhere are folder:PATH, "
            "shards:PATH or arrays:PATH.npz). "
            f"Received: data_dir={data_dir!r}"
        )
    if data_dir and not os.path.isdir(data_dir):
        raise ValueError(
            "`data_dir` must be an existing folder. "
            f"Received: data_dir={data_dir!r}"
        )


def _convert(task, regime, data_dir, target):
    """Runs the other process; returns the last line that it prints."""
    _check_folder(regime, data_dir)
    fields = json.dumps(regime.to_dict())
    command = [sys.executable, str(_CONVERT), task, fields, data_dir, target]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["it was killed"]
        raise ValueError(lines[-1].removeprefix("error: "))
    return result.stdout.strip().rpartition("\n")[2]
