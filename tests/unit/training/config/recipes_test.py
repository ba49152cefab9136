"""Tests of the recipes against the published configurations."""

import dataclasses

import keras
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import training_testing
from training.config import network as network_lib
from training.config import recipes
from training.data import augment
from training.trainer import optimizer

# pycls configs/dds_baselines: batch, base learning rate, warm-up epochs.
_PUBLISHED = {
    (1024, 0.8, 5): "RegNetX-200MF RegNetX-400MF RegNetX-600MF RegNetX-800MF "
    "RegNetX-1.6GF RegNetY-200MF RegNetY-400MF RegNetY-600MF RegNetY-800MF "
    "RegNetY-1.6GF",
    (512, 0.4, 5): "RegNetX-3.2GF RegNetX-4.0GF RegNetX-6.4GF RegNetX-8.0GF "
    "RegNetX-12GF RegNetX-16GF RegNetY-3.2GF RegNetY-4.0GF RegNetY-6.4GF "
    "RegNetY-8.0GF RegNetY-12GF",
    (256, 0.2, 5): "RegNetX-32GF RegNetY-16GF RegNetY-32GF",
    (256, 0.2, 0): "ResNet-50 ResNet-101 ResNet-152 ResNeXt-50 ResNeXt-101 "
    "ResNeXt-152",
}


class PaperTest(parameterized.TestCase):
    @parameterized.parameters(*_PUBLISHED.items())
    def test_batch_rate_and_warmup(self, expected, names):
        for name in names.split():
            config = recipes.get("paper", name)
            found = (
                config.global_batch_size,
                round(config.learning_rate(), 9),
                config.warmup_epochs,
            )
            self.assertEqual(found, expected, name)

    def test_the_table_is_complete(self):
        known = {n for names in _PUBLISHED.values() for n in names.split()}
        others = set(keras_regnet.list_variants()) - known
        self.assertContainsSubset(known, keras_regnet.list_variants())
        for name in others:
            config = recipes.get("paper", name)
            self.assertEqual(config.global_batch_size, 1024, name)

    def test_any_spelling(self):
        self.assertEqual(
            recipes.get("paper", "regnetx_032").global_batch_size, 512
        )
        for unknown in ("RegNetX-6MF", "mine.json", "nonsense", ""):
            self.assertEqual(
                recipes.get("paper", unknown).global_batch_size, 1024
            )

    def test_sections_one_to_four(self):
        config = recipes.get("paper", "RegNetX-400MF")
        expected = {
            "optimizer": "sgd", "optimizer_arguments": "", "warmup": "",
            "base_learning_rate": 0.1, "base_batch_size": 128,
            "ema_decay": 0.0, "head_epochs": 0.0, "total_steps": 0,
            "epochs": 100, "momentum": 0.9, "lr_in_velocity": False,
            "weight_decay": 5e-5, "decay_norm_and_bias": True,
            "schedule": "cosine", "per_epoch_schedule": True,
            "final_lr_fraction": 0.0, "warmup_factor": 0.1, "clip_norm": 0.0,
            "precision": "float32", "loss": "cross_entropy",
            "label_smoothing": 0.0, "mixup_alpha": 0.0, "cutmix_alpha": 0.0,
            "auto_augment": "none", "random_erasing": 0.0,
            "repeated_augmentation": 1, "dropout_rate": 0.0,
            "drop_path_rate": 0.0, "sync_bn": False, "layer_decay": 1.0,
            "zero_init_last_gamma": False, "precise_bn_images": 0,
            "image_size": 224, "min_crop_area": 0.08, "flip": True,
            "crop_aspect": "uniform_swapped", "pca_lighting_std": 0.1,
            "interpolation": "bilinear", "antialias": False,
            "eval_image_size": 0, "eval_crop_fraction": 224 / 256,
        }  # fmt: skip
        fields = dataclasses.asdict(config)
        self.assertEqual({name: fields[name] for name in expected}, expected)
        made = optimizer.make(config, 1251, [keras.Variable([0.0])])
        self.assertTrue(made.nesterov)
        augmentation = augment.Augmentation.from_config(config, False)
        self.assertEqual(augmentation.kind, "random_resized_crop")

    def test_the_network_of_the_paper(self):
        """Batch norm's constants and the initial values of section 3."""
        config = dataclasses.replace(
            recipes.get("paper", "RegNetY-200MF"), variant="RegNetY-200MF"
        )
        network = network_lib.network_config(config)
        keras.utils.set_random_seed(0)
        model = network_lib.build(config, network, 10)
        norms = [
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        for norm in norms:
            self.assertEqual((norm.momentum, norm.epsilon), (0.9, 1e-5))
            self.assertFalse(norm.synchronized)
            self.assertEqual(float(keras.ops.min(norm.gamma)), 1.0)
        # A grouped kernel: 3 * 3 * 368 outputs, whatever the groups.
        kernel = model.get_layer("stage4_block2_conv2").kernel.numpy()
        self.assertEqual(kernel.shape, (3, 3, 8, 368))
        self.assertAlmostEqual(
            kernel.std() / (2 / (9 * 368)) ** 0.5, 1, delta=0.02
        )
        head = model.get_layer("head_fc")
        self.assertAlmostEqual(head.kernel.numpy().std(), 0.01, delta=5e-4)
        self.assertEqual(abs(head.bias.numpy()).max(), 0)


class RecipesTest(parameterized.TestCase):
    @parameterized.parameters(*recipes.NAMES)
    def test_names_itself(self, name):
        self.assertEqual(recipes.get(name).recipe, name)

    def test_unknown(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'modern'"):
            recipes.get("moden")

    def test_modern_decays_kernels_only_and_mixes(self):
        config = recipes.get("modern")
        self.assertFalse(config.decay_norm_and_bias)
        self.assertTrue(config.mixes())
        self.assertGreater(config.evaluation_size(), config.training_size())


class FreezingTest(parameterized.TestCase):
    def build(self, **fields):
        config = dataclasses.replace(recipes.get("finetune"), **fields)
        return network_lib.build(config, training_testing.TINY, 10)

    def test_stages(self):
        model = self.build(frozen_stages=1)
        for layer in model.layers:
            if layer.weights:
                early = layer.name.startswith(("stem", "stage1"))
                self.assertEqual(layer.trainable, not early, layer.name)

    def test_batch_norm(self):
        model = self.build(frozen_bn=True)
        kinds = {type(v).__name__ for v in model.trainable_variables}
        self.assertLen(kinds, 1)
        names = {v.name for v in model.trainable_variables}
        self.assertEqual(names, {"kernel", "bias"})
        norm = model.get_layer("stem_conv_bn")
        before = norm.moving_mean.numpy()
        model(keras.ops.ones((2, 32, 32, 3)), training=True)
        self.assertEqual(abs(norm.moving_mean.numpy() - before).max(), 0)

    def test_too_many(self):
        with self.assertRaisesRegex(ValueError, "at most 2.*frozen_stages=5"):
            self.build(frozen_stages=5)


if __name__ == "__main__":
    absltest.main()
