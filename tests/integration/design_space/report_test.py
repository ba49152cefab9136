"""The size of pages, with the script that draws their charts."""

import dataclasses
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from keras_regnet import design_space
from keras_regnet.design_space import report
from tests.support import design_space_testing as testing


class ReportTest(absltest.TestCase):
    def test_size(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "many.html"
        for count, bound in ((125, 3_000_000), (1250, 5_000_000)):
            many = [
                record
                for k in range(8)
                for record in _unlike(f"space {k}", count, k)
            ]
            report.write(path, many)
            self.assertLess(path.stat().st_size, bound)
            self.assertLen(testing.rows(path.read_text()), 8 * count)


def _unlike(space, count, seed):
    """Returns trials of networks of which no two are alike."""
    networks = design_space.space("RegNetX").sample(
        np.random.default_rng(seed), n=count
    )
    found = testing.population(space, count, 40 + seed, seed)
    return [
        dataclasses.replace(record, config=network.to_json())
        for record, network in zip(found, networks, strict=True)
    ]


if __name__ == "__main__":
    absltest.main()
