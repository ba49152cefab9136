"""How good the predictions of several labels an image are.

Pure functions of NumPy arrays. As in scikit-learn, a class is predicted from
the threshold on, precision is 0 where nothing is predicted, and the average
precision is a sum over all thresholds, without interpolation. Classes that no
image has are left out of means over classes.
"""

import dataclasses

import numpy as np

_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Metrics of predictions; all but loss and thresholds in percent.

    Args:
      images: how many.
      loss: binary cross-entropy, mean over images and classes.
      map: mean average precision, the mean of `class_ap`.
      precision: of all labels that are predicted at the threshold.
      recall: of all labels.
      f1: of these two.
      macro_f1: mean of `class_f1`.
      threshold: probability from which a class is predicted.
      best_threshold: that with the best `f1`.
      best_f1: the `f1` that it has.
      class_images: int array (classes,), the images of each class.
      class_ap: float array (classes,), NaN for classes without images, as all
        that follow.
      class_precision: as `precision`.
      class_recall: as `recall`.
      class_f1: as `f1`.
      class_best_threshold: as `best_threshold`.
      class_best_f1: as `best_f1`.
    """

    images: int
    loss: float
    map: float
    precision: float
    recall: float
    f1: float
    macro_f1: float
    threshold: float
    best_threshold: float
    best_f1: float
    class_images: np.ndarray
    class_ap: np.ndarray
    class_precision: np.ndarray
    class_recall: np.ndarray
    class_f1: np.ndarray
    class_best_threshold: np.ndarray
    class_best_f1: np.ndarray


def compute(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float
) -> Metrics:
    """Returns the metrics of predictions.

    Args:
      probabilities: float array (images, classes), each class by itself.
      labels: array (images, classes) of zeros and ones.
      threshold: probability from which a class is predicted.

    Raises:
      ValueError: if no image has a label.
    """
    labels = _checked(labels)
    class_images = labels.sum(axis=0)
    there = class_images > 0
    predicted = probabilities >= threshold
    precision, recall, f1 = _scores(predicted, labels, axis=0)
    micro = _scores(predicted, labels)
    curves = list(_curves(probabilities, labels))
    best = [_per_class(curves, lambda *c, i=i: best_f1(*c)[i]) for i in (0, 1)]
    micro_best = best_f1(*_curve(probabilities.ravel(), labels.ravel()))
    ap = _per_class(curves, average_precision)
    absent = np.where(there, 1.0, np.nan)
    return Metrics(
        images=len(labels),
        loss=_loss(probabilities, labels),
        map=float(np.nanmean(ap)),
        precision=float(micro[0]),
        recall=float(micro[1]),
        f1=float(micro[2]),
        macro_f1=float(f1[there].mean()),
        threshold=threshold,
        best_threshold=micro_best[0],
        best_f1=micro_best[1],
        class_images=class_images,
        class_ap=ap,
        class_precision=precision * absent,
        class_recall=recall * absent,
        class_f1=f1 * absent,
        class_best_threshold=best[0],
        class_best_f1=best[1],
    )


def summary(
    logits: np.ndarray, labels: np.ndarray, threshold: float
) -> dict[str, float]:
    """Returns what a run reports of an epoch, as `Metrics` has it.

    Args:
      logits: float32 array (images, classes).
      labels: array (images, classes) of zeros and ones.
      threshold: probability from which a class is predicted.
    """
    # In float32, as the model that is exported computes them.
    probabilities = sigmoid(logits.astype(np.float32))
    labels = _checked(labels)
    ap = _per_class(_curves(probabilities, labels), average_precision)
    precision, recall, f1 = _scores(probabilities >= threshold, labels)
    wide = logits.astype(np.float64)
    losses = np.logaddexp(0, wide) - wide * labels
    return {
        "loss": float(losses.mean()),
        "map": float(np.nanmean(ap)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "threshold": threshold,
    }


def _checked(labels):
    """Returns labels as booleans, of which there must be one."""
    labels = np.asarray(labels) > 0
    if not labels.any():
        raise ValueError("No image for evaluation has a label.")
    return labels


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of logits."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def _loss(probabilities, labels):
    own = np.where(labels, probabilities, 1 - probabilities.astype(np.float64))
    return float(-np.log(np.maximum(own, _SMALLEST)).mean())


def _scores(predicted, labels, axis=None):
    """Returns precision, recall and F1 in percent, 0 where undefined."""
    hits = (predicted & labels).sum(axis)
    counts, images = predicted.sum(axis), labels.sum(axis)
    return tuple(
        100 * (above / np.maximum(below, 1))
        for above, below in (
            (hits, counts),
            (hits, images),
            (2 * hits, counts + images),
        )
    )


def _curves(scores, labels):
    """Yields the curve of each class, None of one without images."""
    for own, given in zip(scores.T, labels.T, strict=True):
        yield _curve(own, given) if given.any() else None


def _curve(scores, labels):
    """Returns hits and predictions at each threshold, from the largest on.

    Returns:
      Thresholds, the labels that are at least as probable, and all that are.
    """
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    # Equal scores are predicted together.
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    return scores[last], np.cumsum(labels)[last], last + 1


def _per_class(curves, function):
    return np.array(
        [np.nan if curve is None else function(*curve) for curve in curves]
    )


def average_precision(
    thresholds: np.ndarray, hits: np.ndarray, predicted: np.ndarray
) -> float:
    """Returns the sum of precision times the gain in recall, in percent.

    Args:
      thresholds: from the largest to the smallest.
      hits: labels with a score of at least each threshold.
      predicted: scores of at least each threshold.
    """
    del thresholds
    gains = np.diff(hits, prepend=0) / hits[-1]
    return 100 * float(np.sum(gains * (hits / predicted)))


def best_f1(
    thresholds: np.ndarray, hits: np.ndarray, predicted: np.ndarray
) -> tuple[float, float]:
    """Returns the threshold with the best F1, and that in percent.

    It is midway to the next score: all between are as good, on these images.
    Arguments as of `average_precision`.
    """
    f1 = 2 * hits / (predicted + hits[-1])
    best = int(f1.argmax())
    below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
    middle = (float(thresholds[best]) + float(below)) / 2
    return middle, 100 * float(f1[best])
