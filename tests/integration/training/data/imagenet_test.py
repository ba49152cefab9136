"""A trial of a sweep on ImageNet's own files, in miniature."""

import dataclasses
import math
import pathlib
import tempfile

from absl.testing import absltest

from keras_regnet.config import RegNetConfig
from keras_regnet.design_space.records import Trial
from tests.support import imagenet_testing
from training.config import config as train_config
from training.data import load
from training.sweeps import arrays as arrays_lib
from training.sweeps import convert
from training.sweeps import regimes
from training.sweeps import spec
from training.sweeps import trial


class ImageNetTest(absltest.TestCase):
    def test_trial_of_a_sweep(self):
        """The paper's regime, but for its length and the network's size."""
        regime = dataclasses.replace(
            regimes.get("imagenet"),
            epochs=2,
            batch_size=4,
            steps_per_call=2,
            test_batch_size=3,
        )
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        imagenet_testing.write_downloads(folder)
        load.load_dataset(
            train_config.TrainConfig(
                dataset="imagenet2012", data_dir=str(folder)
            )
        )
        target = arrays_lib.path(regime, folder)
        target.parent.mkdir()
        convert.store(regime, str(folder), target)
        arrays = arrays_lib.load(regime, folder)
        self.assertEqual(arrays.train_images.shape, (12, 256, 256, 3))
        means = arrays.train_images.mean((1, 2, 3))
        for mean, label in zip(means, arrays.train_labels, strict=True):
            self.assertAlmostEqual(mean, label % 251, delta=3)
        config = RegNetConfig(4, 8, 8, 2.0, 8, stem_width=8).to_json()
        job = Trial(
            trial_id=spec.identify(config, 0, regime),
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
        record = trial.run(job, regime, arrays)
        self.assertTrue(record.done, record.reason)
        self.assertEqual(record.test_images, [5, 5])
        for error in (*record.test_errors, *record.train_errors):
            self.assertBetween(error, 0, 100)
        # A network that knows nothing yet has a loss of ln 1000.
        self.assertAlmostEqual(record.train_losses[0], math.log(1000), delta=1)


if __name__ == "__main__":
    absltest.main()
