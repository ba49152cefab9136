"""Folders of photographs, and how a photograph is prepared."""

import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import image_corpus
from tests.support import training_testing
from training.data import dataset
from training.data import load
from training.data import pipeline as data


class FolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.root = pathlib.Path(folder) / "set"
        training_testing.write_folder(self.root)

    def load(self):
        return load.load_dataset(
            training_testing.pipeline_config(dataset=f"folder:{self.root}")
        )

    def test_classes_and_images(self):
        found = self.load()
        self.assertEqual(found.class_names, ("cat", "dog"))
        self.assertEqual(found.train.num_examples, 12)
        self.assertFalse(found.small_images)
        (images, labels), *_ = data.train_pipeline(
            found, training_testing.pipeline_config(global_batch_size=12)
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

    def test_parts_of_a_set_are_no_classes(self):
        """And images of a test are not trained on, nor evaluated on."""
        for name in ("test", "Validation"):
            root = self.root.parent / name
            shutil.copytree(self.root / "train", root / "flat")
            shutil.copytree(self.root / "val", root / "flat" / name)
            config = training_testing.pipeline_config(
                dataset=f"folder:{root / 'flat'}", val_fraction=0.5
            )
            with self.assertRaisesRegex(
                ValueError, f"`val_fraction`.*train/.*Received: {name}/ without"
            ):
                load.load_dataset(config)
        shutil.copytree(self.root / "val", self.root / "test")
        found = load.load_dataset(
            training_testing.pipeline_config(
                dataset=f"folder:{self.root}", val_fraction=0.5
            )
        )
        for split in (found.train, found.val):
            for index in range(split.num_examples):
                self.assertIn("/train/", split.describe(index))

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
                training_testing.pipeline_config(
                    dataset=f"folder:{self.root}", skip_bad_images=True
                )
            )
        self.assertLen([x for x in logs.output if "2 .txt" in x], 1)
        self.assertEqual(found.train.num_examples, 12)

    def test_images_outside_classes(self):
        (self.root / "train" / "stray.jpg").write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "class folders.*stray.jpg"):
            self.load()

    def test_a_table_that_is_not_one_of_labels(self):
        (self.root / "train" / "labels.csv").write_text("filename;cat\n")
        with self.assertRaisesRegex(ValueError, "separated by commas, whose"):
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
            training_testing.pipeline_config(
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
        config = training_testing.pipeline_config(
            epochs=1, global_batch_size=3, **fields
        )
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
        config = training_testing.pipeline_config(epochs=1)
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
        found = load.load_dataset(training_testing.pipeline_config())
        self.assertEqual(found.train.num_examples, 1437)
        self.assertTrue(found.small_images)

    def test_synthetic(self):
        config = training_testing.pipeline_config(
            dataset="synthetic", image_size=48
        )
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
            load.load_dataset(training_testing.pipeline_config(dataset=name))

    @parameterized.parameters("cifar10:9.9.9", "cifar10/small")
    def test_unknown_version(self, name):
        with self.assertRaisesRegex(
            ValueError, f"a version that the set has.*dataset='{name}'"
        ):
            load.load_dataset(training_testing.pipeline_config(dataset=name))

    def test_missing_data_dir(self):
        with self.assertRaisesRegex(ValueError, "data_dir='/nowhere'"):
            load.load_dataset(
                training_testing.pipeline_config(
                    dataset="cifar10", data_dir="/nowhere"
                )
            )


if __name__ == "__main__":
    absltest.main()
