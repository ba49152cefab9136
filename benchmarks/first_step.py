"""Times what comes before the second step of training: build, trace, first run.

    python benchmarks/first_step.py --variant=RegNetX-400MF
    TF_ENABLE_ONEDNN_OPTS=0 python benchmarks/first_step.py

Seconds of the processor and of the clock; on a busy machine read the former.
"""

import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

from absl import app
from absl import flags

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Also when run from another working directory.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import keras
import tensorflow as tf

from keras_regnet import processor

_VARIANT = flags.DEFINE_string("variant", "RegNetX-400MF", "The network.")
_SIZE = flags.DEFINE_integer("size", 224, "Height and width of the images.", 1)
_BATCH = flags.DEFINE_integer("batch_size", 8, "Images of a step.", 1)


class _Table:
    """Prints a row for each part, with the seconds that it took."""

    def __init__(self) -> None:
        print(f"{'part':12}{'processor':>10}{'clock':>8}")
        # The processor's clock runs since the process began.
        print(f"{'import':12}{time.process_time():10.2f}")
        self._last = time.process_time(), time.perf_counter()

    def measured(self, part: str, work: Callable[[], Any]) -> Any:
        """Does some work, prints its row, and returns its result."""
        result = work()
        now = time.process_time(), time.perf_counter()
        cpu, clock = (b - a for a, b in zip(self._last, now, strict=True))
        self._last = now
        print(f"{part:12}{cpu:10.2f}{clock:8.2f}", flush=True)
        return result


def _build() -> keras.Model:
    shape = (_SIZE.value, _SIZE.value, 3)
    model = keras_regnet.build(_VARIANT.value, input_shape=shape)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def main(argv: list[str]) -> None:
    """Prints the table."""
    del argv
    table = _Table()
    model = table.measured("build", _build)
    images = tf.zeros((_BATCH.value, _SIZE.value, _SIZE.value, 3))
    labels = tf.zeros((_BATCH.value,), tf.int32)
    step = tf.function(lambda *batch: model.train_step(batch))
    traced = table.measured(
        "trace", lambda: step.get_concrete_function(images, labels)
    )
    for part in ("first run", "second run"):
        table.measured(part, lambda: traced(images, labels)["loss"].numpy())
    print(f"operations: {len(traced.graph.get_operations())}")
    print(f"setting: {processor.setting()}")


if __name__ == "__main__":
    app.run(main)
