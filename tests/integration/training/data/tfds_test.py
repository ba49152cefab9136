"""Sets of tensorflow-datasets, in memory and as streams."""

import pathlib
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
from training.data import dataset
from training.data import load
from training.data import pipeline as data


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
                training_testing.pipeline_config(
                    dataset="mini_photos", data_dir=self.folder
                )
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
        found = load.load_dataset(training_testing.pipeline_config(**fields))
        self.assertEqual(found.train.in_memory, in_memory)
        config = training_testing.pipeline_config(epochs=2)
        labels = self.labels(found, config).reshape(2, 40)
        for epoch in labels:
            self.assertCountEqual(epoch, range(40))
        self.assertNotEqual(list(labels[0]), list(labels[1]))
        self.assertEqual(found.val.num_examples, 21)
        balanced = {"balanced_subset": True, "num_train_examples": 40}
        if in_memory:
            load.load_dataset(
                training_testing.pipeline_config(**fields, **balanced)
            )
            return
        # Labels are in the records alone.
        for needs in ({"val_fraction": 0.5}, balanced):
            with self.assertRaisesRegex(ValueError, "--cache asks for.*record"):
                load.load_dataset(
                    training_testing.pipeline_config(**fields, **needs)
                )

    @parameterized.parameters(True, False)
    def test_every_example_once_per_epoch(self, in_memory):
        found = self.load(in_memory)
        seen = self.labels(found, training_testing.pipeline_config()).reshape(
            3, 40
        )
        for epoch in seen:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(40))
        self.assertTrue((seen[0] != seen[1]).any())

    @parameterized.parameters(True, False)
    def test_evaluation(self, in_memory):
        batches = list(
            data.eval_pipeline(
                self.load(in_memory), training_testing.pipeline_config()
            )
        )
        weights = np.concatenate([batch[2] for batch in batches])
        labels = np.concatenate([batch[1] for batch in batches])
        self.assertLen(weights, 24)
        np.testing.assert_array_equal(
            np.sort(labels[weights == 1]), np.arange(21)
        )

    def test_a_stream_starts_at_any_step(self):
        found = self.load(in_memory=False)
        whole = self.labels(found, training_testing.pipeline_config())
        rest = self.labels(
            found, training_testing.pipeline_config(), start_step=7
        )
        np.testing.assert_array_equal(whole[7:], rest)

    @parameterized.parameters(0, 1)
    def test_a_stream_is_shared(self, index):
        found = self.load(in_memory=False)
        whole = self.labels(found, training_testing.pipeline_config())
        part = self.labels(
            found,
            training_testing.pipeline_config(),
            shard=data.Shard(index, 2, 4),
        )
        np.testing.assert_array_equal(np.split(whole, 2, axis=1)[index], part)

    def test_a_stream_repeats_images_as_a_split_does(self):
        config = training_testing.pipeline_config(repeated_augmentation=2)
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


if __name__ == "__main__":
    absltest.main()
