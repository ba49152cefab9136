"""What the trainer costs beside its model's step, and whether memory is flat.

    python benchmarks/trainer.py --variant=RegNetX-400MF --image_size=224

The model's step is Keras's own: forward, backward and optimizer on one batch
that lies ready. The trainer's is its whole loop on synthetic images: input
pipeline, metrics, progress, several calls. Both run by turns in one process.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

import tensorflow as tf
from absl import app
from absl import flags

# Run as a file, only its own folder is on the path.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from training import cluster as train_cluster
from training import config as train_config
from training import networks
from training import progress
from training import run as train_run
from training import strategy as train_strategy

_VARIANT = flags.DEFINE_string("variant", "RegNetX-400MF", "Network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_BATCH = flags.DEFINE_integer("batch_size", 16, "Images per step.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps per turn.")
_TURNS = flags.DEFINE_integer("turns", 5, "Turns of each.")
_MEMORY_STEPS = flags.DEFINE_integer(
    "memory_steps", 0, "Then run so many steps, and print the memory."
)


def make_run(folder: str) -> train_run.Run:
    """Returns a run on synthetic images that is ready to train."""
    config = train_config.TrainConfig(
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
    network = networks.network_config(config)
    strategy = train_strategy.make(config)
    run = train_run.Run(
        config,
        network,
        pathlib.Path(folder),
        strategy,
        train_cluster.Cluster(strategy),
    )
    run.begin(None)
    return run


def bare_step(run: train_run.Run):
    """Returns a function that runs steps of model and optimizer alone."""
    images = tf.random.uniform(
        [_BATCH.value, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3], 0, 255
    )
    labels = tf.range(_BATCH.value)
    logits = run.steps.logits
    variables = logits.trainable_variables
    optimizer = run.optimizer

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
                gradient + run.config.weight_decay * value
                for gradient, value in zip(gradients, values, strict=True)
            ]
            optimizer.apply(decayed, variables)

    return steps


def _seconds_per_step(function, count):
    begin = time.perf_counter()
    function(count)
    return (time.perf_counter() - begin) / count


def main(unused):
    """Prints both times per step, and the share of the difference."""
    del unused
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(folder)
        bare = bare_step(run)

        run.open_data()
        runs = {
            "model": lambda count: bare(tf.constant(count)),
            "trainer": run.train_steps,
        }
        times = {name: [] for name in runs}
        for turn in range(_TURNS.value + 1):
            for name, function in runs.items():
                seconds = _seconds_per_step(function, _STEPS.value)
                # The first turn traces.
                if turn:
                    times[name].append(seconds)
        medians = {n: statistics.median(values) for n, values in times.items()}
        for name, values in times.items():
            print(
                f"{name}: {1e3 * medians[name]:.1f} ms per step, median of "
                f"{len(values)} (least {1e3 * min(values):.1f})"
            )
        share = medians["trainer"] / medians["model"] - 1
        print(f"overhead: {100 * share:.1f} %")
        for done in range(0, _MEMORY_STEPS.value, 100):
            print(f"after {done} steps: {progress.memory_bytes() / 1e6:.1f} MB")
            run.train_steps(100)


if __name__ == "__main__":
    app.run(main)
