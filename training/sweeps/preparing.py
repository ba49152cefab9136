"""What is read of a data set before a sweep trains: its size, and its arrays.

Both is done by `convert.py`, in a process of its own, since the data layer is
TensorFlow's and workers need not be.
"""

from collections.abc import Mapping
from typing import Any

from training.sweeps import regimes
from training.sweeps.regimes import Regime


def regime(
    base: Regime | None, given: Mapping[str, Any], data_dir: str
) -> Regime:
    """Returns a regime of which some fields are given, and others data say.

    Args:
      base: has the fields that are not given; None for those of a small sweep
        of a data set.
      given: fields by name, `dataset` among them where there is no base.
      data_dir: see `options.Options`.

    Raises:
      ValueError: if a field has a value that it may not have, or there is no
        such data set.
    """
    dataset = given.get("dataset", base and base.dataset)
    if base and dataset == base.dataset:
        return regimes.changed(base, **given)
    raise NotImplementedError(data_dir)
