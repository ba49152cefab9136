"""Training here has the losses of the same training in PyTorch.

`oracles/make_training_losses.py` wrote them: the same weights, batches and
optimizer. The trainer's own step and optimizer run here.
"""

import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import paths
from tests.support import training_parity
from tests.support import training_testing
from training.config import recipes
from training.trainer import optimizer as train_optimizer
from training.trainer import state as state_lib
from training.trainer import step as train_step

_LOSSES = dict(np.load(paths.DATA / "torch_training.npz"))


# In single precision two programs part, on each processor elsewhere: training
# amplifies rounding. Double precision is held over whole schedules, to the
# rounding of the learning rate, which Keras's optimizers keep in single.
_FLOAT32_STEPS = 5


class TrainingParityTest(parameterized.TestCase):
    @parameterized.product(block=("x", "y"), run=training_parity.RUNS)
    def test_double_precision(self, block, run):
        keras.config.set_dtype_policy("float64")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        expected = _LOSSES[f"{block} {run.name}"]
        self.assertGreater(np.ptp(expected), 0.1)
        np.testing.assert_allclose(
            self._losses(block, run), expected, rtol=1e-7
        )

    @parameterized.product(block=("x", "y"), run=training_parity.RUNS)
    def test_single_precision(self, block, run):
        run = run._replace(steps=_FLOAT32_STEPS)
        expected = _LOSSES[f"{block} {run.name}"][:_FLOAT32_STEPS]
        np.testing.assert_allclose(
            self._losses(block, run), expected, rtol=1e-4
        )

    def _losses(self, block, run):
        """Returns the loss of every step, by the trainer's own parts."""
        model = keras_regnet.RegNet(
            keras_regnet.RegNetConfig(
                **training_parity.LINE,
                block=block,
                stem_width=training_parity.STEM_WIDTH,
            ),
            input_shape=(training_parity.IMAGE_SIZE,) * 2 + (3,),
            classes=training_parity.CLASSES,
        )
        for variable in model.weights:
            variable.assign(
                training_parity.weight(variable.path, tuple(variable.shape))
            )
        config = self._config(run)
        strategy = tf.distribute.get_strategy()
        optimizer = train_optimizer.make(
            config, training_parity.STEPS_PER_EPOCH, model.trainable_variables
        )
        state = state_lib.TrainState(strategy, model, optimizer)
        step = train_step.TrainStep(strategy, state, config)
        batches = iter(self._batches(run))
        losses = []
        for _ in range(run.steps):
            start = tf.zeros([len(train_step.TRAIN_SUMS)], tf.float64)
            sums, _ = step.run(batches, tf.constant(1), start)
            losses.append(float(sums[0]) / training_parity.BATCH_SIZE)
        return losses

    def _config(self, run):
        """Returns the paper's recipe at the run's rate and length."""
        paper = recipes.paper()
        return training_testing.tiny_config(
            self.enterContext(tempfile.TemporaryDirectory()),
            optimizer=paper.optimizer,
            lr_in_velocity=paper.lr_in_velocity,
            schedule=paper.schedule,
            per_epoch_schedule=paper.per_epoch_schedule,
            warmup_factor=paper.warmup_factor,
            weight_decay=paper.weight_decay,
            decay_norm_and_bias=paper.decay_norm_and_bias,
            base_learning_rate=run.peak,
            base_batch_size=training_parity.BATCH_SIZE,
            global_batch_size=training_parity.BATCH_SIZE,
            epochs=run.epochs,
            warmup_epochs=float(run.warmup_epochs),
        )

    def _batches(self, run):
        images, labels = zip(
            *map(training_parity.batch, range(run.steps)), strict=True
        )
        return tf.data.Dataset.from_tensor_slices(
            (np.stack(images), np.stack(labels))
        )


if __name__ == "__main__":
    absltest.main()
