"""What a process says that it computes with."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import instruction_sets
from keras_regnet import onednn
from keras_regnet import processor
from keras_regnet.layers import kernels

_ZEN_2 = frozenset(("sse4_1", "avx", "avx2", "fma"))
_SKYLAKE = _ZEN_2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
_CASCADE_LAKE = _SKYLAKE | {"avx512_vnni"}


class InstructionsTest(parameterized.TestCase):
    @parameterized.parameters(
        (_ZEN_2, "", "AVX2"),
        (_ZEN_2 | {"avx_vnni"}, "", "AVX2_VNNI"),
        (_SKYLAKE, "", "AVX512_CORE"),
        (_CASCADE_LAKE, "", "AVX512_CORE_VNNI"),
        (_CASCADE_LAKE, "AVX2", "AVX2"),
        (_CASCADE_LAKE, "avx512_core", "AVX512_CORE"),
        (_CASCADE_LAKE, "ALL", "AVX512_CORE_VNNI"),
        (_ZEN_2, "AVX512_CORE", "AVX2"),
    )
    def test_best_within_the_limit(self, flags, limit, expected):
        self.assertEqual(instruction_sets.best_of(flags, limit), expected)

    def test_name_of_the_machine_where_no_flag_tells(self):
        with mock.patch("platform.machine", return_value="aarch64"):
            self.assertEqual(instruction_sets.best_of(frozenset()), "aarch64")


class SettingTest(parameterized.TestCase):
    @parameterized.parameters(
        (True, True, "oneDNN on, convolutions in groups native"),
        (False, False, "oneDNN off, convolutions in groups portable"),
    )
    def test_follows_what_tensorflow_does(self, is_on, works, expected):
        with (
            mock.patch.object(onednn, "is_on", return_value=is_on),
            mock.patch.object(kernels, "native_conv_works", return_value=works),
        ):
            text = str(processor.setting())
        self.assertRegex(text, rf"^\w+, [1-9]\d* threads, {expected}$")


if __name__ == "__main__":
    absltest.main()
