"""ImageNet's own files, in miniature, by way of tensorflow-datasets."""

import dataclasses
import io
import math
import pathlib
import tarfile
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from PIL import Image

from keras_regnet import image_files
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space.records import Trial
from tests.support import training_testing  # noqa: F401, finds the checkout
from training.config import config as train_config
from training.data import load
from training.sweeps import arrays as arrays_lib
from training.sweeps import convert
from training.sweeps import regimes
from training.sweeps import spec
from training.sweeps import trial

# Labels by the order of their synsets, as every ImageNet network has them.
_SYNSETS = {"n01440764": 0, "n01443537": 1, "n01739381": 59, "n02105855": 230,
            "n15075141": 999}  # fmt: skip
# The first five images of the validation set: sea snake, alp, Shetland
# sheepdog, soup bowl, cradle.
_VALIDATION = (65, 970, 230, 809, 516)
# Images of the real set that are not what their names say.
_CMYK, _PNG = "n01739381_1309.JPEG", "n02105855_2933.JPEG"


def _file(brightness, kind="jpeg", mode="RGB"):
    file = io.BytesIO()
    pixels = np.full((60, 80, 3), brightness, np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def _tar(contents):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in contents:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _train_tar():
    """A tar of one tar per synset, as ILSVRC2012_img_train.tar is."""
    inner = []
    for synset, label in _SYNSETS.items():
        files = [
            (f"{synset}_{number}.JPEG", _file(label % 251)) for number in (1, 2)
        ]
        if synset == _CMYK[:9]:
            files.append((_CMYK, _file(label % 251, mode="CMYK")))
        if synset == _PNG[:9]:
            files.append((_PNG, _file(label % 251, "png")))
        inner.append((f"{synset}.tar", _tar(files)))
    return _tar(inner)


class ImageNetTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        manual = pathlib.Path(folder) / "downloads" / "manual"
        manual.mkdir(parents=True)
        (manual / "ILSVRC2012_img_train.tar").write_bytes(_train_tar())
        # Not in the order of their names: nor is the real one.
        numbers = (3, 1, 5, 4, 2)
        names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in numbers]
        val = [
            (name, _file(40 * number))
            for name, number in zip(names, numbers, strict=True)
        ]
        (manual / "ILSVRC2012_img_val.tar").write_bytes(_tar(val))
        config = train_config.TrainConfig(
            dataset="imagenet2012", data_dir=folder
        )
        cls.data = load.load_dataset(config)
        cls.folder = pathlib.Path(folder)

    def brightness(self, split):
        return [
            int(image_files.decode(source).numpy().mean().round())
            for source, _ in (split.read(i) for i in range(split.num_examples))
        ]

    def test_a_thousand_classes_in_the_order_of_synsets(self):
        names = self.data.class_names
        self.assertLen(names, 1000)
        self.assertEqual(list(names), sorted(names))
        for synset, label in _SYNSETS.items():
            self.assertEqual(names[label], synset)
        self.assertFalse(self.data.small_images)

    def test_training_images_have_their_synsets_labels(self):
        self.assertEqual(self.data.train.num_examples, 12)
        self.assertEqual(
            sorted(self.data.train.labels),
            sorted([*_SYNSETS.values()] * 2 + [59, 230]),
        )
        for value, label in zip(
            self.brightness(self.data.train),
            self.data.train.labels,
            strict=True,
        ):
            self.assertAlmostEqual(value, label % 251, delta=3)

    def test_trial_of_a_sweep(self):
        """The paper's regime, but for its length and the network's size."""
        regime = dataclasses.replace(
            regimes.get("imagenet"),
            epochs=2,
            batch_size=4,
            steps_per_call=2,
            test_batch_size=3,
        )
        target = arrays_lib.path(regime, self.folder)
        target.parent.mkdir()
        convert.to_folder(regime, self.folder, target)
        arrays = arrays_lib.load(regime, self.folder)
        self.assertEqual(arrays.train_images.shape, (12, 256, 256, 3))
        means = arrays.train_images.mean((1, 2, 3))
        for mean, label in zip(means, arrays.train_labels, strict=True):
            self.assertAlmostEqual(mean, label % 251, delta=3)
        config = RegNetConfig(4, 8, 8, 2.0, 8, stem_width=8).to_json()
        job = Trial(
            trial_id=spec.identify(config, 0, "imagenet"),
            space="RegNetX",
            index=0,
            seed=0,
            regime="imagenet",
            config=config,
            depth=4,
            flops=1,
            params=1,
            activations=1,
        )
        with mock.patch.object(regimes, "get", return_value=regime):
            record = trial.run(job, arrays)
        self.assertTrue(record.done, record.reason)
        self.assertEqual(record.test_images, [5, 5])
        for error in (*record.test_errors, *record.train_errors):
            self.assertBetween(error, 0, 100)
        # A network that knows nothing yet has a loss of ln 1000.
        self.assertAlmostEqual(record.train_losses[0], math.log(1000), delta=1)

    def test_validation_labels_go_by_the_files_names(self):
        found = zip(
            self.brightness(self.data.val), self.data.val.labels, strict=True
        )
        self.assertEqual(
            dict(found),
            {40 * (i + 1): label for i, label in enumerate(_VALIDATION)},
        )


if __name__ == "__main__":
    absltest.main()
