"""Tests of the data sets and the input pipeline."""

import pathlib
import shutil
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import image_files
from tests.support import image_corpus
from tests.support import training_testing
from training.config import config as train_config
from training.data import dataset
from training.data import load
from training.data import pipeline as data


def config_for(**fields):
    defaults = {
        "image_size": 32,
        "augmentation": "none",
        "flip": False,
        "epochs": 3,
        "global_batch_size": 8,
    }
    return train_config.TrainConfig(**{**defaults, **fields})


def indices_of(images):
    """Reads the index that `noise_set` keeps in the top left pixel."""
    images = np.asarray(images, np.int64)
    return images[:, 0, 0, 0] + 256 * images[:, 0, 0, 1]


def epochs_of(noise, config, **arguments):
    batches = data.train_pipeline(noise, config, **arguments)
    return np.concatenate(
        [indices_of(images) for images, _ in batches.as_numpy_iterator()]
    )


class OrderTest(parameterized.TestCase):
    def test_every_example_once_per_epoch(self):
        noise = training_testing.noise_set(400, 8)
        seen = epochs_of(noise, config_for()).reshape(3, 400)
        for epoch in seen:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(400))
        self.assertTrue((seen[0] != seen[1]).any())

    def test_what_is_left_over_changes(self):
        noise = training_testing.noise_set(14, 8)
        seen = epochs_of(noise, config_for(epochs=20)).reshape(20, 8)
        for epoch in seen:
            self.assertLen(set(epoch), 8)
        self.assertLen(set(seen.ravel()), 14)

    def test_seed_decides(self):
        noise = training_testing.noise_set(40, 8)
        first = epochs_of(noise, config_for())
        np.testing.assert_array_equal(first, epochs_of(noise, config_for()))
        other = epochs_of(noise, config_for(seed=1))
        self.assertTrue((first != other).any())

    def test_starts_at_any_step(self):
        noise = training_testing.noise_set(40, 8)
        config = config_for(augmentation="pad_crop", flip=True)
        whole = list(data.train_pipeline(noise, config).as_numpy_iterator())
        rest = list(data.train_pipeline(noise, config, 7).as_numpy_iterator())
        self.assertLen(rest, 8)
        for expected, found in zip(whole[7:], rest, strict=True):
            np.testing.assert_array_equal(expected[0], found[0])

    @parameterized.parameters(2, 4)
    def test_shards_make_up_the_batches(self, count):
        noise = training_testing.noise_set(40, 8)
        whole = epochs_of(noise, config_for()).reshape(-1, 8)
        size = 8 // count
        parts = [
            epochs_of(
                noise, config_for(), shard=data.Shard(index, count, size)
            ).reshape(-1, size)
            for index in range(count)
        ]
        # All images of an epoch, each of them in one share.
        epoch = np.concatenate([part[:5].ravel() for part in parts])
        np.testing.assert_array_equal(np.sort(epoch), np.arange(40))
        np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))

    def test_labels_belong_to_their_images(self):
        noise = training_testing.noise_set(40, 8)
        for images, labels in data.train_pipeline(noise, config_for()):
            np.testing.assert_array_equal(indices_of(images) % 10, labels)

    def test_repeated_augmentation(self):
        """Four images, each twice in a batch; half of the set an epoch."""
        noise = training_testing.noise_set(40, 8)
        config = config_for(repeated_augmentation=2, augmentation="pad_crop")
        batches = data.train_pipeline(noise, config)
        for images, labels in batches.as_numpy_iterator():
            np.testing.assert_array_equal(labels[:4], labels[4:])
            self.assertTrue((images[:4] != images[4:]).any())
        config = config_for(repeated_augmentation=2)
        seen = epochs_of(noise, config).reshape(3, 5, 8)
        np.testing.assert_array_equal(seen[..., :4], seen[..., 4:])
        for epoch in seen[..., :4].reshape(3, 20):
            self.assertLen(set(epoch), 20)

    def test_mixed_batches_start_at_any_step(self):
        noise = training_testing.noise_set(40, 8)
        config = config_for(
            mixup_alpha=0.2, cutmix_alpha=1.0, repeated_augmentation=2,
            auto_augment="randaugment", randaugment_layers=1,
            random_erasing=0.25,
        )  # fmt: skip
        whole = list(data.train_pipeline(noise, config).as_numpy_iterator())
        rest = list(data.train_pipeline(noise, config, 7).as_numpy_iterator())
        for expected, found in zip(whole[7:], rest, strict=True):
            np.testing.assert_array_equal(expected[0], found[0])
            np.testing.assert_array_equal(expected[1], found[1])
        _, targets = whole[0]
        self.assertEqual(targets.shape, (8, 10))
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)

    @parameterized.parameters(
        (
            {"augmentation": "random_resized_crop"},
            [74, 150, 111, 122, 122, 92, 85, 121],
            [5, 1, 8, 2, 9, 1, 2, 1],
        ),
        (
            {"augmentation": "pad_crop"},
            [104.219, 78.504, 98.328, 118.248, 113.525, 87.309, 85.254,
             106.641],
            [5, 1, 8, 2, 9, 1, 2, 1],
        ),
        (
            {"augmentation": "random_resized_crop",
             "crop_aspect": "log_uniform", "pca_lighting_std": 0.1,
             "auto_augment": "randaugment", "random_erasing": 0.5,
             "mixup_alpha": 0.2, "cutmix_alpha": 1.0,
             "repeated_augmentation": 2},
            [85.926, 157.857, 95.449, 104.819, 96.031, 105.526, 83.388,
             96.748],
            [3, 7, 5, 3, 3, 7, 5, 3],
        ),
    )  # fmt: skip
    def test_a_step_sees_what_it_always_saw(self, fields, means, labels):
        """Runs resume as they began, whichever version began them."""
        ramp = np.arange(32)[:, None] * 4 + np.arange(32) * 2
        images = np.arange(40)[:, None, None, None] + ramp[None, :, :, None]
        images = np.repeat(images.astype(np.uint8), 3, axis=-1)
        split = dataset.in_memory(images, np.arange(40) % 10, "ramps")
        ramps = dataset.DataSet(split, split, tuple("0123456789"), True)
        config = config_for(seed=7, flip=True, **fields)
        ((images, targets),) = data.train_pipeline(ramps, config, 11).take(1)
        np.testing.assert_allclose(
            images.numpy().mean((1, 2, 3)), means, atol=2e-3
        )
        if targets.shape.rank == 2:
            targets = np.argmax(targets, axis=1)
        np.testing.assert_array_equal(targets, labels)

    @parameterized.parameters(1, 8, 21)
    def test_evaluation_sees_everything_once(self, num_val):
        noise = training_testing.noise_set(8, num_val)
        batches = list(data.eval_pipeline(noise, config_for()))
        weights = np.concatenate([weights for _, _, weights in batches])
        seen = np.concatenate([indices_of(images) for images, _, _ in batches])
        self.assertEqual(len(weights) % 8, 0)
        np.testing.assert_array_equal(seen[weights == 1], np.arange(num_val))
        self.assertEqual(weights.sum(), num_val)

    def test_batch_larger_than_the_set(self):
        noise = training_testing.noise_set(7, 8)
        with self.assertRaisesRegex(
            ValueError, "global_batch_size=8, training images: 7"
        ):
            data.train_pipeline(noise, config_for())


class TfdsTest(parameterized.TestCase):
    """A miniature of a set, in several files, as tensorflow-datasets has it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Traces the decoder of all formats, once for all pipelines.
        png = image_corpus.encode(image_corpus.photo(), "png")
        image_files.decode(tf.constant(png))
        import tensorflow_datasets as tfds

        class MiniPhotos(tfds.core.GeneratorBasedBuilder):
            """JPEGs of different sizes."""

            VERSION = tfds.core.Version("1.0.0")
            pkg_dir_path = pathlib.Path(__file__).parent

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(
                        {
                            "image": tfds.features.Image(shape=(None, None, 3)),
                            "label": tfds.features.ClassLabel(num_classes=40),
                        }
                    ),
                )

            def _split_generators(self, dl_manager):
                del dl_manager
                return {
                    "train": self._generate_examples(40),
                    "validation": self._generate_examples(21),
                }

            def _generate_examples(self, count):
                for index in range(count):
                    image = np.full((40 + index, 50, 3), index, np.uint8)
                    yield index, {"image": image, "label": index}

        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.records = cls.enterClassContext(tempfile.TemporaryDirectory())
        for folder, file_format in (
            (cls.folder, "tfrecord"),
            (cls.records, "array_record"),
        ):
            builder = MiniPhotos(data_dir=folder, file_format=file_format)
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(num_shards=4)
            )

    def setUp(self):
        super().setUp()
        # As in a run, where even 0 is a seed that is set.
        keras.utils.set_random_seed(0)

    def load(self, in_memory=True):
        limit = dataset.IN_MEMORY_BYTES if in_memory else 0
        with mock.patch.object(dataset, "IN_MEMORY_BYTES", limit):
            found = load.load_dataset(
                config_for(dataset="mini_photos", data_dir=self.folder)
            )
        kind = dataset.Split if in_memory else dataset.Stream
        self.assertIsInstance(found.train, kind)
        return found

    def labels(self, found, config, **arguments):
        batches = data.train_pipeline(found, config, **arguments)
        return np.array([labels for _, labels in batches])

    @parameterized.parameters(True, False)
    def test_array_records(self, in_memory):
        limit = dataset.IN_MEMORY_BYTES if in_memory else 0
        self.enterContext(mock.patch.object(dataset, "IN_MEMORY_BYTES", limit))
        fields = {"dataset": "mini_photos", "data_dir": self.records}
        found = load.load_dataset(config_for(**fields))
        self.assertEqual(found.train.in_memory, in_memory)
        config = config_for(epochs=2)
        labels = self.labels(found, config).reshape(2, 40)
        for epoch in labels:
            self.assertCountEqual(epoch, range(40))
        self.assertNotEqual(list(labels[0]), list(labels[1]))
        self.assertEqual(found.val.num_examples, 21)
        balanced = {"balanced_subset": True, "num_train_examples": 40}
        if in_memory:
            load.load_dataset(config_for(**fields, **balanced))
            return
        # Labels are in the records alone.
        for needs in ({"val_fraction": 0.5}, balanced):
            with self.assertRaisesRegex(ValueError, "--cache asks for.*record"):
                load.load_dataset(config_for(**fields, **needs))

    @parameterized.parameters(True, False)
    def test_every_example_once_per_epoch(self, in_memory):
        found = self.load(in_memory)
        seen = self.labels(found, config_for()).reshape(3, 40)
        for epoch in seen:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(40))
        self.assertTrue((seen[0] != seen[1]).any())

    @parameterized.parameters(True, False)
    def test_evaluation(self, in_memory):
        batches = list(data.eval_pipeline(self.load(in_memory), config_for()))
        weights = np.concatenate([batch[2] for batch in batches])
        labels = np.concatenate([batch[1] for batch in batches])
        self.assertLen(weights, 24)
        np.testing.assert_array_equal(
            np.sort(labels[weights == 1]), np.arange(21)
        )

    def test_a_stream_starts_at_any_step(self):
        found = self.load(in_memory=False)
        whole = self.labels(found, config_for())
        rest = self.labels(found, config_for(), start_step=7)
        np.testing.assert_array_equal(whole[7:], rest)

    @parameterized.parameters(0, 1)
    def test_a_stream_is_shared(self, index):
        found = self.load(in_memory=False)
        whole = self.labels(found, config_for())
        part = self.labels(found, config_for(), shard=data.Shard(index, 2, 4))
        np.testing.assert_array_equal(np.split(whole, 2, axis=1)[index], part)

    def test_a_stream_repeats_images_as_a_split_does(self):
        config = config_for(repeated_augmentation=2)
        labels = self.labels(self.load(in_memory=False), config)
        np.testing.assert_array_equal(labels[:, :4], labels[:, 4:])
        for epoch in labels[:, :4].reshape(3, 20):
            self.assertLen(set(epoch), 20)
        rest = self.labels(self.load(in_memory=False), config, start_step=7)
        np.testing.assert_array_equal(labels[7:], rest)

    def test_samples(self):
        for in_memory in (True, False):
            images = dataset.sample_images(self.load(in_memory).val, 3)
            self.assertLen(images, 3)
            self.assertEqual(images[0].dtype, np.uint8)


class FolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.root = pathlib.Path(folder) / "set"
        training_testing.write_folder(self.root)

    def load(self):
        return load.load_dataset(config_for(dataset=f"folder:{self.root}"))

    def test_classes_and_images(self):
        found = self.load()
        self.assertEqual(found.class_names, ("cat", "dog"))
        self.assertEqual(found.train.num_examples, 12)
        self.assertFalse(found.small_images)
        (images, labels), *_ = data.train_pipeline(
            found, config_for(global_batch_size=12)
        )
        self.assertEqual(images.shape, (12, 32, 32, 3))
        self.assertEqual(labels.numpy().sum(), 6)

    def test_files_of_systems_are_not_looked_at(self):
        train = self.root / "train"
        for name in (".DS_Store", "Thumbs.db", "desktop.ini",
                     "1.jpg:Zone.Identifier"):  # fmt: skip
            (train / name).write_text("")
            (train / "cat" / name).write_text("")
        for folder in (train / "__MACOSX" / "cat", train / ".ipynb",
                       train / "cat" / "__MACOSX"):  # fmt: skip
            folder.mkdir(parents=True)
            (folder / "._1.jpg").write_text("")
        found = self.load()
        self.assertEqual(found.class_names, ("cat", "dog"))
        self.assertEqual(found.train.num_examples, 12)

    def test_folders_in_class_folders_belong_to_the_class(self):
        before = [self.load().train.describe(i) for i in range(12)]
        dog = self.root / "train" / "dog"
        (dog / "a" / "b").mkdir(parents=True)
        shutil.copy(dog / "0.jpg", dog / "a" / "b" / "9.JPG")
        elsewhere = self.root.parent / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(dog / "0.jpg", elsewhere / "8.jpeg")
        (dog / "link").symlink_to(elsewhere)
        (dog / "loop").symlink_to(dog)
        found = self.load().train
        np.testing.assert_array_equal(np.bincount(found.labels), [6, 8])
        paths = [found.describe(i) for i in range(14)]
        self.assertEqual([p for p in paths if p in before], before)
        self.assertIn(str(dog / "link" / "8.jpeg"), paths)

    def test_every_name_of_an_image_file(self):
        cat = self.root / "train" / "cat"
        pixels = image_corpus.photo()
        for name, kind in (
            ("a.webp", "webp"), ("b.PNG", "png"), ("c.bmp", "bmp"),
            ("d.gif", "gif"), ("e.jfif", "jpeg"), ("f.jpg", "webp"),
        ):  # fmt: skip
            (cat / name).write_bytes(image_corpus.encode(pixels, kind))
        found = self.load().train
        np.testing.assert_array_equal(np.bincount(found.labels), [12, 6])
        self.assertIsNone(dataset.find_unreadable(found, range(18)))

    @parameterized.parameters("latin-1 \udce9.jpg", "Bäume.jpg")
    def test_names_of_any_encoding(self, name):
        path = self.root / "train" / "cat" / name
        shutil.copy(self.root / "train" / "cat" / "0.jpg", path)
        found = self.load().train
        index = [found.describe(i) for i in range(13)].index(str(path))
        self.assertEqual(found.read(index)[0].numpy(), path.read_bytes())

    def test_class_folders_may_be_links(self):
        shutil.move(self.root / "train" / "cat", self.root.parent / "elsewhere")
        (self.root / "train" / "cat").symlink_to(self.root.parent / "elsewhere")
        found = self.load().train
        np.testing.assert_array_equal(np.bincount(found.labels), [6, 6])

    def test_missing_folder(self):
        shutil.rmtree(self.root)
        with self.assertRaisesRegex(ValueError, "does not exist.*set"):
            self.load()

    @parameterized.parameters("train", "val")
    def test_missing_part(self, part):
        shutil.rmtree(self.root / part)
        with self.assertRaisesRegex(
            ValueError, f"--val_fraction.*Missing: .*{part}"
        ):
            self.load()

    @parameterized.parameters(
        ("Training", "valid"), ("train", "validation"), ("TRAIN", "Val")
    )
    def test_usual_names_of_the_parts(self, train, val):
        expected = self.load()
        for part, name in (("train", train), ("val", val)):
            (self.root / part).rename(self.root / f"new {name}")
            (self.root / f"new {name}").rename(self.root / name)
        found = self.load()
        for part in ("train", "val"):
            ours, theirs = getattr(found, part), getattr(expected, part)
            np.testing.assert_array_equal(ours.labels, theirs.labels)
        self.assertIn(train, found.train.describe(0))
        self.assertIn(val, found.val.describe(0))

    def test_a_test_part_is_evaluated_on_where_there_is_no_other(self):
        shutil.copytree(self.root / "val", self.root / "test")
        self.assertIn("/val/", self.load().val.describe(0))
        shutil.rmtree(self.root / "val")
        with self.assertLogs("absl", level="INFO") as logs:
            found = self.load()
        self.assertIn("/test/", found.val.describe(0))
        self.assertRegex("".join(logs.output), "no val/ in .*evaluated on test")

    def test_empty_class(self):
        (self.root / "train" / "emu").mkdir()
        with self.assertRaisesRegex(ValueError, "no images: .*train/emu"):
            self.load()

    def test_a_class_only_of_val_is_refused_by_name(self):
        shutil.move(self.root / "val" / "dog", self.root / "val" / "emu")
        with self.assertRaisesRegex(
            ValueError, r"Only in val: \['emu'\], only in train: \['dog'\]"
        ):
            self.load()

    @parameterized.parameters(True, False)
    def test_a_class_without_images_in_val_is_not_evaluated(self, empty):
        shutil.rmtree(self.root / "val" / "cat")
        if empty:
            (self.root / "val" / "cat").mkdir()
        with self.assertLogs("absl", level="WARNING") as logs:
            found = self.load()
        self.assertRegex(
            "".join(logs.output), "1 of 2 classes have no images in val/.*cat"
        )
        self.assertEqual(found.class_names, ("cat", "dog"))
        np.testing.assert_array_equal(found.val.labels, [1] * 6)

    def test_no_images_in_val(self):
        for path in (self.root / "val").rglob("*.jpg"):
            path.unlink()
        with self.assertRaisesRegex(ValueError, "no images for eval.*/val"):
            self.load()

    def test_one_class(self):
        shutil.rmtree(self.root / "train" / "dog")
        with self.assertRaisesRegex(ValueError, "two class folders.*cat"):
            self.load()

    def test_other_files_are_counted_and_named_at_once(self):
        train = self.root / "train"
        names = [
            train / "README.md", train / "dog" / "a.txt",
            train / "dog" / "b.TXT", train / "cat" / "c.tif",
            self.root / "val" / "dog" / "notes",
        ]  # fmt: skip
        for path in names:
            path.write_text("woof")
        with self.assertRaisesRegex(
            ValueError,
            "--skip_bad_images.*2 .txt, 1 .md, 1 .tif, 1 without a suffix ",
        ) as caught:
            self.load()
        for path in names:
            named = str(path.relative_to(self.root))
            self.assertIn(named, str(caught.exception))
        with self.assertLogs("absl", level="WARNING") as logs:
            found = load.load_dataset(
                config_for(dataset=f"folder:{self.root}", skip_bad_images=True)
            )
        self.assertLen([x for x in logs.output if "2 .txt" in x], 1)
        self.assertEqual(found.train.num_examples, 12)

    def test_images_outside_classes(self):
        (self.root / "train" / "stray.jpg").write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "class folders.*stray.jpg"):
            self.load()

    @parameterized.parameters(
        ("truncated", "Invalid JPEG data"),
        ("text", "neither JPEG, PNG"),
        ("empty", "neither JPEG, PNG"),
        ("bomb", "the file declares more than 178956970 pixels"),
    )
    def test_corrupt_image_is_named(self, fault, reason):
        path = self.root / "train" / "dog" / "3.jpg"
        whole = path.read_bytes()
        path.write_bytes(
            {
                "truncated": whole[: len(whole) // 2],
                "text": b"not an image",
                "empty": b"",
                "bomb": image_corpus.bombs()["png of 60000"],
            }[fault]
        )
        found = self.load()
        message = dataset.find_unreadable(
            found.train, range(found.train.num_examples)
        )
        self.assertRegex(message, rf"train/dog/3\.jpg \(.*{reason}.*\)$")
        self.assertIsNone(
            dataset.find_unreadable(found.val, range(found.val.num_examples))
        )

    def test_a_truncated_image_never_passes_a_crop(self):
        path = self.root / "train" / "dog" / "3.jpg"
        whole = path.read_bytes()
        path.write_bytes(whole[:-200])
        pipeline = data.train_pipeline(
            self.load(),
            config_for(
                augmentation="random_resized_crop",
                global_batch_size=12,
                epochs=1,
            ),
        )
        with self.assertRaisesRegex(Exception, "JPEG"):
            list(pipeline)


class GeometryTest(parameterized.TestCase):
    """Images that are not cropped at random look as in evaluation."""

    def batches(self, sides, **fields):
        """Returns images by their label, of training and of evaluation."""
        pixels = image_corpus.photo(*sides)
        images = np.stack([pixels, pixels[::-1], 255 - pixels])
        split = dataset.in_memory(images, np.arange(3), "photos")
        photos = dataset.DataSet(split, split, tuple("abc"), small_images=False)
        config = config_for(epochs=1, global_batch_size=3, **fields)
        return [
            images.numpy()[np.argsort(labels)]
            for images, labels, *_ in (
                next(iter(data.train_pipeline(photos, config))),
                next(iter(data.eval_pipeline(photos, config))),
            )
        ]

    @parameterized.parameters(
        ((40, 90),),
        ((90, 40), {"eval_crop_fraction": 1.0}),
        ((60, 60), {"eval_crop_fraction": 0.5, "interpolation": "bicubic"}),
        ((33, 35), {"antialias": True}),
    )
    def test_none_trains_on_what_is_evaluated(self, sides, fields=()):
        fields = {"augmentation": "none", **dict(fields)}
        training, evaluation = self.batches(sides, **fields)
        np.testing.assert_array_equal(training, evaluation)

    def test_pad_crop_shifts_what_is_evaluated(self):
        training, evaluation = self.batches((40, 90), augmentation="pad_crop")
        padded = np.pad(evaluation, ((0, 0), (4, 4), (4, 4), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, (32, 32), axis=(1, 2)
        ).transpose(0, 1, 2, 4, 5, 3)
        for image, shifted in zip(training, windows, strict=True):
            same = (shifted == image).all(axis=(2, 3, 4))
            self.assertTrue(same.any())

    def test_the_center_keeps_its_aspect(self):
        found, _ = self.batches(
            (40, 90), augmentation="none", eval_crop_fraction=1.0
        )
        pixels = image_corpus.photo(40, 90)[:, 25:65].astype(np.float32)
        expected = tf.image.resize(pixels, (32, 32))
        self.assertLess(np.abs(found[0] - expected).mean(), 1.5)

    def test_small_images_of_one_size_are_seen_whole(self):
        noise = training_testing.noise_set(8, 8, side=16)
        config = config_for(epochs=1)
        (images, labels), *_ = data.train_pipeline(noise, config)
        stored = list(noise.train.sources().as_numpy_iterator())
        expected = {
            int(label): tf.image.resize(pixels, (32, 32)).numpy()
            for pixels, label in zip(stored, noise.train.labels, strict=True)
        }
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            np.testing.assert_array_equal(image, expected[int(label)])


class NamesTest(parameterized.TestCase):
    def test_digits(self):
        found = load.load_dataset(config_for())
        self.assertEqual(found.train.num_examples, 1437)
        self.assertTrue(found.small_images)

    def test_synthetic(self):
        config = config_for(dataset="synthetic", image_size=48)
        batches = data.train_pipeline(load.load_dataset(config), config)
        images, _ = next(iter(batches))
        self.assertEqual(images.shape, (8, 48, 48, 3))

    @parameterized.parameters(
        ("digts", "Did you mean 'digits'"),
        ("cifar11", "Did you mean 'cifar10"),
    )
    def test_unknown(self, name, message):
        with self.assertRaisesRegex(
            ValueError, f"{message}.*'folder:PATH'.*dataset='{name}'"
        ):
            load.load_dataset(config_for(dataset=name))

    @parameterized.parameters("cifar10:9.9.9", "cifar10/small")
    def test_unknown_version(self, name):
        with self.assertRaisesRegex(
            ValueError, f"a version that the set has.*dataset='{name}'"
        ):
            load.load_dataset(config_for(dataset=name))

    def test_missing_data_dir(self):
        with self.assertRaisesRegex(ValueError, "data_dir='/nowhere'"):
            load.load_dataset(
                config_for(dataset="cifar10", data_dir="/nowhere")
            )


if __name__ == "__main__":
    absltest.main()
