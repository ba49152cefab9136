from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import variants

_SMALL_Y = ("200MF", "400MF", "600MF", "800MF", "1.6GF")


class VariantsTest(parameterized.TestCase):
    def test_lists_every_variant_once(self):
        names = variants.list_variants()
        self.assertLen(names, 45)
        self.assertLen(set(names), 45)
        counts = {
            family: len(variants.list_variants(family))
            for family in (*variants.FAMILIES, "resnet", "ResNeXt")
        }
        self.assertEqual(
            counts,
            {"RegNetX": 12, "RegNetY": 17, "RegNetZ": 8, "RegNetV": 2}
            | {"resnet": 3, "ResNeXt": 3},
        )

    def test_every_name_finds_itself(self):
        for name in variants.list_variants():
            self.assertEqual(variants.variant_name(name), name)
            self.assertEqual(variants.variant_name(name.lower()), name)

    @parameterized.parameters(
        ("3.2GF", "RegNetY-3.2GF"),
        ("3.2gf", "RegNetY-3.2GF"),
        ("3_2gf", "RegNetY-3.2GF"),
        ("032", "RegNetY-3.2GF"),
        ("RegNetY-3.2GF", "RegNetY-3.2GF"),
        ("regnety_032", "RegNetY-3.2GF"),
        ("RegNetY032", "RegNetY-3.2GF"),
        ("regnet_y_3_2gf", "RegNetY-3.2GF"),
        ("4GF", "RegNetY-4.0GF"),
        ("4.0GF", "RegNetY-4.0GF"),
        ("8gf", "RegNetY-8.0GF"),
        ("400mf", "RegNetY-400MF"),
        ("0.4GF", "RegNetY-400MF"),
        ("002", "RegNetY-200MF"),
        ("1280", "RegNetY-128GF"),
        ("256GF", "RegNetY-256GF"),
        ("256GF-SEER", "RegNetY-256GF-SEER"),
    )
    def test_spellings(self, spelling, name):
        self.assertEqual(variants.variant_name(spelling, "RegNetY"), name)

    @parameterized.parameters(
        ("regnety_2560", "RegNetY-256GF-SEER"),
        ("RegNetY-256GF", "RegNetY-256GF"),
        ("regnet-y-10b-seer", "RegNetY-10B-SEER"),
        ("regnetz_040", "RegNetZ-4.0GF-NoHeadConv"),
        ("regnetz_040_h", "RegNetZ-4.0GF"),
        ("regnetz_005", "RegNetZ-500MF"),
        ("regnetz_4gf", "RegNetZ-4.0GF"),
        ("regnetz_b16", "RegNetZ-B16"),
        ("RegNetZ-D8", "RegNetZ-D8"),
        ("regnetv_040", "RegNetV-4.0GF"),
    )
    def test_spellings_of_timm(self, spelling, name):
        self.assertEqual(variants.variant_name(spelling), name)

    @parameterized.parameters(
        ("resnet50", "ResNet-50"),
        ("ResNeXt-101-32x4d", "ResNeXt-101"),
        ("resnext50_32x4d", "ResNeXt-50"),
    )
    def test_spellings_of_resnets(self, spelling, name):
        self.assertEqual(variants.variant_name(spelling), name)

    @parameterized.parameters(
        ("400MG", "RegNetX", "Did you mean '400MF'.* Received: variant='400MG"),
        ("RegNetX-500MF", None, "Did you mean 'RegNetX-600MF|800MF|400MF"),
        ("RegNetX-64GF", None, "Allowed: 'RegNetX-200MF'"),
        ("RegNetX-400MF", "RegNetY", "Did you mean 'RegNetY-400MF'"),
        ("400MF", None, "Unknown `variant`"),
        ("", "RegNetX", "Unknown `variant`"),
        ("regnetz_d8_evos", None, "EvoNorm-S0 in place of .*d8_evos"),
        (None, "RegNetX", "Unknown `variant`.* Received: variant=None"),
        ("resnet51", None, "Did you mean 'ResNet-50'"),
        ("D16", "RegNetZ", "Did you mean 'C16'"),
    )
    def test_unknown_variants(self, variant, family, message):
        with self.assertRaisesRegex(ValueError, message):
            variants.variant_name(variant, family)

    @parameterized.parameters(
        ("RegNetV*", ["RegNetV-4.0GF", "RegNetV-6.4GF"]),
        ("regnet_v*", ["RegNetV-4.0GF", "RegNetV-6.4GF"]),
        ("regnet-v-???", ["RegNetV-4.0GF", "RegNetV-6.4GF"]),
        ("*-32gf", ["RegNetX-32GF", "RegNetY-32GF"]),
        ("*_320", ["RegNetX-32GF", "RegNetY-32GF"]),
        ("regnety_0[01]*", [f"RegNetY-{n}" for n in _SMALL_Y]),
        ("regnet_y_1_6*", ["RegNetY-1.6GF"]),
        ("RegNetX-4*", ["RegNetX-400MF", "RegNetX-4.0GF"]),
        ("regnetx 4g*", ["RegNetX-4.0GF"]),
        # Timm's numbers for these two are no multiples of their names.
        ("*2560*", ["RegNetY-256GF-SEER"]),
        ("regnetz_040", ["RegNetZ-4.0GF-NoHeadConv"]),
        ("regnetz_040*", ["RegNetZ-4.0GF", "RegNetZ-4.0GF-NoHeadConv"]),
        ("*seer", ["RegNetY-256GF-SEER", "RegNetY-10B-SEER"]),
        ("resnext", ["ResNeXt-50", "ResNeXt-101", "ResNeXt-152"]),
        ("ResNet50", ["ResNet-50"]),
    )
    def test_patterns(self, pattern, names):
        self.assertEqual(variants.list_variants(pattern), tuple(names))

    def test_every_spelling_is_found_by_its_pattern(self):
        for name in variants.list_variants():
            for pattern in (name, name.lower() + "*", f"*{name[2:]}"):
                self.assertIn(name, variants.list_variants(pattern), pattern)

    @parameterized.parameters(
        ("RegNetXX", "Unknown `pattern`. Did you mean 'RegNetX'"),
        ("regnety-9*", "Did you mean 'RegNetY.* Received: pattern='regnety-9"),
        ("3.2GF", "Unknown `pattern`"),
        ("", "Unknown `pattern`"),
    )
    def test_patterns_of_no_network(self, pattern, message):
        with self.assertRaisesRegex(ValueError, message):
            variants.list_variants(pattern)

    def test_unknown_family(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'RegNetX'"):
            variants.variant_name("200MF", "RegNetXX")


if __name__ == "__main__":
    absltest.main()
