"""Data sets with several labels an image: folders, arrays, shards, subsets."""

import dataclasses
import os
import pathlib
import shutil
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.config import config as train_config
from training.data import dataset
from training.data import identity
from training.data import load
from training.data import pipeline
from training.data import shards
from training.data import subset
from training.workdir import files
from training.workdir import tensorboard

_LABELS = {"1": "cat;dog", "2": "", "3": "dog", "4": "cat", "5": "", "6": "dog"}


def _config(**fields):
    return training_testing.pipeline_config(
        **{"global_batch_size": 2, **fields}
    )


class InFolder(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        temp = self.enterContext(tempfile.TemporaryDirectory())
        self.root = pathlib.Path(temp) / "set"
        self.image = training_testing.jpeg()

    def images(self, folder, names=tuple(_LABELS)):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / f"{name}.jpg").write_bytes(self.image)

    def one_hot(self, path, names=tuple(_LABELS), classes=("cat", "dog")):
        lines = [",".join(("filename", *classes))]
        for name in names:
            cells = [str(int(c in _LABELS[name].split(";"))) for c in classes]
            lines.append(",".join((f"{name}.jpg", *cells)))
        path.write_text("\n".join(lines))

    def lists(self, path, names=tuple(_LABELS), extra=""):
        rows = [f"{name}.jpg,{_LABELS[name]}" for name in names]
        path.write_text("\n".join(("filename,labels", *rows)) + extra)

    def parts(self, write=None):
        """Writes train/ and valid/ with a table in each."""
        for part in ("train", "valid"):
            self.images(self.root / part)
            (write or self.one_hot)(self.root / part / "_classes.csv")

    def load(self, **fields):
        return load.load_dataset(
            _config(dataset=f"folder:{self.root}", **fields)
        )

    def check(self, split, names=tuple(_LABELS)):
        """Checks that a split has images, in order, with their labels."""
        self.assertEqual(split.num_examples, len(names))
        for index, name in enumerate(names):
            path = pathlib.Path(split.describe(index))
            self.assertEqual(path.name, f"{name}.jpg")
            expected = [c in _LABELS[name].split(";") for c in ("cat", "dog")]
            np.testing.assert_array_equal(split.labels[index], expected)
            source, label = split.read(tf.constant(index, tf.int64))
            self.assertEqual(source.numpy(), path.read_bytes())
            self.assertEqual(label.dtype, tf.float32)
            np.testing.assert_array_equal(label, expected)


class FolderTest(InFolder):
    @parameterized.parameters("one_hot", "lists")
    def test_a_table_in_each_part(self, form):
        self.parts(getattr(self, form))
        found = self.load()
        self.assertTrue(found.multilabel)
        self.assertEqual(found.class_names, ("cat", "dog"))
        self.check(found.train)
        self.check(found.val)

    def test_tables_beside_the_parts(self):
        for part in ("train", "val"):
            self.images(self.root / part)
            self.lists(self.root / f"{part}.csv")
        (self.root / "sample_submission.csv").write_text("id,labels\n9,cat\n")
        found = self.load()
        self.check(found.train)
        self.assertIn(f"{os.sep}val{os.sep}", found.val.describe(0))

    def test_images_in_one_folder_and_a_table_of_each_part(self):
        self.images(self.root / "images")
        self.lists(self.root / "train.csv", ("1", "2", "3"))
        self.lists(self.root / "val.csv", ("4", "5"))
        with self.assertLogs("absl", "WARNING") as logs:
            found = self.load()
        self.check(found.train, ("1", "2", "3"))
        self.check(found.val, ("4", "5"))
        self.assertRegex(logs.output[0], "1 images .* left out: images/6.jpg")

    def test_one_table_with_a_split(self):
        self.images(self.root)
        parts = dict(zip(_LABELS, ("train", "train", "val", "train", "val",
                                   "test"), strict=True))  # fmt: skip
        (self.root / "labels.csv").write_text(
            "filename,labels,split\n"
            + "".join(f"{n}.jpg,{_LABELS[n]},{parts[n]}\n" for n in _LABELS)
        )
        found = self.load()
        self.check(found.train, ("1", "2", "4"))
        self.check(found.val, ("3", "5"))
        held_out = self.load(val_fraction=0.4, labels="multiple")
        both = (held_out.train, held_out.val)
        self.assertEqual(sum(split.num_examples for split in both), 3)

    def test_one_table_without_a_split(self):
        self.images(self.root / "photos")
        self.one_hot(self.root / "labels.csv")
        found = self.load(val_fraction=0.34)
        self.assertGreater(found.val.num_examples, 0)
        self.assertEqual(found.train.num_examples + found.val.num_examples, 6)
        with self.assertRaisesRegex(ValueError, "column `split` .train, val.,"):
            self.load()

    def test_names_without_a_suffix_or_with_the_folder(self):
        self.images(self.root / "train")
        (self.root / "train" / "a.csv").write_text(
            "image_name,tags\n1,cat;dog\ntrain/2.jpg,\n3.jpg,dog\n"
            "4,cat\n5,\n.\\6.jpg,dog\n"
        )
        shutil.copytree(self.root / "train", self.root / "val")
        self.lists(self.root / "val" / "a.csv")
        self.check(self.load().train)

    def test_the_order_of_the_rows_does_not_count(self):
        self.parts()
        one = identity.of(self.load())
        self.one_hot(
            self.root / "train" / "_classes.csv", tuple(reversed(_LABELS))
        )
        self.assertEqual(identity.of(self.load()), one)

    @parameterized.parameters(
        ("9.jpg,cat", "1 rows .* line 8: '9.jpg'"),
        ("1.jgp,cat", "line 8: '1.jgp' .did you mean '1.jpg'"),
        ("1,cat", "Two rows name one image: lines 2 and 8"),
    )
    def test_rows_without_an_image(self, row, message):
        self.parts(self.lists)
        table = self.root / "train" / "_classes.csv"
        self.lists(table, extra=f"\n{row}")
        with self.assertRaisesRegex(ValueError, message):
            self.load()
        if row != "1,cat":
            with self.assertLogs("absl", "WARNING") as logs:
                self.check(self.load(skip_bad_images=True).train)
            self.assertIn("left out, 1 rows", logs.output[0])

    def test_images_of_one_name_in_two_folders(self):
        for folder in ("a", "b"):
            self.images(self.root / folder)
        self.lists(self.root / "labels.csv")
        with self.assertRaisesRegex(ValueError, "'1.jpg' .which. a/1.jpg, b/1"):
            self.load(val_fraction=0.5)

    def test_labels_that_only_validation_images_have(self):
        self.parts(self.lists)
        table = self.root / "valid" / "_classes.csv"
        table.write_text("filename,labels\n1.jpg,cat;dgo\n")
        with self.assertRaisesRegex(
            ValueError, "'dgo' .did you mean 'dog'.*line 2.*'cat', 'dog'"
        ):
            self.load()
        table.write_text("filename,cat,dgo\n1.jpg,1,0\n")
        with self.assertRaisesRegex(ValueError, "a column .* too: 'dog'"):
            self.load()
        table.write_text("filename,dog,cat,cow\n1.jpg,1,0,0\n")
        with self.assertRaisesRegex(ValueError, "'cow'.*line 1"):
            self.load()
        table.write_text("filename,dog,cat\n3.jpg,1,0\n")
        self.check(self.load().val, ("3",))

    def test_nothing_to_evaluate(self):
        self.parts()
        self.one_hot(self.root / "valid" / "_classes.csv", ("2", "5"))
        with self.assertRaisesRegex(ValueError, "evaluation must have a label"):
            self.load()

    def test_a_class_that_no_training_image_has_is_said(self):
        self.parts(lambda path: self.one_hot(path, classes=("cat", "cow")))
        with self.assertLogs("absl", "WARNING") as logs:
            self.load()
        self.assertIn("no training image has the label 'cow'", logs.output[0])

    def test_one_label_an_image_must_be_said(self):
        names = ("3", "4", "6")
        self.parts(lambda path: self.one_hot(path, names))
        with self.assertRaisesRegex(ValueError, "--labels=single .*multiple"):
            self.load()
        single = self.load(labels="single")
        self.assertFalse(single.multilabel)
        np.testing.assert_array_equal(single.train.labels, [1, 0, 1])
        self.assertEqual(single.train.read(0)[1].dtype, tf.int32)
        multiple = self.load(labels="multiple")
        self.check(multiple.train, names)
        # Which class an image is of is not in its path.
        before = identity.of(single)
        path = self.root / "train" / "_classes.csv"
        path.write_text(path.read_text().replace("6.jpg,0,1", "6.jpg,1,0"))
        self.assertNotEqual(identity.of(self.load(labels="single")), before)

    def test_single_needs_one_label_an_image(self):
        self.parts()
        with self.assertRaisesRegex(
            ValueError, "labels='single', and 2 labels of .*1.jpg in .*_classes"
        ):
            self.load(labels="single")

    def test_class_folders_win_over_a_table_beside_them(self):
        training_testing.write_folder(self.root)
        (self.root / "files.csv").write_text(
            "filename,labels,split\n"
            "train/cat/0.jpg,a;b,train\nval/cat/0.jpg,a,val\n"
        )
        with self.assertLogs("absl", "WARNING") as logs:
            found = self.load()
        self.assertIn("is not read: there are class folders", logs.output[0])
        self.assertFalse(found.multilabel)
        found = self.load(labels="multiple")
        self.assertEqual(found.class_names, ("a", "b"))

    def test_class_folders_as_several_labels(self):
        training_testing.write_folder(self.root)
        single, found = self.load(), self.load(labels="multiple")
        self.assertTrue(found.multilabel)
        np.testing.assert_array_equal(
            found.train.labels, np.eye(2)[single.train.labels]
        )
        for index in (0, 11):
            np.testing.assert_array_equal(
                found.train.read(index)[1],
                np.eye(2)[single.train.read(index)[1]],
            )

    @parameterized.parameters("train", "")
    def test_several_tables(self, where):
        self.parts()
        if not where:
            shutil.rmtree(self.root / "train")
            self.images(self.root)
            self.lists(self.root / "b.csv")
        self.lists(self.root / where / "a.csv")
        with self.assertRaisesRegex(ValueError, "one CSV .* a.csv"):
            self.load(val_fraction=0.5)

    def test_a_part_without_a_table(self):
        self.parts()
        (self.root / "valid" / "_classes.csv").unlink()
        with self.assertRaisesRegex(
            ValueError, "CSV .*none in or beside.*valid"
        ):
            self.load()
        self.assertEqual(self.load(val_fraction=0.5).train.num_examples, 3)


class PipelineTest(InFolder):
    def setUp(self):
        super().setUp()
        self.parts()

    @parameterized.parameters({}, {"cache": True})
    def test_batches(self, **fields):
        found = self.load(**fields)
        config = _config(epochs=1)
        batches = list(pipeline.train_pipeline(found, config))
        labels = np.concatenate([labels for _, labels in batches])
        self.assertEqual(labels.dtype, np.float32)
        np.testing.assert_array_equal(labels.sum(0), [2, 3])
        config = _config(global_batch_size=4)
        batches = list(pipeline.eval_pipeline(found, config))
        weights = np.concatenate([weights for *_, weights in batches])
        labels = np.concatenate([labels for _, labels, _ in batches])
        np.testing.assert_array_equal(labels[weights > 0], found.val.labels)
        self.assertEqual(len(weights), 8)

    def test_mixed_targets(self):
        found = self.load()
        config = _config(global_batch_size=6, epochs=1)
        ((_, plain),) = pipeline.train_pipeline(found, config)
        config = dataclasses.replace(config, mixup_alpha=5.0)
        ((_, mixed),) = pipeline.train_pipeline(found, config)
        own, partner = plain.numpy(), np.roll(plain, 1, axis=0)
        kept = np.sum((mixed - partner) * (own - partner))
        kept /= np.sum((own - partner) ** 2)
        self.assertBetween(kept, 0.1, 0.9)
        expected = kept * own + (1 - kept) * partner
        np.testing.assert_allclose(mixed, expected, atol=1e-6)

    def test_first_images_name_all_labels(self):
        config = _config(global_batch_size=6)
        _, names = tensorboard.first_images(self.load(), config)
        self.assertCountEqual(
            names.split(", "),
            ["cat + dog", "no label", "dog", "cat", "no label", "dog"],
        )


class ShardsTest(InFolder):
    @parameterized.product(file_format=shards.FORMATS, large=[True, False])
    def test_hold_what_the_folder_held(self, file_format, large):
        self.parts()
        for number, path in enumerate((self.root / "train").glob("*.jpg")):
            path.write_bytes(training_testing.jpeg(seed=number))
        out = self.root / "shards"
        expected = {
            self.load().train.read(i)[0].numpy(): label
            for i, label in enumerate(self.load().train.labels)
        }
        shards.write(self.root, out, 4, file_format=file_format)
        config = _config(dataset=f"shards:{out}")
        limit = 0 if large else dataset.IN_MEMORY_BYTES
        with mock.patch.object(dataset, "IN_MEMORY_BYTES", limit):
            found = load.load_dataset(config)
        self.assertTrue(found.multilabel)
        self.assertEqual(found.class_names, ("cat", "dog"))
        if isinstance(found.train, dataset.Stream):
            examples = list(found.train.examples(None).as_numpy_iterator())
        else:
            examples = [found.train.read(i) for i in range(6)]
            np.testing.assert_array_equal(
                found.train.labels, [label for _, label in examples]
            )
        self.assertLen(examples, 6)
        for source, label in examples:
            source = source if isinstance(source, bytes) else source.numpy()
            np.testing.assert_array_equal(label, expected[source])
        with self.assertRaisesRegex(ValueError, "labels='single'"):
            load.load_dataset(dataclasses.replace(config, labels="single"))

    def test_a_stream_of_one_label_as_several(self):
        training_testing.write_folder(self.root)
        out = self.root / "shards"
        shards.write(self.root, out)
        config = _config(dataset=f"shards:{out}", labels="multiple")
        with mock.patch.object(dataset, "IN_MEMORY_BYTES", 0):
            found = load.load_dataset(config)
        labels = [label for _, label in found.train.examples(None)]
        np.testing.assert_array_equal(np.sum(labels, axis=0), [6, 6])


class ArraysTest(InFolder):
    def write(self, **changes):
        images, labels = training_testing.attributes(8)
        arrays = {
            "train_images": images, "train_labels": labels,
            "val_images": images, "val_labels": labels,
            "class_names": np.array(training_testing.ATTRIBUTES),
        }  # fmt: skip
        self.root.mkdir(exist_ok=True)
        path = self.root / "set.npz"
        kept = {k: v for k, v in (arrays | changes).items() if v is not None}
        np.savez(path, **kept)
        return f"arrays:{path}"

    @parameterized.parameters("uint8", "bool", "float32", "int64")
    def test_zeros_and_ones(self, dtype):
        _, labels = training_testing.attributes(8)
        labels = labels.astype(dtype)
        found = load.load_dataset(
            _config(dataset=self.write(train_labels=labels, val_labels=labels))
        )
        self.assertTrue(found.multilabel)
        self.assertEqual(found.class_names, training_testing.ATTRIBUTES)
        np.testing.assert_array_equal(found.train.labels, labels)
        np.testing.assert_array_equal(found.val.read(3)[1], labels[3])

    def test_what_is_wrong(self):
        _, labels = training_testing.attributes(8)
        for changes, message in (
            ({"train_labels": labels * 2}, "zeros and ones"),
            ({"train_labels": labels[:5]}, "zeros and ones"),
            ({"val_labels": np.arange(8)}, "one form.*train_labels .8, 2."),
            ({"val_labels": labels[:, [0, 1, 1]]}, "one form"),
            ({"class_names": np.array(["a", "b", "c"])}, "3 names"),
            ({"class_names": np.array(["a"])}, "1 names"),
            ({"val_labels": labels * 0}, "must have a label"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                load.load_dataset(_config(dataset=self.write(**changes)))

    def test_one_hot_labels_must_say_what_they_are(self):
        hot = np.eye(3)[np.arange(8) % 2]
        name = self.write(train_labels=hot, val_labels=hot, class_names=None)
        with self.assertRaisesRegex(ValueError, "exactly one label"):
            load.load_dataset(_config(dataset=name))
        found = load.load_dataset(_config(dataset=name, labels="single"))
        self.assertFalse(found.multilabel)
        self.assertEqual(found.class_names, ("0", "1", "2"))
        np.testing.assert_array_equal(found.train.labels, np.arange(8) % 2)


class SubsetTest(parameterized.TestCase):
    def data(self, labels):
        labels = np.asarray(labels, np.uint8)
        images = np.zeros((len(labels), 2, 2, 3), np.uint8)
        images[:, 0, 0, 0] = np.arange(len(labels))
        split = dataset.in_memory(images, labels, "some")
        names = tuple(str(i) for i in range(labels.shape[1]))
        return dataset.DataSet(split, split, names, True, multilabel=True)

    @parameterized.parameters(0.1, 0.25, 0.5)
    def test_a_fraction_of_every_class_is_held_out(self, fraction):
        rng = np.random.default_rng(0)
        rates = (0.02, 0.1, 0.3, 0.6)
        labels = rng.uniform(size=(240, 4)) < rates
        found = subset.select(self.data(labels), _config(val_fraction=fraction))
        total = labels.sum(0)
        held_out = found.val.labels.sum(0)
        np.testing.assert_allclose(held_out, fraction * total, atol=8)
        self.assertGreater(held_out.min(), 0)
        np.testing.assert_array_equal(
            held_out + found.train.labels.sum(0), total
        )
        none = ~labels.any(1)
        self.assertAlmostEqual(
            (~found.val.labels.any(1)).sum(), fraction * none.sum(), delta=1
        )
        pixels = [
            image[0, 0, 0]
            for split in (found.train, found.val)
            for image in split.sources().as_numpy_iterator()
        ]
        self.assertCountEqual(pixels, range(240))

    def test_a_single_image_of_a_class_is_trained_on(self):
        labels = np.zeros((10, 2))
        labels[:, 0], labels[4, 1] = 1, 1
        found = subset.select(self.data(labels), _config(val_fraction=0.8))
        np.testing.assert_array_equal(found.val.labels.sum(0), [8, 0])

    def test_balanced_subset_is_refused(self):
        with self.assertRaisesRegex(ValueError, "`balanced_subset` needs one"):
            subset.select(
                self.data(np.ones((8, 2))),
                _config(num_train_examples=4, balanced_subset=True),
            )


class IdentityTest(InFolder):
    def setUp(self):
        super().setUp()
        self.parts()
        self.workdir = self.root.parent / "run"
        self.workdir.mkdir()

    def changes(self, before, **fields):
        return files.data_changes(
            self.workdir, before.to_dict(), (), identity.of(self.load(**fields))
        )

    def test_other_labels_of_the_same_images_are_refused(self):
        before = identity.of(self.load())
        self.assertTrue(before.multilabel)
        self.assertEqual(before.train.per_class, (2, 3))
        self.assertEqual(self.changes(before), [])
        path = self.root / "train" / "_classes.csv"
        original = path.read_text()
        # As many of each class as before.
        changed = original.replace("1.jpg,1,1", "1.jpg,0,1").replace(
            "5.jpg,0,0", "5.jpg,1,0"
        )
        path.write_text(changed)
        with self.assertRaisesRegex(
            ValueError, "other labels.*training images: the same, with other"
        ):
            self.changes(before)
        path.write_text(original)
        self.images(self.root / "train", ("7",))
        path.write_text(original + "\n7.jpg,1,0")
        self.assertEqual(
            self.changes(before),
            ["training images: 6 before, 7 now",
             "training images by class: 'cat' 2 -> 3"],
        )  # fmt: skip

    def test_one_label_is_not_several(self):
        names = ("3", "4", "6")
        for part in ("train", "valid"):
            self.one_hot(self.root / part / "_classes.csv", names)
        before = identity.of(self.load(labels="single"))
        with self.assertRaisesRegex(
            ValueError, "one label an image before, several labels an image now"
        ):
            self.changes(before, labels="multiple")

    def test_stored_before_there_were_several(self):
        stored = identity.of(load.load_dataset(train_config.TrainConfig()))
        fields = stored.to_dict()
        del fields["multilabel"], fields["train"]["labels"]
        self.assertEqual(identity.Identity.from_dict(fields), stored)


if __name__ == "__main__":
    absltest.main()
