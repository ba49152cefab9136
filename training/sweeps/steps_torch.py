"""Training steps of a trial on Keras's PyTorch backend, eagerly."""

import keras
import numpy as np
import torch


class Steps:
    """Training and evaluation of one model.

    As `steps_tensorflow.py`.

    Args:
      model: gives logits.
      momentum: Nesterov's.
      weight_decay: L2 on all trainable variables.
    """

    def __init__(
        self, model: keras.Model, momentum: float, weight_decay: float
    ):
        self._model = model
        self._parameters = [v.value for v in model.trainable_variables]
        self._device = self._parameters[0].device
        self._optimizer = torch.optim.SGD(
            self._parameters,
            lr=0.0,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=True,
        )

    def compile(
        self, batch_size: int, test_batch_size: int, image_size: int
    ) -> None:
        """Does nothing: PyTorch runs operation by operation."""

    def train(
        self, images: np.ndarray, labels: np.ndarray, lrs: np.ndarray
    ) -> tuple[float, int]:
        """Runs training steps; see `steps_tensorflow.py`."""
        total, hits = 0.0, 0
        for pixels, truth, lr in zip(images, labels, lrs, strict=True):
            self._optimizer.param_groups[0]["lr"] = float(lr)
            truth = self._tensor(truth).long()
            logits = self._model(self._tensor(pixels).float(), training=True)
            loss = torch.nn.functional.cross_entropy(logits, truth)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            total = total + loss.detach()
            hits = hits + (logits.argmax(-1) == truth).sum()
        return float(total), int(hits)

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Returns the number of hits; see `steps_tensorflow.py`."""
        hits = 0
        with torch.no_grad():
            for pixels, truth in zip(images, labels, strict=True):
                pixels = self._tensor(pixels).float()
                logits = self._model(pixels, training=False)
                hits = hits + (logits.argmax(-1) == self._tensor(truth)).sum()
        return int(hits)

    def _tensor(self, array):
        return torch.from_numpy(array).to(self._device)


def limit_threads(threads: int) -> None:
    """Sets how many cores an operation may use."""
    torch.set_num_threads(threads)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError)


def device() -> str:
    """Returns the kind of device that trials run on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "CPU"
