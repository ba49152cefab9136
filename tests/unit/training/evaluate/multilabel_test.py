"""Metrics of several labels an image, against their definitions."""

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from training.evaluate import multilabel


def _brute_force_ap(scores, labels):
    """Sums precision times the gain in recall, threshold by threshold."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        predicted = [s >= threshold for s in scores]
        hits = sum(p and y for p, y in zip(predicted, labels, strict=True))
        recall = hits / sum(labels)
        total += (recall - before) * hits / sum(predicted)
        before = recall
    return 100 * total


def _f1(predicted, labels):
    hits = sum(p and y for p, y in zip(predicted, labels, strict=True))
    both = sum(predicted) + sum(labels)
    return 200 * hits / both if both else 0.0


def _predictions(images=60, classes=7, seed=0, steps=20):
    """Returns scores with many ties, and labels, of the last class none."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=(images, classes)) < 0.3
    labels[:, -1] = False
    scores = np.clip(labels * 0.2 + rng.uniform(size=labels.shape), 0, 1)
    return (np.round(scores * steps) / steps).astype("float32"), labels


class MetricsTest(parameterized.TestCase):
    @parameterized.parameters(2, 20, 1000)
    def test_average_precision_is_its_definition(self, steps):
        scores, labels = _predictions(steps=steps)
        found = multilabel.compute(scores, labels, 0.5)
        expected = [
            _brute_force_ap(scores[:, c], labels[:, c].tolist())
            for c in range(6)
        ]
        np.testing.assert_allclose(found.class_ap[:-1], expected)
        self.assertTrue(np.isnan(found.class_ap[-1]))
        self.assertAlmostEqual(found.map, np.mean(expected))

    def test_average_precision_by_hand(self):
        # scikit-learn's example: 0.83.
        scores = np.array([[0.1], [0.4], [0.35], [0.8]])
        labels = np.array([[0], [0], [1], [1]])
        found = multilabel.compute(scores, labels, 0.5)
        self.assertAlmostEqual(found.map, 100 * (0.5 * 1 + 0.5 * 2 / 3))
        # Of equal scores none comes first: the fraction that has the label.
        found = multilabel.compute(np.full((4, 1), 0.5), labels, 0.5)
        self.assertAlmostEqual(found.map, 50)

    @parameterized.parameters(0.0, 0.3, 0.5, 0.95, 1.0)
    def test_at_a_threshold(self, threshold):
        scores, labels = _predictions()
        found = multilabel.compute(scores, labels, threshold)
        predicted = scores >= threshold
        hits = (predicted & labels).sum()
        self.assertAlmostEqual(
            found.precision, 100 * hits / max(predicted.sum(), 1)
        )
        self.assertAlmostEqual(found.recall, 100 * hits / labels.sum())
        self.assertAlmostEqual(found.f1, _f1(predicted.ravel(), labels.ravel()))
        of_classes = [_f1(predicted[:, c], labels[:, c]) for c in range(6)]
        np.testing.assert_allclose(found.class_f1[:-1], of_classes)
        self.assertAlmostEqual(found.macro_f1, np.mean(of_classes))
        np.testing.assert_array_equal(found.class_images, labels.sum(0))

    def test_no_threshold_is_better_than_the_best(self):
        scores, labels = _predictions()
        found = multilabel.compute(scores, labels, 0.5)
        tried = np.arange(0, 1.01, 0.01)
        best = max(_f1((scores >= t).ravel(), labels.ravel()) for t in tried)
        self.assertAlmostEqual(found.best_f1, best)
        again = multilabel.compute(scores, labels, found.best_threshold)
        self.assertAlmostEqual(again.f1, best)
        for c in range(6):
            threshold = found.class_best_threshold[c]
            self.assertAlmostEqual(
                found.class_best_f1[c],
                _f1(scores[:, c] >= threshold, labels[:, c]),
            )
            self.assertAlmostEqual(
                found.class_best_f1[c],
                max(_f1(scores[:, c] >= t, labels[:, c]) for t in tried),
            )

    def test_the_order_of_images_and_classes_does_not_count(self):
        scores, labels = _predictions()
        found = multilabel.compute(scores, labels, 0.5)
        order = np.random.default_rng(1).permutation(len(labels))
        again = multilabel.compute(
            scores[order][:, ::-1], labels[order][:, ::-1], 0.5
        )
        self.assertAlmostEqual(found.map, again.map)
        np.testing.assert_allclose(found.class_ap, again.class_ap[::-1])

    def test_what_a_run_reports_is_what_validation_finds(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 4, (40, 5)).astype("float32")
        labels = rng.uniform(size=logits.shape) < 0.4
        reported = multilabel.summary(logits, labels, 0.3)
        probabilities = 1 / (1 + np.exp(-logits))
        found = multilabel.compute(probabilities, labels, 0.3)
        for name in ("map", "precision", "recall", "f1", "threshold"):
            self.assertAlmostEqual(reported[name], getattr(found, name))
        p = 1 / (1 + np.exp(-logits.astype(float)))
        expected = -np.where(labels, np.log(p), np.log(1 - p)).mean()
        self.assertAlmostEqual(reported["loss"], expected)
        self.assertAlmostEqual(found.loss, expected, places=5)

    def test_large_logits(self):
        logits = np.float32([[-200, 200], [200, -200]])
        labels = np.array([[1, 1], [1, 0]])
        found = multilabel.summary(logits, labels, 0.5)
        self.assertAlmostEqual(found["loss"], 50)
        np.testing.assert_array_equal(
            multilabel.sigmoid(logits), [[0, 1], [1, 0]]
        )

    def test_without_a_label(self):
        with self.assertRaisesRegex(ValueError, "has a label"):
            multilabel.compute(np.zeros((2, 3)), np.zeros((2, 3)), 0.5)


if __name__ == "__main__":
    absltest.main()
