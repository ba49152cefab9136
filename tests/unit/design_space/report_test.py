import dataclasses
import html.parser
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from keras_regnet import design_space
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import plots
from keras_regnet.design_space import records
from keras_regnet.design_space import report
from keras_regnet.design_space import summary
from tests.support import design_space_testing as testing


class _Page(html.parser.HTMLParser):
    """Collects addresses, and elements that were not closed."""

    _VOID = ("meta", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [
            attrs[name] for name in ("src", "href") if name in attrs
        ]
        if tag == "img":
            self.images.append(attrs["alt"])
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            # HTML lets rows of lists and options end by themselves.
            pass


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
            reason="</script><b>loss & nan",
        )
        cls.records = [
            *testing.population("RegNetX", 12, 40),
            *testing.population("AnyNetX_A", 9, 50),
            cls.failed,
        ]
        report.write(cls.path, cls.records, {"AnyNetX_A": 3, "RegNetY": 5})
        cls.page = cls.path.read_text()

    def test_needs_no_network(self):
        parsed = _Page()
        parsed.feed(self.page)
        self.assertEmpty(parsed.open)
        for address in parsed.addresses:
            self.assertStartsWith(address, "data:image/svg+xml;base64,")
        for name in ("error EDFs", "learning curves", "error against depth"):
            self.assertIn(name, parsed.images)
        self.assertIn("widths of networks of RegNetX", parsed.images)
        self.assertNotRegex(self.page, r"\{\{\w+\}\}")

    def test_counts_out_loud(self):
        self.assertIn("21 networks trained, 1 failed for good, 8", self.page)
        self.assertIn("RegNetX (n = 12, 1 FAILED)", self.page)
        self.assertIn("AnyNetX_A (n = 9, 3 not run)", self.page)
        self.assertIn("RegNetX is better", self.page)

    def test_rows(self):
        rows = testing.rows(self.page)
        self.assertLen(rows, 22)
        errors = [row["error"] for row in rows if row["status"] == "done"]
        expected = [record.error for record in self.records if record.done]
        self.assertCountEqual(errors, expected)
        self.assertEqual(rows[0]["network"], "d 1 2; w 16 32; g 8 8; b 2 2")
        self.assertIsNone(rows[12]["error"])

    def test_what_is_quoted_stays_text(self):
        escaped = "&lt;/script&gt;&lt;b&gt;loss &amp; nan"
        self.assertIn(escaped, self.page)
        self.assertNotIn("</script><b>", self.page)

    def test_same_records_same_page(self):
        again = self.path.with_name("again.html")
        report.write(again, self.records, {"AnyNetX_A": 3, "RegNetY": 5})
        self.assertEqual(again.read_text(), self.page)

    def test_only_failures(self):
        report.write(self.path.with_name("failures.html"), [self.failed])
        page = self.path.with_name("failures.html").read_text()
        self.assertIn("0 networks trained, 1 failed for good", page)
        self.assertIn("No network has been trained yet", page)

    def test_nothing(self):
        with self.assertRaisesRegex(ValueError, "the sweep is empty"):
            report.write(self.path.with_name("x.html"), [])


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
        report.write(path.with_suffix(".html"), records.read(path))
        cls.page = path.with_suffix(".html").read_text()

    def test_page(self):
        self.assertIn("Design spaces: ImageNet, 25 epochs", self.page)
        self.assertIn("32 networks trained, 0 failed for good", self.page)
        self.assertIn("RegNetX: n = 32, min 34.98, mean 37.11 %", self.page)
        parsed = _Page()
        parsed.feed(self.page)
        self.assertNotIn("learning curves", parsed.images)
        for name in ("depth", "w_0", "w_a", "w_m", "group_width"):
            self.assertIn(f"error against {name}", parsed.images)

    def test_rows(self):
        rows = testing.rows(self.page)
        self.assertLen(rows, 32)
        # The first line of the authors' table.
        self.assertEqual((rows[0]["depth"], rows[0]["w_0"]), (18, 42))
        self.assertEqual(rows[0]["w_m"], 2.163940430363111)
        self.assertAlmostEqual(rows[0]["error"], 34.984, places=3)
        for row in rows:
            self.assertBetween(row["flops"], 0.36e9, 0.44e9)

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


class PlotsTest(absltest.TestCase):
    def test_edf_draws_the_share_below(self):
        axes = plots.new_axes()
        errors = np.array([40.0, 50.0, 60.0, 60.0])
        plots.edf(axes, {"A": errors}, {"A": "n = 4, 1 FAILED"})
        x, y = axes.lines[0].get_data()
        self.assertEqual(y[np.searchsorted(x, 55)], 0.5)
        self.assertEqual((y[0], y[-1]), (0, 1))
        (label,) = axes.get_legend().get_texts()
        text = label.get_text()
        self.assertEqual(text, "A (n = 4, 1 FAILED) [40.0, 52.5]")
        self.assertLen(axes.collections, 1)

    def test_scatter_marks_the_best_value(self):
        axes = plots.new_axes()
        depths = np.arange(1.0, 41)
        plots.scatter(axes, depths, abs(depths - 20), "depth", "n = 40")
        (line,) = axes.lines
        self.assertBetween(line.get_xdata()[0], 18, 22)
        self.assertRegex(axes.get_xlabel(), r"depth \(best: (19|20|21), 95 %")
        self.assertLen(axes.collections[0].get_offsets(), 40)

    def test_widths(self):
        axes = plots.new_axes()
        network = AnyNetConfig((1, 1, 2), (10, 20, 35))
        plots.widths(axes, network, "error")
        drawn, fitted = (line.get_ydata() for line in axes.lines)
        self.assertEqual(drawn.tolist(), [10, 20, 35, 35])
        slope, start = np.polyfit(range(4), [10, 20, 35, 35], 1)
        np.testing.assert_allclose(fitted, start + slope * np.arange(4))

    def test_linear_fit_of_a_generator_without_steps(self):
        network = RegNetConfig(depth=6, w_0=32, w_a=16, w_m=1.01, group_width=8)
        slope, start = plots.linear_fit(plots.block_widths(network))
        self.assertAlmostEqual(slope, 16, delta=1.5)
        self.assertAlmostEqual(start, 32, delta=4)

    def test_one_block(self):
        self.assertEqual(plots.linear_fit(np.array([24])), (0.0, 24.0))

    def test_learning_curves(self):
        axes = plots.new_axes()
        curves = {"A": [[80, 60], [90, 40]], "B": []}
        plots.learning_curves(axes, curves, {"A": "n = 2", "B": "n = 0"})
        x, y = axes.lines[0].get_data()
        self.assertEqual((list(x), list(y)), ([1, 2], [85, 50]))


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
