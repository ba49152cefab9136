"""What the trainer costs beside its model's step, and whether memory is flat.

    python benchmarks/trainer.py --variant=RegNetX-400MF --image_size=224

The model's step is Keras's own: forward, backward and optimizer on one batch
that lies ready. The trainer's is its whole loop on synthetic images: input
pipeline, metrics, progress, several calls. Both run by turns in one process.
Then a run with a checkpoint and an evaluation every 100 steps is watched.
"""

import dataclasses
import os
import statistics
import sys
import tempfile
import time

# Run by path: modules are found from the checkout, not from this folder.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import keras
import tensorflow as tf
from absl import app
from absl import flags

from benchmarks import timing
from keras_regnet import processor
from training.config import config as train_config
from training.config import network as network_lib
from training.data import load
from training.trainer import checkpointing
from training.trainer import hooks
from training.trainer import loop
from training.trainer import preemption
from training.trainer import processes
from training.trainer import progress
from training.trainer import run as run_lib
from training.trainer import state as state_lib
from training.trainer import strategy as train_strategy
from training.trainer import train
from training.workdir import files

_VARIANT = flags.DEFINE_string("variant", "RegNetX-400MF", "Network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_BATCH = flags.DEFINE_integer("batch_size", 16, "Images per step.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps per turn.")
_TURNS = flags.DEFINE_integer("turns", 5, "Turns of each.")
_MEMORY_STEPS = flags.DEFINE_integer(
    "memory_steps", 0, "Then run so many steps, and note the memory."
)
_MEMORY_BATCH = flags.DEFINE_integer("memory_batch_size", 4, "For these.")
_OUTPUT = flags.DEFINE_string("output", "", "File for the record, JSON.")

_STEPS_PER_EPOCH = 100


class WatchMemory(hooks.Hooks):
    """Records the memory after every epoch, in `megabytes`."""

    def __init__(self):
        self.megabytes = []

    def after_epoch(self, state):
        """Records the memory in use."""
        del state
        self.megabytes.append(round(progress.memory_bytes() / 1e6, 1))

    def before_export(self, state):
        """Leaves the export out: what has learned noise is no use."""
        return False


def make_config(folder: str) -> train_config.TrainConfig:
    """Returns the timed run, on synthetic images.

    Args:
      folder: where it is kept.
    """
    return train_config.TrainConfig(
        strategy="one_device",
        variant=_VARIANT.value,
        dataset="synthetic",
        augmentation="none",
        image_size=_IMAGE_SIZE.value,
        global_batch_size=_BATCH.value,
        epochs=1000,
        workdir=folder,
        checkpoint_seconds=0.0,
    )


def make_loop(
    config: train_config.TrainConfig,
) -> tuple[loop.Loop, state_lib.TrainState, checkpointing.Checkpointer]:
    """Returns the parts of a run that is ready to train."""
    strategy = train_strategy.make(config)
    weights = network_lib.resolve("", network_lib.network_config(config))
    run = run_lib.Run(
        config=config,
        architecture=weights,
        folder=files.run_folder(config),
        strategy=strategy,
        processes=processes.Processes(strategy),
        data=load.load_dataset(config),
        hooks=hooks.Hooks(),
    )
    state, checkpointer = train.start(run, weights, None)
    stop = preemption.Preemption()
    return loop.Loop(run, state, checkpointer, stop), state, checkpointer


def bare_step(state: state_lib.TrainState, weight_decay: float):
    """Returns a function that runs steps of model and optimizer alone."""
    images = tf.random.uniform(
        [_BATCH.value, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3], 0, 255
    )
    labels = tf.range(_BATCH.value)
    logits = state.logits
    variables = logits.trainable_variables
    optimizer = state.optimizer

    @tf.function(jit_compile=False)
    def steps(count):
        for _ in tf.range(count):
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels, logits(images, training=True)
                )
                loss = tf.reduce_mean(losses)
            values = [variable.value for variable in variables]
            gradients = tape.gradient(loss, values)
            decayed = [
                gradient + weight_decay * value
                for gradient, value in zip(gradients, values, strict=True)
            ]
            optimizer.apply(decayed, variables)

    return steps


def measure_overhead(folder: str) -> dict[str, object]:
    """Returns milliseconds per step of model and trainer, and the overhead.

    Args:
      folder: for the run.
    """
    config = make_config(folder)
    training, state, checkpointer = make_loop(config)
    bare = bare_step(state, config.weight_decay)
    runs = {
        "model": lambda count: bare(tf.constant(count)),
        "trainer": training.train_steps,
    }
    times = {name: [] for name in runs}
    for turn in range(_TURNS.value + 1):
        for name, function in runs.items():
            seconds = _seconds_per_step(function, _STEPS.value)
            # The first turn traces.
            if turn:
                times[name].append(round(1e3 * seconds, 2))
    medians = {n: statistics.median(values) for n, values in times.items()}
    begin = time.perf_counter()
    checkpointer.save()
    return {
        "milliseconds_per_step": times,
        "median": medians,
        "overhead_percent": round(
            100 * (medians["trainer"] / medians["model"] - 1), 2
        ),
        "checkpoint_seconds": round(time.perf_counter() - begin, 2),
    }


def _seconds_per_step(function, count):
    begin = time.perf_counter()
    function(count)
    return (time.perf_counter() - begin) / count


def watch_memory(folder: str) -> list[float]:
    """Returns the megabytes in use after every 100 steps of a run.

    Args:
      folder: for the run.
    """
    batch = _MEMORY_BATCH.value
    config = dataclasses.replace(
        make_config(folder),
        global_batch_size=batch,
        num_train_examples=batch * _STEPS_PER_EPOCH,
        epochs=_MEMORY_STEPS.value // _STEPS_PER_EPOCH,
    )
    watch = WatchMemory()
    train.train_and_evaluate(config, watch)
    return watch.megabytes


def main(unused):
    """Measures, prints, and writes the record."""
    del unused
    record = {
        "command": " ".join(sys.argv),
        "cpu": timing.cpu_model(),
        "threads": timing.cpu_threads(),
        "setting": str(processor.setting()),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "variant": _VARIANT.value,
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH.value,
        "steps_per_turn": _STEPS.value,
    }
    with tempfile.TemporaryDirectory() as folder:
        record |= measure_overhead(f"{folder}/timed")
        for name, median in record["median"].items():
            print(f"{name}: {median:.1f} ms per step, median")
        print(f"overhead: {record['overhead_percent']:.1f} %", flush=True)
        if _MEMORY_STEPS.value:
            record["memory_batch_size"] = _MEMORY_BATCH.value
            record["megabytes_every_100_steps"] = watch_memory(
                f"{folder}/watched"
            )
            print("MB:", *record["megabytes_every_100_steps"])
        if _OUTPUT.value:
            timing.write_json(_OUTPUT.value, record)
    sys.stdout.flush()
    # The input pipelines' threads would sleep on.
    os._exit(0)


if __name__ == "__main__":
    app.run(main)
