"""Tests of the weights of classes: counted, and read from files."""

import dataclasses
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import given
from hypothesis import strategies as st

from tests.support import training_testing
from training.config import config as train_config
from training.data import class_weights
from training.data import dataset

_NAMES = ("ant", "bee", "cat")


def _data(labels, names=_NAMES):
    pixels = np.zeros((len(labels), 8, 8, 3), np.uint8)
    split = dataset.in_memory(pixels, labels, "set")
    return dataset.DataSet(split, split, names, small_images=True)


class BalancedTest(parameterized.TestCase):
    def test_the_example_of_scikit_learn(self):
        """compute_class_weight("balanced", y=[1, 1, 1, 1, 0, 0])."""
        found = class_weights.of(
            _data([1, 1, 1, 1, 0, 0], ("no", "yes")),
            train_config.TrainConfig(class_weights="balanced"),
        )
        self.assertEqual(found, {"no": 1.5, "yes": 0.75})

    @given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
    def test_all_classes_count_alike_and_an_image_one_on_average(self, counts):
        counts = np.array(counts)
        names = tuple(map(str, range(len(counts))))
        of_classes = np.array(class_weights.balanced(counts, names)) * counts
        np.testing.assert_allclose(of_classes, of_classes[0], rtol=1e-12)
        self.assertAlmostEqual(of_classes.sum() / counts.sum(), 1)

    def test_what_cannot_be_counted(self):
        config = train_config.TrainConfig(class_weights="balanced")
        with self.assertRaisesRegex(ValueError, "Received: none of 'bee'"):
            class_weights.of(_data([0, 2, 2]), config)
        with self.assertRaisesRegex(ValueError, "more than once: 'ant'"):
            class_weights.of(_data([0, 1], ("ant", "ant")), config)
        several = dataclasses.replace(
            _data(np.eye(3, dtype=np.int32)), multilabel=True
        )
        with self.assertRaisesRegex(ValueError, "images of one label each"):
            class_weights.of(several, config)
        stream = dataset.Stream(3, lambda key: [], "zoo")
        with self.assertRaisesRegex(ValueError, "which --cache asks for"):
            class_weights.of(
                dataset.DataSet(stream, stream, _NAMES, False), config
            )

    def test_none(self):
        self.assertIsNone(
            class_weights.of(_data([0, 1, 2]), train_config.TrainConfig())
        )


class FileTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def read(self, name, text):
        path = pathlib.Path(self.folder) / name
        path.write_text(text, encoding="utf-8")
        config = training_testing.pipeline_config(class_weights=str(path))
        return class_weights.of(_data([0, 1, 2]), config)

    @parameterized.parameters(
        ("a.csv", "class,weight\ncat,0.5\nbee,2\nant,1e1\n"),
        ("a.csv", "\ufeffcat,0.5\r\n\r\nant,10\r\nbee, 2\r\n"),
        ("A.JSON", json.dumps({"cat": 0.5, "ant": 10, "bee": 2.0})),
    )
    def test_in_the_order_of_the_labels(self, name, text):
        found = self.read(name, text)
        self.assertEqual(list(found.items()), [("ant", 10), ("bee", 2),
                                               ("cat", 0.5)])  # fmt: skip

    @parameterized.parameters(
        ("a.csv", "ant,1\nbee,1\ncta,1\n", "Did you mean 'cat'.*'cta'"),
        ("a.csv", "ant,1\nbee,1\n", "for each class. Missing: 'cat'"),
        ("a.csv", "ant,1\nbee,1,2\ncat,1\n", r"a.csv.*\['bee', '1', '2'\]"),
        ("a.csv", "ant,1\nant,2\nbee,1\n", "named twice"),
        ("a.csv", "ant,1\nbee,x\ncat,1\n", "weight of 'bee' is not a number"),
        ("a.csv", "ant,1O\nbee,1\ncat,1\n", "'ant' is not a number: '1O'"),
        ("a.csv", "ant,1e39\nbee,1\ncat,1\n", "'ant' must be above 0"),
        ("a.json", '{"ant": 1e-300, "bee": 1, "cat": 1}', "'ant' must be"),
        ("a.json", f'{{"ant": 1{"0" * 400}, "bee": 1}}', "'ant' must be"),
        ("a.csv", "ant,1\nbee,-1\ncat,1\n", "'bee' must be above 0"),
        ("a.json", '{"ant": NaN, "bee": 1, "cat": 1}', "'ant' must be above"),
        ("a.json", '{"ant": true, "bee": 1, "cat": 1}', "not a number: True"),
        ("a.json", '{"ant": 1, "ant": 2}', "'ant' is named twice"),
        ("a.json", "[1, 2, 3]", "JSON object is needed"),
    )
    def test_what_is_wrong_with_a_file(self, name, text, message):
        with self.assertRaisesRegex(ValueError, f"`class_weights`.*{message}"):
            self.read(name, text)

    def test_no_file(self):
        config = training_testing.pipeline_config(class_weights="no.csv")
        with self.assertRaisesRegex(ValueError, "does not exist.*'no.csv'"):
            class_weights.of(_data([0, 1, 2]), config)

    def test_differences(self):
        old, new = {"ant": 1.0, "bee": 2.0}, {"ant": 1.0, "bee": 3.0}
        self.assertEmpty(class_weights.differences(old, dict(old)))
        self.assertEqual(
            class_weights.differences(old, new),
            ["class_weights: 'bee' 2.0 -> 3.0"],
        )


if __name__ == "__main__":
    absltest.main()
