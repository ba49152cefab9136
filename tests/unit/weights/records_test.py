import collections
import dataclasses
import itertools

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import variants
from keras_regnet.weights import formats
from keras_regnet.weights import records
from tests.support import published

# What the publishers list. Of timm's, 72 of 74: an NF-RegNet and a HaloNet are
# other architectures.
_COUNTS = {
    "timm": 72,
    "torchvision": 34,
    "pycls": 24,
    "transformers": 30,
    "swag": 6,
    "vissl": 13,
    "keras_applications": 24,
    "kimm": 24,
    "kecam": 12,
}
_NON_COMMERCIAL_TAGS = {
    "seer",
    "seer_ft_in1k",
    "swag",
    "swag_ft_in1k",
    "swag_lc_in1k",
}


class RecordsTest(parameterized.TestCase):
    def test_counts_of_the_publishers(self):
        counts = collections.Counter(
            record.source for record in records.all_records()
        )
        self.assertEqual(counts, _COUNTS)

    def test_the_paper_s_networks_have_the_paper_s_weights(self):
        for source in ("timm", "pycls", "transformers", "keras_applications"):
            tag = "keras_in1k" if "keras" in source else "pycls_in1k"
            names = {
                record.variant
                for record in records.list_weights(source=source)
                if record.tag == tag
            }
            paper = [row["variant"] for row in published.rows("published")]
            self.assertEqual(
                names, {name for name in paper if name.startswith("RegNet")}
            )

    def test_every_record_is_found_by_its_full_tag(self):
        for record in records.all_records():
            self.assertIn(record.variant, variants.list_variants())
            self.assertIs(records.find(record.variant, record.full_tag), record)

    def test_every_record_is_complete(self):
        for record in records.all_records():
            with self.subTest(f"{record.variant} {record.full_tag}"):
                self.assertIn(record.format, (*formats.FORMATS, "kimm"))
                self.assertTrue(bool(record.hub_id) ^ bool(record.url))
                if record.url:
                    self.assertEndsWith(record.url, "/" + record.file)
                self.assertRegex(record.sha256, r"^([0-9a-f]{8,64})?$")
                self.assertRegex(record.md5, r"^([0-9a-f]{32})?$")
                self.assertFalse(record.md5 and record.sha256)
                self.assertRegex(record.licence, r"^[a-z][a-z0-9.-]+$")
                self.assertIn(record.classes, (0, 1000, 11821))
                self.assertIn(record.interpolation, ("bilinear", "bicubic"))
                self.assertBetween(record.test_size, 224, 384)
                self.assertBetween(record.crop, 0.85, 1)
                self.assertGreaterEqual(record.resize, record.test_size)
                self.assertBetween(record.top1 or 67, 67, 89)
                self.assertIsNone(
                    record.top1 if record.classes != 1000 else None
                )

    def test_no_two_files_share_a_name(self):
        """They lie in one folder, where one would stand for the other."""
        urls = {
            url
            for record in records.all_records()
            for url in (record.url, record.notop_url)
            if url
        }
        files = collections.Counter(url.rsplit("/", 1)[1] for url in urls)
        self.assertEqual([n for n, count in files.items() if count > 1], [])

    def test_files_of_one_network_are_treated_alike(self):
        """So that the rules hold for unknown files, too."""
        for file_format, network in itertools.product(
            formats.FORMATS, variants.list_variants()
        ):
            rules = {
                (r.mean, r.std, r.padding)
                for r in records.of_format(file_format, network)
            }
            self.assertLessEqual(len(rules), 1, (file_format, network))
            typical = records.typical(file_format, network)
            self.assertEqual(typical.format, file_format)
            if rules:
                self.assertEqual(typical.variant, network)

    def test_only_keras_applications_pads_as_tensorflow_does(self):
        for record in records.all_records():
            is_keras = record.source == "keras_applications"
            self.assertEqual(record.padding == "same", is_keras)
            self.assertEqual(record.mean == (0, 0, 0), is_keras)
            # VISSL converted two sets that pycls trained.
            of_pycls = record.source == "pycls" or record.tag == "sup_in1k"
            self.assertEqual(record.channel_order == "BGR", of_pycls)

    def test_non_commercial_sets_are_none_by_default(self):
        for record in records.all_records():
            self.assertEqual(
                not record.commercial, record.tag in _NON_COMMERCIAL_TAGS
            )
        for name in variants.list_variants():
            tags = [record.tag for record in records.list_weights(name)]
            if records.IMAGENET_TAG in tags:
                self.assertEqual(records.find(name, "imagenet").licence, "mit")

    def test_sets_of_published_figures(self):
        """As the publishers' tables have them."""
        record = records.find("RegNetY-3.2GF", "ra_in1k")
        self.assertEqual(record.hub_id, "timm/regnety_032.ra_in1k")
        self.assertEqual((record.train_size, record.test_size), (224, 288))
        self.assertEqual((record.train_resize, record.resize), (235, 288))
        self.assertEqual(
            (record.top1_at_train_size, record.top1), (81.948, 82.724)
        )
        record = records.find("regnet_y_16gf", "swag_ft_in1k@torchvision")
        self.assertEqual((record.resize, record.test_size), (384, 384))
        self.assertEqual(record.sha256, "43afe44d")
        self.assertEqual(record.interpolation, "bicubic")
        record = records.find("regnetz_d8", "ra3_in1k")
        self.assertEqual(record.mean, (127.5, 127.5, 127.5))
        record = records.find("RegNetX-400MF", "tv2_in1k")
        self.assertEqual(record.hub_id, "timm/regnetx_004_tv.tv2_in1k")
        self.assertEqual(record.width_rounding, "torchvision")

    def test_sets_of_kimm_are_timm_s(self):
        for record in records.list_weights(source="kimm"):
            twin = records.find(record.variant, f"{record.tag}@timm")
            self.assertEqual(record.licence, twin.licence)

    def test_imagenet_needs_no_pickle(self):
        record = records.find("RegNetX-32GF", "imagenet")
        self.assertEqual(record.full_tag, "pycls_in1k@timm")
        self.assertEqual(record.file, "model.safetensors")

    def test_by_digest(self):
        rest = "0" * 56
        (record,) = records.by_digest("62229a5f" + rest)
        self.assertEqual(record.variant, "RegNetX-400MF")
        self.assertEqual(record.full_tag, "tv2_in1k@torchvision")
        notop = records.find("RegNetX-200MF", "keras_in1k").notop_sha256
        self.assertLen(records.by_digest(notop), 1)
        self.assertEqual(records.by_digest("00000000" + rest), ())

    @parameterized.parameters(
        ("RegNetY-3.2GF", "tv_in2k", "Did you mean 'tv_in1k'.* 'ra_in1k'"),
        ("RegNetY-3.2GF", "tv_in1k@timm", "'tv_in1k@torchvision'"),
        (
            "RegNetY-128GF",
            "imagenet",
            "Allowed: 'default', 'seer', .*'swag_lc_in1k'",
        ),
        ("RegNetV-4.0GF", "imagenet", "'default', 'ra3_in1k'. Received"),
        ("ResNet-50", "imagenet", "of which no weights were published"),
        ("RegNetY-3.3GF", "imagenet", "Unknown `variant`"),
    )
    def test_unknown_tags(self, variant, tag, message):
        with self.assertRaisesRegex(ValueError, message):
            records.find(variant, tag)

    def test_lists(self):
        found = records.list_weights("regnety_032")
        self.assertEqual(
            sorted({record.tag for record in found}),
            ["keras_in1k", "pycls_in1k", "ra_in1k", "tv2_in1k", "tv_in1k"],
        )
        self.assertEqual(records.list_weights("ResNet-50"), ())
        self.assertLen(records.list_weights(), len(records.all_records()))
        with self.assertRaisesRegex(ValueError, "Did you mean 'torchvision'"):
            records.list_weights(source="torchvison")

    @parameterized.parameters(
        (dict(variant="RegNetZ-*"), lambda r: r.variant.startswith("RegNetZ")),
        (dict(variant="regnety"), lambda r: r.variant.startswith("RegNetY")),
        (dict(licence="MIT"), lambda r: r.licence == "mit"),
        (
            dict(licence="permissive"),
            lambda r: "-nc-" not in r.licence and r.licence != "seer-license",
        ),
        (dict(classes=0), lambda r: r.classes == 0),
        (dict(source="KIMM"), lambda r: r.source == "kimm"),
        (
            dict(variant="*_160", licence="cc-by-nc-4.0", classes=1000),
            lambda r: "swag_" in r.tag and r.variant == "RegNetY-16GF",
        ),
        (dict(source="swag", licence="mit"), lambda r: False),
    )
    def test_filters(self, arguments, expected):
        self.assertCountEqual(
            records.list_weights(**arguments),
            filter(expected, records.all_records()),
        )

    @parameterized.parameters(
        (dict(variant="RegNetW-*"), "Unknown `variant`. Did you mean 'RegNet"),
        (dict(licence="mitt"), "Unknown `licence`. Did you mean 'mit'"),
        (dict(classes="1000"), "`classes` must be an integer, or None"),
    )
    def test_filters_refuse(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            records.list_weights(**arguments)


class DefaultTest(parameterized.TestCase):
    # As the tables of timm, torchvision and pycls have them.
    @parameterized.parameters(
        ("RegNetX-400MF", "tv2_in1k@timm"),
        ("RegNetX-4.0GF", "pycls_in1k@timm"),
        ("RegNetY-3.2GF", "ra_in1k@timm"),
        # Swag's are better, and not for commercial use.
        ("RegNetY-16GF", "sw_in12k_ft_in1k@timm"),
        ("RegNetY-32GF", "tv2_in1k@timm"),
        ("RegNetZ-D8", "ra3_in1k@timm"),
        # No permissive set of these has a classifier; a pickle is all there is.
        ("RegNetY-64GF", "sup_in1k@vissl"),
        ("RegNetY-128GF", "sup_in1k@vissl"),
    )
    def test_default(self, variant, full_tag):
        record = records.find(variant, "default")
        self.assertEqual(record.full_tag, full_tag)
        self.assertIs(records.list_weights(variant)[0], record)

    def test_no_permissive_set_is_better(self):
        for name in variants.list_variants():
            found = records.list_weights(name, licence="permissive")
            flagged = [record for record in found if record.is_default]
            self.assertLen(flagged, 1 if found else 0, name)
            if not found:
                continue
            (default,) = flagged
            rivals = [
                r
                for r in found
                if r.classes == 1000
                and r.file.endswith((".safetensors", ".h5", ".keras"))
            ]
            best = max((r.top1 or 0 for r in rivals), default=None)
            self.assertEqual(default.top1, best, name)
            self.assertEqual(default.classes, 1000 if rivals else 0)

    @parameterized.parameters(
        ("RegNetY-10B-SEER", "no default weights.* 'seer' .seer-license"),
        ("ResNet-50", "of which no weights were published"),
    )
    def test_networks_without_one(self, variant, message):
        with self.assertRaisesRegex(ValueError, message):
            records.find(variant, "default")

    def test_ties_and_unknown_accuracies(self):
        first = records.find("RegNetX-200MF", "pycls_in1k@timm")
        made = [
            dataclasses.replace(first, variant="A", **changes)
            for changes in (
                dict(tag="unknown", top1=None),
                dict(tag="pickle", top1=90.0, file="a.pth"),
                dict(tag="first", top1=80.0),
                dict(tag="second", top1=80.0),
                dict(tag="other classes", top1=99.0, classes=11821),
                dict(tag="no classifier", top1=None, classes=0),
                dict(tag="bought", top1=95.0, licence="cc-by-nc-4.0"),
            )
        ]
        choose = records.default_record.__wrapped__
        for rows, tag in (
            (made, "first"),
            (made[:2] + made[4:], "unknown"),
            (made[1:2] + made[4:], "pickle"),
            (made[4:], "no classifier"),
        ):
            with absltest.mock.patch.object(records, "all_records") as table:
                table.return_value = tuple(rows)
                self.assertEqual(choose("A").tag, tag)


if __name__ == "__main__":
    absltest.main()
