"""Tests of TrainConfig and the recipes."""

import dataclasses
import json
import math
import os

from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing  # noqa: F401, puts training/ on the path
from training.config import config as train_config
from training.config import fields
from training.config import recipes

TrainConfig = train_config.TrainConfig


class TrainConfigTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("strategy", {"strategy": "miror"}, "Did you mean 'mirrored'"),
        ("small image", {"image_size": 31}, "at least 32.*image_size=31"),
        ("low", {"image_size": "31x64"}, "at least 32.*image_size=31x64"),
        ("no size", {"image_size": "64*64"}, "or HEIGHTxWIDTH, such as.*64.64"),
        ("three sides", {"eval_image_size": "64x64x3"}, "eval_image_size=.64x"),
        ("true", {"image_size": True}, "HEIGHTxWIDTH.*image_size=True"),
        ("weights", {"class_weights": "balance"}, "Did you mean 'balanced'"),
        ("stopping", {"early_stopping_epochs": -1}, "at least 0.*epochs=-1"),
        ("no epochs", {"epochs": 0}, "at least 1.*epochs=0"),
        ("negative size", {"eval_image_size": -1}, "0 or at least 32.*=-1"),
        ("devices", {"num_cpu_devices": 10**9}, "within 0 and 1024"),
        ("subset", {"balanced_subset": True}, "needs num_train_examples"),
        ("milestones", {"milestones": "3epochs"}, "needs schedule='step'"),
        ("place", {"task_index": 1}, "needs worker_hosts.*task_index=1"),
        ("tpu", {"tpu": "node"}, "needs strategy='tpu'"),
        ("text", {"epochs": "3"}, "must be of type int.*epochs='3'"),
        ("bool", {"epochs": True}, "must be of type int.*epochs=True"),
        ("nan", {"weight_decay": float("nan")}, "at least 0.*nan"),
        ("rate", {"dropout_rate": 1.5}, "within 0 and 0.99.*1.5"),
        (
            "precision",
            {"precision": "mixed_fp16"},
            "Did you mean 'mixed_float16'",
        ),
    )
    def test_wrong_values(self, given, message):
        with self.assertRaisesRegex(ValueError, message):
            TrainConfig(**given)

    def test_a_size_is_written_in_one_way(self):
        config = TrainConfig(image_size="64", eval_image_size="64x64")
        self.assertEqual((config.image_size, config.eval_image_size), (64, 64))
        self.assertEqual(config, TrainConfig(image_size=64, eval_image_size=64))
        config = TrainConfig(image_size="48x64")
        self.assertEqual(config.training_size(), (48, 64))
        self.assertEqual(config.evaluation_size(), (48, 64))
        stored = json.loads(config.to_json())
        self.assertEqual(TrainConfig(**stored), config)
        config = dataclasses.replace(config, eval_image_size="0")
        self.assertEqual(config.evaluation_size(), (48, 64))

    def test_every_field_says_what_it_is(self):
        for field in dataclasses.fields(TrainConfig):
            self.assertNotEmpty(field.metadata["help"], field.name)

    def test_a_field_has_bounds_or_choices_that_hold(self):
        """The defaults are among them, and what is beyond them is not."""
        for field in dataclasses.fields(TrainConfig):
            low, high = field.metadata["low"], field.metadata["high"]
            for wrong in (low is not None and low - 1, high + 1):
                if wrong is not False and wrong < math.inf:
                    kind = int if field.type == fields.Size else field.type
                    with self.assertRaisesRegex(ValueError, field.name):
                        TrainConfig(**{field.name: kind(wrong)})
            for choice in field.metadata["choices"]:
                self.assertIsInstance(choice, str)

    def test_older_names_of_fields(self):
        fields = json.loads(TrainConfig(val_fraction=0.2).to_json())
        older = {
            {"val_fraction": "val_share"}.get(name, name): value
            for name, value in fields.items()
        }
        self.assertNotEqual(older, fields)
        self.assertEqual(train_config.stored_fields(older), fields)

    def test_a_path_may_begin_with_a_tilde(self):
        home = os.path.expanduser("~")
        config = TrainConfig(workdir="~/run", results="~", data_dir="a~b")
        self.assertEqual(config.workdir, f"{home}/run")
        self.assertEqual((config.results, config.data_dir), (home, "a~b"))

    def test_what_a_run_that_resumes_may_change(self):
        """Whatever is not named here decides about weights or metrics."""
        by_kind = {}
        for field in dataclasses.fields(TrainConfig):
            kind = field.metadata["resume"]
            by_kind.setdefault(kind, set()).add(field.name)
        self.assertEqual(by_kind["network"], {"variant", "stem"})
        self.assertEqual(by_kind["data"], {"dataset", "data_dir"})
        self.assertEqual(
            by_kind["nothing"],
            {
                *("workdir", "results", "log_seconds", "profile"),
                *("tpu", "worker_hosts", "task_index", "collectives"),
                *("epochs", "total_steps", "total_examples"),
                *("early_stopping_epochs", "best_metric"),
                *("checkpoints_to_keep", "best_checkpoints_to_keep"),
                *("checkpoint_seconds", "checkpoint_steps"),
                *("export_best", "portable_export", "threshold"),
                *("cache", "skip_bad_images"),
            },
        )

    def test_differences_of_a_kind(self):
        stored = json.loads(TrainConfig(data_dir="a").to_json())
        ours = TrainConfig(data_dir="b", seed=1, variant="RegNetX-400MF")
        self.assertEqual(
            train_config.differences(ours, stored, "data"),
            ["data_dir: 'a' in the folder, 'b' requested"],
        )
        self.assertLen(train_config.differences(ours, stored, "network"), 1)
        self.assertLen(train_config.differences(ours, stored), 1)

    def test_a_run_from_before_there_was_a_field(self):
        stored = json.loads(TrainConfig().to_json())
        for name in ("class_weights", "labels", "threshold"):
            del stored[name]
        self.assertEmpty(train_config.differences(TrainConfig(), stored))
        ours = TrainConfig(class_weights="balanced")
        self.assertEqual(
            train_config.differences(ours, stored),
            ["class_weights: 'none' in the folder, 'balanced' requested"],
        )

    def test_differences_name_the_fields(self):
        stored = json.loads(TrainConfig(seed=1, epochs=3).to_json())
        ours = TrainConfig(seed=2, epochs=5, flip=False, workdir="elsewhere")
        self.assertEqual(
            train_config.differences(ours, stored),
            [
                "seed: 1 in the folder, 2 requested",
                "flip: True in the folder, False requested",
            ],
        )


class RecipesTest(parameterized.TestCase):
    @parameterized.parameters(*recipes.NAMES)
    def test_a_recipe_carries_its_name(self, name):
        self.assertEqual(recipes.get(name).recipe, name)

    def test_paper(self):
        config = recipes.get("paper")
        # 0.1 per 128 images.
        self.assertAlmostEqual(config.learning_rate(), 0.8)
        self.assertEqual(config.weight_decay, 5e-5)
        self.assertTrue(config.decay_norm_and_bias)
        self.assertTrue(config.per_epoch_schedule)

    def test_unknown(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'paper'"):
            recipes.get("papr")


if __name__ == "__main__":
    absltest.main()
