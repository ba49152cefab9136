import dataclasses
import html
import html.parser
import importlib
import json
import pathlib
import sys
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest

from keras_regnet import config
from keras_regnet import design_space
from keras_regnet.design_space import charts
from keras_regnet.design_space import page_data
from keras_regnet.design_space import records
from keras_regnet.design_space import report
from keras_regnet.design_space import summary
from tests.support import design_space_testing as testing

_HOSTILE = "</script><b>loss & nan{{js}}<!--"


class _Page(html.parser.HTMLParser):
    """Collects addresses, and elements that were not closed."""

    _VOID = ("meta", "input")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [
            attrs[name] for name in ("src", "href") if name in attrs
        ]
        self.tags.append(tag)
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            # HTML lets rows of lists and options end by themselves.
            pass


def _write(path, *arguments, **keywords):
    """Writes a page without the script of the charts, which takes seconds."""
    with mock.patch.object(charts, "script", return_value="// Vega"):
        report.write(path, *arguments, **keywords)
    return path.read_text()


class ReportTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = (
            pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
            / "report.html"
        )
        cls.failed = dataclasses.replace(
            testing.FAILED,
            trial_id="f",
            space="RegNetX",
            index=7,
            attempt=2,
            reason=_HOSTILE,
        )
        cls.records = [
            *testing.population("RegNetX", 12, 40),
            *testing.population("AnyNetX_A", 9, 50),
            cls.failed,
        ]
        cls.missing = {"AnyNetX_A": 3, "RegNetY": 5}
        cls.page = _write(cls.path, cls.records, cls.missing)
        cls.data = testing.page_data(cls.page)

    def test_needs_no_network(self):
        parsed = _Page()
        parsed.feed(self.page)
        self.assertEmpty(parsed.open)
        self.assertEmpty(parsed.addresses)
        self.assertIn("default-src 'none'", self.page)
        self.assertNotIn("$schema", self.page)
        self.assertEqual(parsed.tags.count("script"), 3)

    def test_counts_out_loud(self):
        self.assertIn("21 networks trained, 1 failed for good, 8", self.page)
        counts = [space["counts"] for space in self.data["spaces"]]
        self.assertEqual(
            counts, ["n = 12, 1 FAILED", "n = 9, 3 not run", "n = 0, 5 not run"]
        )
        self.assertIn("RegNetX is better", self.page)
        self.assertIn("certainly better than 1 of the 1 other", self.page)

    def test_what_no_budget_changes_says_so(self):
        """Sentences are of the whole sweep; a script shows the first note."""
        text = " ".join(self.page.split())
        self.assertIn('<span id="of-all" class="note" hidden>This is', text)
        self.assertIn('get("of-all").hidden = shown.length ===', text)
        self.assertIn("Findings in words, of the whole sweep", text)

    def test_rows(self):
        rows = testing.rows(self.page)
        self.assertLen(rows, 22)
        errors = [row["error"] for row in rows if row["error"] is not None]
        expected = [record.error for record in self.records if record.done]
        self.assertCountEqual(errors, expected)
        self.assertEqual(
            self.data["stages"][0], [[1, 2], [16, 32], [8, 8], [2, 2], [2, 2]]
        )
        self.assertIsNone(rows[12]["error"])
        self.assertEqual(self.data["curves"][0], [70.0, 40.0])

    def test_bands_and_differences(self):
        """As the functions that compute them give them."""
        errors = [r.error for r in self.records if r.done][:12]
        low, high = design_space.edf_confidence_band(errors, [0, 100])
        space = self.data["spaces"][0]
        ends = [space["low"][0], space["low"][-1]]
        np.testing.assert_allclose(ends, low, atol=1e-5)
        ends = [space["high"][0], space["high"][-1]]
        np.testing.assert_allclose(ends, high, atol=1e-5)
        self.assertLen(space["low"], 13)
        (pair,) = self.data["comparisons"]
        self.assertEqual((pair["first"], pair["high"] < 0), ("RegNetX", True))

    def test_what_is_quoted_stays_text(self):
        escaped = html.escape(_HOSTILE)
        self.assertIn(escaped, self.page)
        hostile = dataclasses.replace(testing.RECORD, space=_HOSTILE)
        page = _write(self.path.with_name("x.html"), [hostile], title=_HOSTILE)
        for text in (self.page, page):
            self.assertNotIn("</script><b>", text)
            self.assertEqual(text.count('"use strict"'), 1)
        (space,) = testing.page_data(page)["spaces"]
        self.assertEqual(space["name"], _HOSTILE)

    def test_same_records_same_page(self):
        again = self.path.with_name("again.html")
        self.assertEqual(_write(again, self.records, self.missing), self.page)

    def test_only_failures(self):
        page = _write(self.path.with_name("failures.html"), [self.failed])
        self.assertIn("0 networks trained, 1 failed for good", page)
        self.assertIn("No network has been trained yet", page)

    def test_nothing(self):
        with self.assertRaisesRegex(ValueError, "the sweep is empty"):
            report.write(self.path.with_name("x.html"), [])

    def test_without_the_extra(self):
        with mock.patch.dict(sys.modules, {"altair": None}):
            del sys.modules[charts.__name__]
            with self.assertRaisesRegex(
                ImportError, r"pip install 'keras_regnet\[design\]'"
            ):
                importlib.import_module(charts.__name__)

    def test_styles_differ(self):
        """In more than color, and for more spaces than there are colors."""
        styles = [charts.style(number) for number in range(24)]
        self.assertLen({str(style) for style in styles}, 24)
        signs = {(str(s["dash"]), s["shape"]) for s in styles[:8]}
        self.assertGreaterEqual(len(signs), 8)


class ElsewhereTest(absltest.TestCase):
    """The 32 networks on ImageNet, of which only the errors are known."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        networks, cls.errors = design_space.imagenet_population()
        cls.records = records.from_networks(
            networks, cls.errors, space="RegNetX", regime="ImageNet, 25 epochs"
        )
        # A page from a file, as a user has it.
        path = pathlib.Path(folder) / "records.jsonl.gz"
        records.write_packed(path, cls.records)
        cls.page = _write(path.with_suffix(".html"), records.read(path))
        cls.data = testing.page_data(cls.page)

    def test_page(self):
        self.assertIn("Design spaces: ImageNet, 25 epochs", self.page)
        self.assertIn("32 networks trained, 0 failed for good", self.page)
        self.assertIn("RegNetX: n = 32, min 34.98, mean 37.11 %", self.page)
        self.assertEqual(self.data["curves"], [[]] * 32)

    def test_configurations(self):
        """What is copied from the page is the network that was trained."""
        rows = testing.rows(self.page)
        self.assertEqual(
            [config.from_json(row["config"]) for row in rows],
            [record.network for record in self.records],
        )

    def test_properties(self):
        values = {p["name"]: p["values"] for p in self.data["properties"]}
        # The first line of the authors' table.
        self.assertEqual((values["depth"][0], values["w_0"][0]), (18, 42))
        self.assertEqual(values["w_m"][0], 2.163940430363111)
        for flops in values["flops"]:
            self.assertBetween(flops, 0.36e9, 0.44e9)
        # All have the same.
        self.assertNotIn("se_ratio", values)
        self.assertEqual(
            self.data["budgets"], ["flops", "params", "activations"]
        )

    def test_properties_that_a_network_does_not_have(self):
        free = config.AnyNetConfig(
            (1, 2), (32, 64), bottleneck_ratios=(1, 2), group_widths=(8, 16)
        )
        record = dataclasses.replace(testing.RECORD, config=free.to_json())
        found = page_data.properties(record)
        self.assertIsNone(found["w_0"])
        self.assertIsNone(found["bottleneck_ratio"])
        self.assertEqual((found["group_width"], found["last_width"]), (16, 64))

    def test_best_values(self):
        """What docs/design_spaces.md prints of the same networks."""
        (space,) = summary.summarize(self.records)["spaces"]
        best = space["best_value"]
        self.assertBetween(best["w_m"]["median"], 2.3, 2.6)
        self.assertBetween(best["w_0"]["median"], 30, 36)
        self.assertLess(best["depth"]["low"], best["depth"]["median"])

    def test_refused(self):
        networks, _ = design_space.imagenet_population()
        for errors, message in (
            ([1.0], "as many as `networks`.*32 networks, 1 err"),
            ([*[50.0] * 31, 100.5], "from 0 to 100 percent.*100.5"),
            ([*[50.0] * 31, float("nan")], "from 0 to 100 percent.*nan"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                records.from_networks(
                    networks, errors, space="RegNetX", regime="mine"
                )


class SummaryTest(absltest.TestCase):
    def test_one_regime_at_a_time(self):
        other = dataclasses.replace(testing.RECORD, regime="cifar10")
        with self.assertRaisesRegex(ValueError, "Received: cifar10, digits"):
            summary.populations([testing.RECORD, other])

    def test_retried_trial_counts_once(self):
        done = dataclasses.replace(testing.RECORD, attempt=2)
        (found,) = summary.populations([testing.FAILED, done])
        self.assertEqual((found.done, found.failed), ((done,), ()))

    def test_few_networks_are_not_compared(self):
        few = testing.population("B", 7, 90)
        found = [*testing.population("A", 20, 40), *few]
        self.assertEmpty(summary.summarize(found)["comparisons"])

    def test_statistics(self):
        records = testing.population("A", 20, 40)
        result = summary.summarize(
            [*records, *testing.population("B", 30, 55)], {"C": 2}
        )
        first = result["spaces"][0]
        errors = [record.error for record in records]
        self.assertAlmostEqual(first["mean"], sum(errors) / 20)
        self.assertEqual(first["min"], min(errors))
        (pair,) = result["comparisons"]
        self.assertLess(pair["high"], -10)
        self.assertEqual(pair["sizes"], [20, 30])
        self.assertEqual(result["spaces"][2]["missing"], 2)
        words = " ".join(summary.sentences(result))
        self.assertIn("n = 20 and 30, 0 and 0 failed: A is better.", words)
        self.assertEqual(json.loads(json.dumps(result)), result)


if __name__ == "__main__":
    absltest.main()
