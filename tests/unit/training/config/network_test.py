"""Tests of the network of a run and of what it starts from."""

import os
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import training_testing
from training.config import network as network_lib

_TINY = training_testing.TINY


class WeightsWithoutClassifierTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.config = training_testing.tiny_config(folder)
        self.path = os.path.join(folder, "body")
        self.body = keras_regnet.RegNet(
            _TINY, include_top=False, input_shape=(32, 32, 3)
        )

    def save(self, suffix):
        path = self.path + suffix
        if suffix == ".safetensors":
            keras_regnet.weights.export(self.body, path, format="pycls")
        elif suffix == ".keras":
            self.body.save(path)
        else:
            self.body.save_weights(path)
        return path

    @parameterized.parameters(".keras", ".weights.h5", ".safetensors")
    def test_the_classifier_stays_fresh(self, suffix):
        path = self.save(suffix)
        with self.assertLogs("absl", "WARNING") as logs:
            resolved = network_lib.resolve(path, _TINY, "abc")
        self.assertIn("has no classifier", "".join(logs.output))
        model = network_lib.build(self.config, resolved.config, 3, resolved)
        self.assertEqual(model.output_shape, (None, 3))
        *ours, kernel, bias = model.weights
        for one, other in zip(ours, self.body.weights, strict=True):
            np.testing.assert_array_equal(one, other, one.path)
        self.assertEqual((kernel.shape, bias.shape), ((16, 3), (3,)))
        self.assertGreater(np.abs(kernel).max(), 0)

    def test_without_classes_there_is_nothing_to_start(self):
        with self.assertRaisesRegex(ValueError, "has no classifier"):
            network_lib.resolve(self.save(".keras"), _TINY)


class ClassesOfWeightsTest(parameterized.TestCase):
    """Weights whose classes have names meet a data set of as many."""

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.config = training_testing.tiny_config(str(self.folder))
        self.donor = keras_regnet.RegNet(
            _TINY, input_shape=(32, 32, 3), classes=3
        )
        self.run_folder = self.folder / "run"
        self.run_folder.mkdir()
        self.donor.save(self.run_folder / "model.keras")
        labels = self.run_folder / "saved_model" / "labels.txt"
        labels.parent.mkdir()
        labels.write_text("ant\nbee\ncat\n")

    def start(self, weights, class_names):
        """Returns whether the classifier is the donor's, and what was said."""
        with self.assertLogs("absl", "WARNING") as logs:
            # There is nothing to say where all is as it was.
            network_lib.logging.warning("-")
            resolved = network_lib.resolve(str(weights), _TINY, class_names)
        model = network_lib.build(
            self.config, resolved.config, len(class_names), resolved
        )
        *ours, kernel, _ = model.get_weights()
        *theirs, own_kernel, _ = self.donor.get_weights()
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        is_theirs = kernel.shape == own_kernel.shape and bool(
            (kernel == own_kernel).all()
        )
        return is_theirs, "\n".join(logs.output[1:])

    @parameterized.parameters("run", "run/model.keras", "copy.keras")
    def test_other_names(self, name):
        path = self.folder / name
        if name == "copy.keras":
            self.donor.save(path)
            path.with_suffix(".labels.txt").write_text("ant\nbee\ncat\n")
        self.assertEqual(self.start(path, ("ant", "bee", "cat")), (True, ""))
        for names, said in (
            (("ant", "bee", "dog"), "new: 'dog'; missing: 'cat'"),
            (("cat", "bee", "ant"), "in another order"),
            (("Ant", "bee", "cat"), "in another case: 'Ant' was 'ant'"),
        ):
            is_theirs, logged = self.start(path, names)
            self.assertFalse(is_theirs)
            self.assertIn(f"as many other classes ({said})", logged)

    def test_fewer_and_more(self):
        for names in (("ant", "bee"), ("ant", "bee", "cat", "dog")):
            is_theirs, logged = self.start(self.run_folder, names)
            self.assertFalse(is_theirs)
            self.assertIn(f"classifies 3 classes and the model {len(names)}",
                          logged)  # fmt: skip

    def test_without_names(self):
        path = self.folder / "bare.keras"
        self.donor.save(path)
        for weights, names in (
            (path, ("x", "y", "z")),
            (self.run_folder, ("0", "1", "2")),
        ):
            is_theirs, logged = self.start(weights, names)
            self.assertTrue(is_theirs)
            self.assertIn("they go by index", logged)


if __name__ == "__main__":
    absltest.main()
