"""Tests of shards, arrays, subsets, and of files that are no images."""

import dataclasses
import json
import os
import pathlib
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.config import config as train_config
from training.data import dataset
from training.data import load
from training.data import pipeline as data
from training.data import shards
from training.data import subset


def config_for(**fields):
    defaults = {"image_size": 32, "augmentation": "none", "flip": False,
                "epochs": 2, "global_batch_size": 4}  # fmt: skip
    return train_config.TrainConfig(**{**defaults, **fields})


def sources(split):
    if isinstance(split, dataset.Split):
        return list(split.sources().as_numpy_iterator())
    return [image for image, _ in split.examples(None).as_numpy_iterator()]


class InFolder(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.root = pathlib.Path(folder)
        self.photos = self.root / "photos"
        training_testing.write_folder(self.photos)
        self.files = {
            part: {
                path.read_bytes(): int(path.parent.name == "dog")
                for path in (self.photos / part).rglob("*.jpg")
            }
            for part in ("train", "val")
        }

    def break_one(self, part="train"):
        path = self.photos / part / "dog" / "3.jpg"
        path.write_bytes(path.read_bytes()[:300])
        return path


class ShardsTest(InFolder):
    def write_and_load(self, file_format, large):
        out = self.root / "shards"
        written = shards.write(
            self.photos, out, images_per_shard=5, file_format=file_format
        )
        self.assertEqual(written, {"train": 12, "val": 12, "skipped": 0})
        self.assertLen(list(out.glob(f"train-*-of-00003.{file_format}")), 3)
        limit = 0 if large else dataset.IN_MEMORY_BYTES
        with mock.patch.object(dataset, "IN_MEMORY_BYTES", limit):
            return load.load_dataset(config_for(dataset=f"shards:{out}"))

    @parameterized.product(file_format=shards.FORMATS, large=[True, False])
    def test_hold_what_the_folder_held(self, file_format, large):
        found = self.write_and_load(file_format, large)
        stream = large and file_format == "tfrecord"
        kind = dataset.Stream if stream else dataset.Split
        self.assertIsInstance(found.train, kind)
        self.assertEqual(found.class_names, ("cat", "dog"))
        for part, split in (("train", found.train), ("val", found.val)):
            self.assertCountEqual(sources(split), self.files[part])
        batches = data.train_pipeline(found, config_for())
        labels = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(np.bincount(labels), [12, 12])

    @parameterized.parameters(*shards.FORMATS)
    def test_hosts_read_disjoint_parts_of_all(self, file_format):
        found = self.write_and_load(file_format, large=True)
        config = config_for(global_batch_size=4, epochs=1)
        whole = list(data.train_pipeline(found, config).as_numpy_iterator())
        self.assertLen(whole, 3)
        parts = []
        for index in range(2):
            shard = data.Shard(index=index, count=2, batch_size=2)
            batches = data.train_pipeline(found, config, shard=shard)
            parts.append(list(batches.as_numpy_iterator()))
        for (images, labels), *of_hosts in zip(whole, *parts, strict=True):
            np.testing.assert_array_equal(
                images, np.concatenate([part[0] for part in of_hosts])
            )
            np.testing.assert_array_equal(
                labels, np.concatenate([part[1] for part in of_hosts])
            )
        # An epoch is every image once.
        epoch = [image.tobytes() for images, _ in whole for image in images]
        self.assertLen(set(epoch), 12)

    def test_array_records_by_index(self):
        found = self.write_and_load("array_record", large=True)
        self.assertFalse(found.train.in_memory)
        for index in (11, 0, 7):
            source, label = found.train.read(tf.constant(index, tf.int64))
            self.assertEqual(self.files["train"][source.numpy()], label)
            self.assertEqual(found.train.labels[index], label)
        out = self.root / "shards"
        (out / "train-labels.npy").write_bytes(b"no labels")
        with self.assertRaisesRegex(ValueError, "cannot be read.*train-labels"):
            load.load_dataset(config_for(dataset=f"shards:{out}"))
        np.save(out / "train-labels.npy", np.zeros(11, np.int32))
        with self.assertRaisesRegex(ValueError, "11 records.*Received: 12"):
            load.load_dataset(config_for(dataset=f"shards:{out}"))
        with self.assertRaisesRegex(ValueError, "Did you mean 'tfrecord'"):
            shards.write(self.photos, out, file_format="tfrecords")

    @parameterized.parameters(*shards.FORMATS)
    def test_labels_go_with_their_images(self, file_format):
        split = self.write_and_load(file_format, large=False).train
        for source, label in zip(sources(split), split.labels, strict=True):
            self.assertEqual(self.files["train"][source], label)
        # Shuffled: in a folder, all cats come first.
        self.assertNotEqual(list(split.labels), sorted(split.labels))

    def test_a_bad_image_is_named_or_left_out(self):
        path = self.break_one()
        out = self.root / "shards"
        with self.assertRaisesRegex(ValueError, str(path)):
            shards.write(self.photos, out)
        written = shards.write(self.photos, out, skip_bad_images=True)
        self.assertEqual(written, {"train": 11, "val": 12, "skipped": 1})
        found = load.load_dataset(config_for(dataset=f"shards:{out}"))
        self.assertNotIn(path.read_bytes(), sources(found.train))

    @parameterized.parameters(("train/cat", "read of 'cat'"), ("val", ".jpg"))
    def test_what_would_be_left_of_nothing(self, part, message):
        for path in (self.photos / part).rglob("*.jpg"):
            path.write_bytes(b"no image")
        out = self.root / "shards"
        with self.assertRaisesRegex(ValueError, message):
            shards.write(self.photos, out, skip_bad_images=True)
        self.assertEmpty(list(out.iterdir()))

    def test_a_bad_record_of_a_stream_is_named(self):
        out = self.root / "shards"
        shards.write(self.photos, out)
        with mock.patch.object(dataset, "IN_MEMORY_BYTES", 0):
            found = load.load_dataset(config_for(dataset=f"shards:{out}"))
        self.assertIsNone(dataset.find_unreadable(found.train, ()))
        stored = [tf.constant(source) for source in sources(found.train)]
        stored[7] = tf.constant(b"no image")
        broken = dataset.Stream(12, lambda key: [(s, 0) for s in stored], "zoo")
        self.assertRegex(dataset.find_unreadable(broken, ()), "record 7 of zoo")

    def test_what_is_missing(self):
        with self.assertRaisesRegex(ValueError, "Missing: .*shards.json"):
            load.load_dataset(config_for(dataset=f"shards:{self.root}"))
        out = self.root / "shards"
        shards.write(self.photos, out)
        with self.assertRaisesRegex(ValueError, "must be empty"):
            shards.write(self.photos, out)
        next(out.glob("val-*")).unlink()
        with self.assertRaisesRegex(ValueError, "shard is missing: .*val-0"):
            load.load_dataset(config_for(dataset=f"shards:{out}"))
        (out / "shards.json").write_text(json.dumps({"train": 3}))
        with self.assertRaisesRegex(ValueError, "Not a shards.json"):
            load.load_dataset(config_for(dataset=f"shards:{out}"))

    def test_a_shard_that_was_cut(self):
        out = self.root / "shards"
        shards.write(self.photos, out)
        (shard,) = out.glob("train-*")
        shard.write_bytes(shard.read_bytes()[:-100])
        with self.assertRaisesRegex(ValueError, "as it was written: .*train-"):
            load.load_dataset(config_for(dataset=f"shards:{out}"))

    def test_names_that_are_not_utf8(self):
        path = self.photos / "train" / "dog" / "0.jpg"
        path = path if path.exists() else next(path.parent.iterdir())
        path.rename(os.fsdecode(bytes(path.parent) + b"/caf\xe9.jpg"))
        written = shards.write(self.photos, self.root / "shards")
        self.assertEqual(written["train"], 12)
        path.parent.rename(os.fsdecode(bytes(self.photos) + b"/train/d\xe9"))
        with self.assertRaisesRegex(ValueError, "in UTF-8.*d.udce9"):
            load.load_dataset(
                config_for(dataset=f"folder:{self.photos}", val_fraction=0.5)
            )


class BadImagesTest(InFolder):
    def test_left_out_and_counted(self):
        path = self.break_one()
        (self.photos / "val" / "cat" / "1.jpg").write_text("no image")
        config = config_for(
            dataset=f"folder:{self.photos}", skip_bad_images=True
        )
        with self.assertLogs("absl", level="INFO") as logs:
            found = load.load_dataset(config)
        text = "\n".join(logs.output)
        self.assertIn(str(path), text)
        self.assertEqual(text.count("1 of 12 image files left out"), 2)
        self.assertEqual(found.train.num_examples, 11)
        for images, _ in data.train_pipeline(found, config):
            self.assertTrue(np.isfinite(images).all())

    def test_nothing_of_a_class_left(self):
        for path in (self.photos / "train" / "dog").rglob("*.jpg"):
            path.unlink()
            path.symlink_to("/nowhere.jpg")
        config = config_for(
            dataset=f"folder:{self.photos}", skip_bad_images=True
        )
        with self.assertRaisesRegex(ValueError, "each class.*'dog'"):
            load.load_dataset(config)

    def test_a_dead_link_is_left_out(self):
        path = self.photos / "train" / "dog" / "0.jpg"
        path.unlink(missing_ok=True)
        path.symlink_to("/nowhere.jpg")
        config = config_for(
            dataset=f"folder:{self.photos}", skip_bad_images=True
        )
        found = load.load_dataset(config)
        self.assertEqual(found.train.num_examples, 11)

    def test_nothing_left(self):
        for path in (self.photos / "val").rglob("*.jpg"):
            path.write_bytes(b"")
        config = config_for(
            dataset=f"folder:{self.photos}", skip_bad_images=True
        )
        with self.assertRaisesRegex(ValueError, "No image can be read"):
            load.load_dataset(config)

    def test_a_png_called_jpg_is_an_image(self):
        import io

        from PIL import Image

        file = io.BytesIO()
        Image.new("RGBA", (50, 40), (200, 10, 10, 128)).save(file, "png")
        (self.photos / "train" / "dog" / "3.jpg").write_bytes(file.getvalue())
        config = config_for(
            dataset=f"folder:{self.photos}", skip_bad_images=True,
            augmentation="random_resized_crop", global_batch_size=12,
        )  # fmt: skip
        found = load.load_dataset(config)
        self.assertEqual(found.train.num_examples, 12)
        (images, _), *_ = data.train_pipeline(found, config)
        flat = np.ptp(images.numpy(), axis=(1, 2)).max(-1) < 1
        self.assertEqual(flat.sum(), 1)
        np.testing.assert_allclose(images[flat][0, 0, 0], (200, 10, 10))


class SubsetsTest(InFolder):
    def used(self, count=100, **fields):
        noise = training_testing.noise_set(count, 8)
        return subset.select(noise, config_for(**fields))

    def test_a_number_of_images(self):
        found = self.used(num_train_examples=30)
        self.assertEqual(found.train.num_examples, 30)
        self.assertEqual(found.val.num_examples, 8)
        again = self.used(num_train_examples=30)
        np.testing.assert_array_equal(found.train.labels, again.train.labels)
        other = self.used(num_train_examples=30, seed=1)
        self.assertTrue((found.train.labels != other.train.labels).any())
        batches = data.train_pipeline(found, config_for())
        for images, labels in batches:
            index = images[:, 0, 0, 0].numpy() + 256 * images[:, 0, 0, 1]
            np.testing.assert_array_equal(index % 10, labels)

    def test_balanced(self):
        found = self.used(num_train_examples=34, balanced_subset=True)
        counts = np.bincount(found.train.labels)
        self.assertEqual(sorted(counts), [3] * 6 + [4] * 4)
        with self.assertRaisesRegex(ValueError, "class 5 with 5 images"):
            noise = training_testing.noise_set(100, 8)
            few = noise.train.subset(
                np.delete(np.arange(100), range(5, 50, 10))
            )
            subset.select(
                dataclasses.replace(noise, train=few),
                config_for(num_train_examples=95, balanced_subset=True),
            )

    def test_too_many(self):
        with self.assertRaisesRegex(
            ValueError, "num_train_examples=101, training images: 100"
        ):
            self.used(num_train_examples=101)

    def test_held_out(self):
        found = self.used(val_fraction=0.2)
        self.assertEqual(found.train.num_examples, 80)
        np.testing.assert_array_equal(np.bincount(found.val.labels), [2] * 10)
        both = [
            image[0, 0, 0] + 256 * image[0, 0, 1]
            for split in (found.train, found.val)
            for image in np.array(sources(split), int)
        ]
        self.assertEqual(sorted(both), list(range(100)))
        # For every seed the same.
        other = self.used(val_fraction=0.2, seed=5)
        np.testing.assert_array_equal(sources(found.val), sources(other.val))

    def test_shards_of_a_folder_without_val(self):
        out = self.root / "shards"
        with self.assertRaisesRegex(ValueError, "--val_fraction"):
            shards.write(self.photos / "train", out)
        written = shards.write(self.photos / "train", out, val_fraction=0.34)
        self.assertEqual(written, {"train": 8, "val": 4, "skipped": 0})
        found = load.load_dataset(config_for(dataset=f"shards:{out}"))
        both = sources(found.train) + sources(found.val)
        self.assertCountEqual(both, self.files["train"])

    def test_folders_without_train_and_val(self):
        config = config_for(
            dataset=f"folder:{self.photos / 'train'}", val_fraction=0.34
        )
        found = load.load_dataset(config)
        self.assertEqual(found.train.num_examples, 8)
        np.testing.assert_array_equal(found.val.labels, [0, 0, 1, 1])

    def test_cache_reads_no_file_again(self):
        found = load.load_dataset(
            config_for(dataset=f"folder:{self.photos}", cache=True)
        )
        for path in self.photos.rglob("*.jpg"):
            path.unlink()
        self.assertCountEqual(sources(found.train), self.files["train"])

    def test_streams(self):
        out = self.root / "shards"
        shards.write(self.photos, out)

        def loaded(**fields):
            config = config_for(dataset=f"shards:{out}", **fields)
            with mock.patch.object(dataset, "IN_MEMORY_BYTES", 0):
                return load.load_dataset(config)

        stored = sources(loaded().train)
        first = loaded(num_train_examples=5).train
        self.assertEqual(sources(first), stored[:5])
        balanced = loaded(num_train_examples=6, balanced_subset=True).train
        np.testing.assert_array_equal(np.bincount(balanced.labels), [3, 3])
        self.assertIsInstance(loaded(cache=True).train, dataset.Split)
        for fields in ({"val_fraction": 0.5}, {"skip_bad_images": True}):
            with self.assertRaisesRegex(ValueError, next(iter(fields))):
                loaded(**fields)


class ArraysTest(InFolder):
    def write(self, **arrays):
        path = self.root / "set.npz"
        np.savez(path, **arrays)
        return config_for(dataset=f"arrays:{path}")

    def arrays(self, shape=(28, 28)):
        rng = np.random.default_rng(0)
        return (
            rng.integers(0, 256, (12, *shape), np.uint8),
            np.arange(12) % 3,
            rng.integers(0, 256, (6, *shape), np.uint8),
            np.arange(6)[:, None] % 3,
        )

    @parameterized.parameters(((28, 28),), ((30, 40, 3),), ((28, 28, 1),))
    def test_keras_names(self, shape):
        x, y, x_test, y_test = self.arrays(shape)
        found = load.load_dataset(
            self.write(x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        )
        self.assertEqual(found.class_names, ("0", "1", "2"))
        self.assertTrue(found.small_images)
        stored = np.array(sources(found.train))
        self.assertEqual(stored.shape[-1], 3)
        expected = x if shape[2:] == (3,) else x.reshape(12, *shape[:2])
        np.testing.assert_array_equal(
            stored if shape[2:] == (3,) else stored[..., 1], expected
        )
        np.testing.assert_array_equal(found.val.labels, [0, 1, 2] * 2)

    @parameterized.parameters("U", "S")
    def test_our_names(self, dtype):
        x, y, *_ = self.arrays((80, 90, 3))
        config = self.write(
            train_images=x, train_labels=y, val_images=x, val_labels=y,
            class_names=np.array(["ant", "bee", "cow"], dtype),
        )  # fmt: skip
        found = load.load_dataset(config)
        self.assertEqual(found.class_names, ("ant", "bee", "cow"))
        self.assertFalse(found.small_images)

    def test_what_is_wrong(self):
        x, y, x_test, y_test = self.arrays()
        right = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
        for change, message in (
            ({"x_train": x / 255}, "must be uint8"),
            ({"x_train": x[0]}, "must have the shape"),
            ({"y_train": y[:3]}, "one integer for each image"),
            ({"y_train": y - 1}, "count from 0. Received: -1"),
            ({"class_names": np.array(["a"])}, "1 names and labels up to 2"),
            ({"x_train": np.array([{}] * 12)}, "plain arrays"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                load.load_dataset(self.write(**{**right, **change}))
        del right["x_test"]
        with self.assertRaisesRegex(
            ValueError, "--val_fraction=0.1 evaluates .*Missing: x_test"
        ):
            load.load_dataset(self.write(**right))
        with self.assertRaisesRegex(ValueError, "does not exist.*nowhere"):
            load.load_dataset(config_for(dataset="arrays:/nowhere.npz"))


if __name__ == "__main__":
    absltest.main()
