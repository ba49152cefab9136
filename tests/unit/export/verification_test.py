"""How far outputs may be from those of the model."""

import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import export
from keras_regnet.export import check_saved_model
from keras_regnet.export import runners
from keras_regnet.export import verification
from tests.support import export_testing


class DistanceTest(parameterized.TestCase):
    @parameterized.parameters(
        # One output: a number.
        ([[10.0], [20.0]], [[10.0], [30.0]], 0.25),
        # Logits: what all have in common a softmax does not see.
        ([[0.0, 4.0]], [[2.0, 6.0]], 0.5),
        # The probability of one class, and of two.
        ([[0.25]], [[0.75]], 0.5),
        ([[0.25, 0.75]], [[0.75, 0.25]], 0.5),
    )
    def test_total_variation(self, expected, outputs, distance):
        found = verification._total_variation(
            np.array(expected), np.array(outputs)
        )
        self.assertAlmostEqual(found, distance)


class VerifyTest(parameterized.TestCase):
    def test_a_process_without_keras_allows_as_much(self):
        allowed = verification.Tolerance.of("none").max_absolute_error
        self.assertEqual(check_saved_model.TOLERANCE, allowed)

    @parameterized.parameters("dynamic", "int8")
    def test_wrong_probabilities_of_a_thousand_classes_fail(self, quantize):
        """Whose mean difference is small whatever they are."""
        outputs = np.zeros([10, 1000], "float32")
        outputs[:, 7] = 1
        folder = self.enterContext(tempfile.TemporaryDirectory())
        file = pathlib.Path(folder) / "model.tflite"
        file.write_bytes(b"not read")
        model = mock.Mock(predict_on_batch=lambda batch: outputs)
        for found, share in ((outputs, 0), (np.roll(outputs, 1, -1), 1)):
            runner = mock.Mock(
                run=lambda _, found=found: found, format="litert", batch=None
            )
            with (
                mock.patch.object(runners, "open_file", return_value=runner),
                mock.patch.object(verification, "time_calls"),
            ):
                report = export.verify(
                    model,
                    file,
                    export_testing.images(10),
                    tolerance=quantize,
                )
            self.assertEqual(report.total_variation_distance, share)
            self.assertEqual(report.passed, not share)
            self.assertLess(report.mean_difference, 0.0021)

    def test_total_variation_of_logits(self):
        moved = verification._total_variation
        probabilities = np.array([[0.1, 0.9], [0.5, 0.5]])
        other = np.array([[0.3, 0.7], [0.5, 0.5]])
        self.assertAlmostEqual(moved(probabilities, other), 0.1)
        logits, others = np.log(probabilities) + 9, np.log(other) + 9
        self.assertAlmostEqual(moved(logits, others), 0.1)
        for wrong in (np.nan, np.inf):
            self.assertEqual(moved(logits, np.full([2, 2], wrong)), 1.0)
            self.assertEqual(moved(other, np.full([2, 2], wrong)), 1.0)


if __name__ == "__main__":
    absltest.main()
