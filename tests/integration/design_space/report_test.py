"""The page of a sweep of ten thousand trials."""

import pathlib
import tempfile

from absl.testing import absltest

from keras_regnet.design_space import report
from tests.support import design_space_testing as testing


class ReportTest(absltest.TestCase):
    def test_ten_thousand_trials(self):
        many = [
            record
            for k in range(8)
            for record in testing.population(f"space {k}", 1250, 40 + k, k)
        ]
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "many.html"
        report.write(path, many)
        self.assertLess(path.stat().st_size, 5_000_000)
        self.assertLen(testing.rows(path.read_text()), 10_000)


if __name__ == "__main__":
    absltest.main()
