"""Where the tensors are in what `torch.load` returns.

Each project wraps its state dict in another way; all known ways are named
here, and there is no search. No PyTorch here.
"""

import warnings
from collections.abc import Mapping
from typing import Any

# Keys under which a state dict lies: pycls; timm, Lightning; DeiT and others.
_WRAPPERS = ("model_state", "state_dict", "model")
# ClassyVision and VISSL keep body and classifier apart, three levels down.
_CLASSY_PATH = ("classy_state_dict", "base_model", "model")
_CLASSY_PARTS = ("trunk", "heads")
# What PyTorch's data parallelism puts before every name.
_PARALLEL_PREFIX = "module."
# Where pycls, timm and torchvision keep a second, averaged set of weights.
_AVERAGES = ("ema_state", "state_dict_ema", "model_ema")


def state_dict(checkpoint: Any) -> dict[str, Any]:
    """Returns the tensors of a checkpoint by name.

    Example:
    >>> import numpy as np
    >>> list(state_dict({"model_state": {"a": np.zeros(1)}, "epoch": 3}))
    ['a']
    """
    inner = _unwrap(checkpoint)
    if not isinstance(inner, Mapping) or not inner:
        raise _unknown(checkpoint)
    if not all(isinstance(name, str) for name in inner):
        raise _unknown(checkpoint)
    if not all(hasattr(value, "shape") for value in inner.values()):
        raise _unknown(checkpoint)
    _mention_averages(checkpoint)
    if all(name.startswith(_PARALLEL_PREFIX) for name in inner):
        return {
            name.removeprefix(_PARALLEL_PREFIX): value
            for name, value in inner.items()
        }
    return dict(inner)


def _unwrap(checkpoint):
    if not isinstance(checkpoint, Mapping):
        return None
    if _CLASSY_PATH[0] in checkpoint:
        inner = checkpoint
        for key in _CLASSY_PATH:
            inner = inner.get(key, {}) if isinstance(inner, Mapping) else {}
        return _merge(inner)
    for key in _WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            return _merge(checkpoint[key])
    return _merge(checkpoint)


def _merge(inner):
    """Joins ClassyVision's two parts; their names differ."""
    if not isinstance(inner, Mapping):
        return None
    if not all(isinstance(inner.get(p), Mapping) for p in _CLASSY_PARTS):
        return inner
    return {
        name: value
        for part in _CLASSY_PARTS
        for name, value in inner[part].items()
    }


def _mention_averages(checkpoint):
    for key in _AVERAGES:
        if isinstance(checkpoint.get(key), Mapping):
            warnings.warn(
                f"The checkpoint also holds averaged weights, under {key!r}, "
                "which were not loaded: to have them, save them alone.",
                stacklevel=2,
            )


def _unknown(checkpoint):
    found = type(checkpoint).__name__
    if isinstance(checkpoint, Mapping):
        found = ", ".join(map(repr, list(checkpoint)[:5])) or "nothing"
    wrappers = ", ".join(map(repr, (*_WRAPPERS, _CLASSY_PATH[0])))
    return ValueError(
        "It holds no state dict, neither bare nor under one of the keys "
        f"{wrappers}. Found: {found}."
    )
