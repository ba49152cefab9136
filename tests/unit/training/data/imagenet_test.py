"""ImageNet's own files, in miniature, by way of tensorflow-datasets."""

import pathlib
import tempfile

from absl.testing import absltest

from keras_regnet import image_files
from tests.support import imagenet_testing
from training.config import config as train_config
from training.data import load


class ImageNetTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        imagenet_testing.write_downloads(cls.folder)
        config = train_config.TrainConfig(
            dataset="imagenet2012", data_dir=str(cls.folder)
        )
        cls.data = load.load_dataset(config)

    def brightness(self, split):
        return [
            int(image_files.decode(source).numpy().mean().round())
            for source, _ in (split.read(i) for i in range(split.num_examples))
        ]

    def test_a_thousand_classes_in_the_order_of_synsets(self):
        names = self.data.class_names
        self.assertLen(names, 1000)
        self.assertEqual(list(names), sorted(names))
        for synset, label in imagenet_testing.SYNSETS.items():
            self.assertEqual(names[label], synset)
        self.assertFalse(self.data.small_images)

    def test_training_images_have_their_synsets_labels(self):
        self.assertEqual(self.data.train.num_examples, 12)
        self.assertEqual(
            sorted(self.data.train.labels),
            sorted([*imagenet_testing.SYNSETS.values()] * 2 + [59, 230]),
        )
        for value, label in zip(
            self.brightness(self.data.train),
            self.data.train.labels,
            strict=True,
        ):
            self.assertAlmostEqual(value, label % 251, delta=3)

    def test_validation_labels_go_by_the_files_names(self):
        found = zip(
            self.brightness(self.data.val), self.data.val.labels, strict=True
        )
        self.assertEqual(
            dict(found),
            {
                40 * (i + 1): label
                for i, label in enumerate(imagenet_testing.VALIDATION)
            },
        )


if __name__ == "__main__":
    absltest.main()
