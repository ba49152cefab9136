"""From the outputs of a classifier to the names of its classes."""

import numbers
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_regnet import class_names as names_lib
from keras_regnet import imagenet


class Prediction(NamedTuple):
    """One class of an image.

    Args:
      class_id: WordNet's id of a class of ImageNet, else the number of the
        output.
      name: of the class.
      probability: from 0 to 1.
    """

    class_id: str
    name: str
    probability: float


def decode_predictions(
    predictions: Any, top: int = 5, class_names: Sequence[str] | None = None
) -> list[list[Prediction]]:
    """Returns the names of the most probable classes of each image.

    Outputs outside of 0..1 are logits, of which the softmax is taken.
    Probabilities stay as they are, also where each class has one of its own
    and they do not sum to 1.

    Args:
      predictions: array or tensor (batch, classes), what the model returned.
      top: how many classes to return for each image; all if there are fewer.
      class_names: name of each output, such as `model.class_names`; None for
        ImageNet's, of 1000 outputs or of ImageNet-12k's 11821.

    Returns:
      For each image a list of `Prediction`, tuples (class_id, name,
      probability), the most probable first.

    Raises:
      ValueError: if the shape is another, there are numbers that are not
        finite, or the names are not one for each output.

    Example:
    >>> decode_predictions([[0.1, 0.9]], top=1, class_names=("ant", "bee"))
    [[Prediction(class_id='1', name='bee', probability=0.9)]]
    >>> decode_predictions(np.eye(1000)[[207]], top=1)[0][0][:2]
    ('n02099601', 'golden_retriever')
    """
    outputs = _array(predictions)
    if not isinstance(top, numbers.Integral) or top is True or top < 1:
        raise ValueError(
            f"`top` must be an integer above 0. Received: top={top!r}"
        )
    ids, names = _classes(class_names, outputs.shape[1])
    return [
        [
            Prediction(ids[index], names[index], float(row[index]))
            for index in np.argsort(-row, kind="stable")[:top]
        ]
        for row in probabilities(outputs)
    ]


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Returns the softmax of logits; what is in 0..1 stays as it is.

    Args:
      outputs: (batch, classes); all are one or the other.

    Example:
    >>> probabilities(np.array([[0.0, 2.0]])).round(3).tolist()
    [[0.119, 0.881]]
    """
    if not outputs.size or (outputs.min() >= 0 and outputs.max() <= 1):
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _array(predictions):
    if keras.ops.is_tensor(predictions):
        predictions = keras.ops.convert_to_numpy(predictions)
    elif hasattr(predictions, "detach"):
        # PyTorch's, under another backend.
        predictions = predictions.detach().cpu()
    outputs = np.asarray(predictions)
    if outputs.ndim != 2 or not outputs.shape[1]:
        raise ValueError(
            "`predictions` must have the shape (batch, classes). "
            f"Received: shape={outputs.shape}"
        )
    # Of whatever type: the shortest decimal of float32 is kept.
    outputs = outputs.astype("float64")
    if not np.isfinite(outputs).all():
        raise ValueError(
            "`predictions` must be finite numbers. Received: "
            f"{np.count_nonzero(~np.isfinite(outputs))} that are not"
        )
    return outputs


def _classes(class_names, outputs):
    """Returns ids and names of so many outputs."""
    if class_names is None:
        known = imagenet.classes(outputs)
        if known is None:
            raise ValueError(
                "`class_names` must be given, such as model.class_names, "
                "where the outputs are not those of ImageNet "
                f"({' or '.join(map(str, imagenet.outputs_known()))}). "
                f"Received: class_names=None for {outputs} outputs"
            )
        return known.ids, known.names
    names = names_lib.checked(class_names, outputs)
    known = imagenet.classes_named(names)
    if known is not None:
        return known.ids, known.names
    return [str(index) for index in range(outputs)], names
