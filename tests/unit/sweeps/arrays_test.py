import dataclasses
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from training.sweeps import arrays as arrays_lib
from training.sweeps import regimes

_REGIME = regimes.get("synthetic")


def _image(side):
    """Every pixel has a value of its own."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([rows, columns, rows * 0], -1).astype(np.uint8)


class AugmentTest(parameterized.TestCase):
    def test_is_a_shift_and_a_flip(self):
        images = np.repeat(_image(32)[None], 200, 0)
        regime = dataclasses.replace(_REGIME, shift=4)
        seen = set()
        for out in arrays_lib.augment(images, regime, np.random.default_rng(0)):
            self.assertEqual(out.shape, (32, 32, 3))
            center = out[12:20, 12:20].astype(int)
            flipped = center[0, 0, 1] > center[0, 1, 1]
            if flipped:
                out = out[:, ::-1]
                center = out[12:20, 12:20].astype(int)
            down = int(center[0, 0, 0]) - 12
            right = int(center[0, 0, 1]) - 12
            expected = np.empty((40, 40, 3), np.uint8)
            expected[:] = (124, 116, 104)
            expected[4:36, 4:36] = _image(32)
            expected = expected[down + 4 : down + 36, right + 4 : right + 36]
            np.testing.assert_array_equal(out, expected)
            seen.add((down, right, flipped))
        self.assertEqual({d for d, _, _ in seen}, set(range(-4, 5)))
        self.assertEqual({r for _, r, _ in seen}, set(range(-4, 5)))
        self.assertEqual({f for _, _, f in seen}, {True, False})

    def test_cuts_from_larger_images(self):
        images = np.repeat(_image(40)[None], 100, 0)
        regime = dataclasses.replace(_REGIME, shift=0, flip=False)
        out = arrays_lib.augment(images, regime, np.random.default_rng(0))
        for image in out:
            top, left = image[0, 0, :2]
            np.testing.assert_array_equal(
                image, _image(40)[top : top + 32, left : left + 32]
            )
        self.assertEqual(out[:, 0, 0, 0].max(), 8)

    def test_crops_of_random_area(self):
        image = np.repeat(_image(40)[None], 300, 0)
        regime = dataclasses.replace(_REGIME, crop="area", flip=False)
        out = arrays_lib.augment(image, regime, np.random.default_rng(0))
        self.assertEqual(out.shape, (300, 32, 32, 3))
        high, wide = (
            np.ptp(out[..., axis].astype(int), axis=(1, 2)) / 40
            for axis in (0, 1)
        )
        self.assertBetween((high * wide).min(), 0.03, 0.12)
        self.assertGreater((high * wide).max(), 0.85)
        self.assertGreater((high / wide).max(), 1.2)
        self.assertGreater((wide / high).max(), 1.2)

    def test_nothing_to_do(self):
        images = np.repeat(_image(32)[None], 3, 0)
        regime = dataclasses.replace(_REGIME, shift=0, flip=False)
        out = arrays_lib.augment(images, regime, np.random.default_rng(0))
        np.testing.assert_array_equal(out, images)


class ChunksTest(absltest.TestCase):
    def test_train_epoch(self):
        arrays = arrays_lib.load(_REGIME, "")
        regime = dataclasses.replace(_REGIME, batch_size=5, steps_per_call=4)
        rng = np.random.default_rng(0)
        chunks = list(arrays_lib.train_chunks(arrays, regime, rng))
        shapes = [labels.shape for _, labels in chunks]
        self.assertEqual(shapes, [(4, 5), (2, 5)])
        self.assertEqual(chunks[0][0].shape, (4, 5, 32, 32, 3))
        labels = np.concatenate([labels.ravel() for _, labels in chunks])
        counts = np.bincount(labels)
        self.assertLessEqual(counts.max(), 8)
        self.assertEqual(counts.sum(), 30)
        other = next(arrays_lib.train_chunks(arrays, regime, rng))
        self.assertFalse(np.array_equal(other[1], chunks[0][1]))

    def test_test_images_keep_their_order(self):
        arrays = arrays_lib.load(_REGIME, "")
        regime = dataclasses.replace(_REGIME, test_batch_size=6)
        ((images, labels),) = arrays_lib.test_chunks(arrays, regime, 10)
        self.assertEqual(labels.shape, (2, 6))
        np.testing.assert_array_equal(
            labels.ravel()[:10], arrays.test_labels[:10]
        )
        np.testing.assert_array_equal(labels.ravel()[10:], [-1, -1])
        np.testing.assert_array_equal(
            images.reshape(-1, 32, 32, 3)[:10], arrays.test_images[:10]
        )

    def test_center(self):
        images = np.repeat(_image(40)[None], 8, 0)
        arrays = arrays_lib.Arrays(None, None, images, np.zeros(8, np.int32))
        ((cut, _),) = arrays_lib.test_chunks(arrays, _REGIME, 8)
        np.testing.assert_array_equal(cut[0, 0], _image(40)[4:36, 4:36])


class DataTest(absltest.TestCase):
    def test_stratified(self):
        labels = np.random.default_rng(1).integers(0, 4, 400)
        chosen = arrays_lib.stratified(labels, 40, seed=0)
        self.assertLen(set(chosen.tolist()), 40)
        self.assertEqual(np.bincount(labels[chosen]).tolist(), [10] * 4)
        again = arrays_lib.stratified(labels, 40, seed=0)
        np.testing.assert_array_equal(chosen, again)
        other = arrays_lib.stratified(labels, 40, seed=1)
        self.assertFalse(np.array_equal(chosen, other))

    def test_stratified_refuses_a_rest(self):
        with self.assertRaisesRegex(ValueError, "multiple of.*2.*images=3"):
            arrays_lib.stratified(np.array([0, 1] * 5), 3, seed=0)

    def test_digits(self):
        arrays = arrays_lib.load(regimes.get("digits"), "")
        self.assertEqual(arrays.train_images.shape, (1437, 32, 32, 3))
        blocks = arrays.test_images.reshape(360, 8, 4, 8, 4, 3)
        self.assertEqual(np.ptp(blocks, axis=(2, 4)).max(), 0)

    def test_digits_of_another_size_and_number(self):
        regime = dataclasses.replace(
            regimes.get("digits"),
            image_size=16,
            train_images=100,
            val_fraction=0.2,
        )
        arrays = arrays_lib.load(regime, "")
        self.assertEqual(arrays.train_images.shape, (100, 16, 16, 3))
        self.assertEqual(np.bincount(arrays.train_labels).tolist(), [10] * 10)
        self.assertEqual(arrays.val_images.shape[1:], (16, 16, 3))
        whole = arrays_lib.load(regimes.get("digits"), "")
        np.testing.assert_array_equal(
            arrays.test_images, whole.test_images[:, ::2, ::2]
        )

    def test_synthetic_classes_can_be_told_apart(self):
        arrays = arrays_lib.load(_REGIME, "")
        means = arrays.train_images.mean((1, 2, 3))
        order = np.argsort(means)
        self.assertTrue((np.diff(arrays.train_labels[order]) >= 0).all())

    def test_arrays_of_photos_stay_on_the_disk(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        target = folder / "data" / "imagenet2012"
        target.mkdir(parents=True)
        for name in arrays_lib.NAMES[:4]:
            np.save(target / f"{name}.npy", np.arange(3))
        arrays = arrays_lib.load(regimes.get("imagenet"), folder)
        self.assertIsInstance(arrays.train_images, np.memmap)
        self.assertIsNone(arrays.val_images)
        self.assertIs(arrays.evaluated()[0], arrays.test_images)
        self.assertFalse(arrays.test_held_out)
        np.save(target / "test_held_out.npy", True)
        arrays = arrays_lib.load(regimes.get("imagenet"), folder)
        self.assertTrue(arrays.test_held_out)

    def test_held_out_of_a_set_that_is_made(self):
        regime = dataclasses.replace(_REGIME, val_fraction=0.25)
        arrays = arrays_lib.load(regime, "")
        whole = arrays_lib.load(_REGIME, "")
        self.assertEqual(np.bincount(arrays.val_labels).tolist(), [2] * 4)
        self.assertEqual(np.bincount(arrays.train_labels).tolist(), [6] * 4)
        both = np.concatenate([arrays.train_images, arrays.val_images])
        self.assertLen(np.unique(both, axis=0), len(whole.train_images))
        np.testing.assert_array_equal(arrays.test_images, whole.test_images)
        ((_, seen),) = arrays_lib.test_chunks(arrays, regime, 8)
        np.testing.assert_array_equal(seen.ravel(), arrays.val_labels)
        ((_, seen),) = arrays_lib.test_chunks(arrays.for_test(), regime, 8)
        np.testing.assert_array_equal(seen.ravel(), arrays.test_labels[:8])


class ImportsTest(absltest.TestCase):
    def test_no_framework_by_itself(self):
        """A sweep runs where there is no TensorFlow."""
        folder = pathlib.Path(arrays_lib.__file__).parent
        for name in (
            "../sweep",
            "analysis",
            "arrays",
            "commands",
            "crops",
            "driver",
            "files",
            "latencies",
            "local_pool",
            "messages",
            "options",
            "picking",
            "pool",
            "preparing",
            "ray_pool",
            "regimes",
            "spec",
            "steps_jax",
            "steps_torch",
            "trial",
            "trial_queue",
            "worker_main",
        ):
            text = (folder / f"{name}.py").read_text()
            self.assertNotRegex(text, r"(?m)^\s*(import|from) tensorflow")


if __name__ == "__main__":
    absltest.main()
