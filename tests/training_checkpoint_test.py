"""Tests of checkpoints: whole or absent, and of the right model."""

import errno
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import training_testing  # noqa: F401, puts training/ on the path
from absl.testing import absltest
from absl.testing import parameterized

from training import checkpoint


def model_and_optimizer(width=3, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input([4])
    x = keras.layers.Dense(width, name="a")(inputs)
    x = keras.layers.Dropout(0.5, name="b")(x)
    x = keras.layers.BatchNormalization(name="c")(x)
    model = keras.Model(inputs, x)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def values(model, optimizer):
    return [v.numpy() for v in (*model.variables, *optimizer.variables)]


def state(epoch, best_epoch=1):
    return checkpoint.State(epoch, 10 * epoch, best_epoch, ({"a": 0.1},))


class CheckpointTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder) / "checkpoints"

    def save(self, epoch, keep=2, best_epoch=1, **arguments):
        return checkpoint.save(
            self.folder,
            *model_and_optimizer(**arguments),
            state(epoch, best_epoch),
            keep,
        )

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def test_everything_comes_back(self):
        model, optimizer = model_and_optimizer(seed=1)
        for variable in (*model.variables, *optimizer.variables):
            variable.assign(variable + 7)
        checkpoint.save(self.folder, model, optimizer, state(3), keep=1)
        # Another object in the same process has other Keras names.
        other = model_and_optimizer(seed=2)
        found = checkpoint.newest(self.folder)
        checkpoint.restore(found, *other)
        self.assertEqual(found.state, state(3))
        for expected, value in zip(
            values(model, optimizer), values(*other), strict=True
        ):
            np.testing.assert_array_equal(expected, value)

    def test_none_yet(self):
        self.assertIsNone(checkpoint.newest(self.folder))

    def test_keeps_the_newest_and_the_best(self):
        for epoch in range(1, 6):
            self.save(epoch, keep=2, best_epoch=min(epoch, 2))
        self.assertEqual(
            self.names(),
            ["epoch-00002.npz", "epoch-00004.npz", "epoch-00005.npz"],
        )

    @parameterized.parameters("cut", "flipped", "empty")
    def test_falls_back_from_a_torn_one(self, fault):
        self.save(1)
        path = self.save(2)
        contents = bytearray(path.read_bytes())
        if fault == "cut":
            contents = contents[: len(contents) // 2]
        elif fault == "flipped":
            contents[200] ^= 0xFF
        else:
            contents = b""
        path.write_bytes(contents)
        with self.assertLogs("absl", "WARNING") as logs:
            found = checkpoint.newest(self.folder)
        self.assertEqual(found.state.epoch, 1)
        self.assertIn("epoch-00002.npz", logs.output[0])

    def test_refuses_to_begin_again_over_torn_checkpoints(self):
        self.save(1).write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "No checkpoint .* can be read"):
            checkpoint.newest(self.folder)

    def test_a_full_disk_leaves_the_old_one_whole(self):
        self.save(1)
        full = OSError(errno.ENOSPC, "No space left on device")
        with (
            mock.patch.object(checkpoint.os, "fsync", side_effect=full),
            self.assertRaisesRegex(OSError, "No space.*epoch-00002.npz"),
        ):
            self.save(2)
        self.assertEqual(self.names(), ["epoch-00001.npz"])
        self.assertEqual(checkpoint.newest(self.folder).state.epoch, 1)

    def test_another_model(self):
        self.save(1, width=5)
        with self.assertRaisesRegex(
            ValueError, r"another model.*epoch-00001.npz.*\(4, 5\) for \(4, 3\)"
        ):
            checkpoint.restore(
                checkpoint.newest(self.folder), *model_and_optimizer()
            )

    def test_a_missing_variable(self):
        self.save(1)
        model, optimizer = model_and_optimizer()
        smaller = keras.Model(model.input, model.get_layer("a").output)
        with self.assertRaisesRegex(ValueError, "5 variables.*model/b"):
            checkpoint.restore(
                checkpoint.newest(self.folder), smaller, optimizer
            )


if __name__ == "__main__":
    absltest.main()
