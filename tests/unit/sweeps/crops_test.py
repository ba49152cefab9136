import numpy as np
import tensorflow as tf
from absl.testing import absltest

from training.data import decode
from training.sweeps import crops


class CropsTest(absltest.TestCase):
    def test_windows_are_the_trainers(self):
        """The same numbers give the same crops as the recipe `paper`."""
        shape = (50, crops.TRIES, crops.NUMBERS_PER_TRY)
        uniform = np.random.default_rng(0).random(shape).astype(np.float32)
        # Nothing fits into the last one.
        uniform[-1] = 0.9999
        found = crops.windows(uniform, 73, 0.08)
        tries = decode.crop_tries(tf.constant(uniform), 0.08, "uniform_swapped")
        for window, own in zip(found[:-1], tries[:-1], strict=True):
            expected = decode.crop_window(tf.constant([73, 73]), own)
            # Where a number of 32 bits lies next to an integer.
            np.testing.assert_allclose(window, expected, atol=1)
        np.testing.assert_array_equal(found[-1], [0, 0, 73, 73])

    def test_resized_as_the_trainer_does(self):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (40, 36, 36, 3)).astype(np.uint8)
        shape = (40, crops.TRIES, crops.NUMBERS_PER_TRY)
        windows = crops.windows(rng.random(shape), 36, 0.08)
        found = crops.resized(images, windows, 32)
        for image, window, own in zip(images, windows, found, strict=True):
            top, left, height, width = window
            part = image[top : top + height, left : left + width]
            expected = tf.image.resize(part, (32, 32)).numpy()
            self.assertLess(np.abs(own - expected).max(), 0.51)


if __name__ == "__main__":
    absltest.main()
