"""Tests of the precision that a run computes in."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import instruction_sets
from keras_regnet import onednn
from keras_regnet.layers import tracing
from training.trainer import precision


class PolicyTest(parameterized.TestCase):
    @parameterized.parameters(
        ("AVX512_CORE_AMX", True, "mixed_bfloat16"),
        ("AVX512_CORE_BF16", True, "mixed_bfloat16"),
        ("AVX512_CORE_BF16", False, "float32"),
        ("AVX512_CORE_VNNI", True, "float32"),
        ("AVX2", True, "float32"),
    )
    def test_bfloat16_on_processors(self, instructions, is_on, expected):
        with (
            mock.patch.object(
                instruction_sets, "best", return_value=instructions
            ),
            mock.patch.object(onednn, "is_on", return_value=is_on),
            self.assertLogs(level="WARNING")
            if expected == "float32"
            else self.assertNoLogs(level="WARNING"),
        ):
            self.assertEqual(precision.policy("mixed_bfloat16"), expected)

    def test_accelerators_have_it(self):
        with (
            mock.patch.object(instruction_sets, "best", return_value="AVX2"),
            mock.patch.object(tracing, "has_accelerator", return_value=True),
        ):
            found = precision.policy("mixed_bfloat16")
        self.assertEqual(found, "mixed_bfloat16")

    @parameterized.parameters("float32", "mixed_float16")
    def test_others_are_taken_as_they_are(self, requested):
        self.assertEqual(precision.policy(requested), requested)


if __name__ == "__main__":
    absltest.main()
