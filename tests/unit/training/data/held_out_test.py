"""Tests of the images that val_fraction holds out."""

import numpy as np
from absl.testing import absltest
from hypothesis import given
from hypothesis import strategies as st

from training.data import dataset
from training.data import subset
from training.data.held_out import held_out_of


class HeldOutTest(absltest.TestCase):
    @given(
        st.lists(st.integers(0, 4), min_size=1, max_size=60),
        st.floats(0.01, 0.9),
    )
    def test_a_fraction_of_each_class(self, labels, fraction):
        labels = np.array(labels)
        found = held_out_of(labels, 5, fraction)
        self.assertEqual(sorted(set(found)), list(found))
        held_out = np.bincount(labels[found], minlength=5)
        for count, held in zip(
            np.bincount(labels, minlength=5), held_out, strict=True
        ):
            if count < 2:
                self.assertEqual(held, 0)
            else:
                self.assertBetween(held, 1, count - 1)
                self.assertLessEqual(abs(held - fraction * count), 1)
        again = held_out_of(labels, 5, fraction)
        np.testing.assert_array_equal(found, again)

    def test_any_image_may_be_held_out(self):
        """Those of a folder are sorted, by name or by camera."""
        found = held_out_of(np.zeros(1000, int), 1, 0.2)
        np.testing.assert_allclose(found.mean(), 500, atol=60)
        np.testing.assert_allclose(found.std(), 289, atol=40)

    def test_a_class_of_one_image_is_said(self):
        labels = np.array([0, 0, 0, 1])
        split = dataset.in_memory(np.zeros((4, 8, 8, 3), np.uint8), labels, "")
        data = dataset.DataSet(split, split, ("ant", "bee"), True)
        with self.assertLogs("absl", "WARNING") as logs:
            found = subset.hold_out(data, 0.4)
        self.assertIn("1 of 2 classes have a single image", logs.output[0])
        self.assertIn("'bee'", logs.output[0])
        self.assertCountEqual(found.train.labels, [0, 0, 1])
        self.assertCountEqual(found.val.labels, [0])


if __name__ == "__main__":
    absltest.main()
