"""Which images are held out of training; no TensorFlow, as sweeps need it."""

import numpy as np

# The held-out images are the same for every seed: runs can be compared.
_SEED = 0


def held_out_of(
    labels: np.ndarray, classes: int, fraction: float
) -> np.ndarray:
    """Returns the indices of the images held out of each class, in order."""
    if labels.ndim == 2:
        return _held_out_of_several(labels, classes, fraction)
    rng = np.random.default_rng(_SEED)
    held_out = []
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        count = min(round(fraction * len(members)) or 1, len(members) - 1)
        held_out.append(rng.permutation(members)[: max(count, 0)])
    return np.sort(np.concatenate(held_out))


def _held_out_of_several(labels, classes, fraction):
    """Returns about a fraction of each class, of images of several labels.

    From the rarest class to the commonest, as many of its images that are not
    dealt yet as it lacks, at last of those without a label.

    Source:
      Sechidis et al., "On the Stratification of Multi-Label Data", ECML 2011.
    """
    rng = np.random.default_rng(_SEED)
    held_out = np.zeros(len(labels), bool)
    dealt = np.zeros(len(labels), bool)
    rarest_first = np.argsort(labels.sum(axis=0, dtype=int), kind="stable")
    groups = [labels[:, label] > 0 for label in rarest_first[:classes]]
    for group in (*groups, ~labels.any(axis=1)):
        total = int(group.sum())
        count = min(round(fraction * total) or 1, total - 1)
        left = rng.permutation(np.flatnonzero(group & ~dealt))
        held_out[left[: max(count - int((held_out & group).sum()), 0)]] = True
        dealt |= group
    return np.flatnonzero(held_out)
