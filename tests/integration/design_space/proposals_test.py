"""Proposals for every published budget."""

import contextlib
import io

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver

from benchmarks import proposals as benchmark


def setUpModule():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


class ProposeTest(absltest.TestCase):
    def test_published_budgets(self):
        output = io.StringIO()
        with (
            flagsaver.as_parsed(n="5"),
            contextlib.redirect_stdout(output),
        ):
            benchmark.main([])
        *rows, proposed, known = output.getvalue().splitlines()
        self.assertLen(rows, 24)
        self.assertIn("RegNetY-32GF", rows[23])
        self.assertIn("published networks in it: 5 of 24", known)
        # 87.5 % with five proposals for each budget, 92.9 % with ten.
        share = float(proposed.split(": ")[1].rstrip("%"))
        self.assertGreaterEqual(share, 85)


if __name__ == "__main__":
    absltest.main()
