"""Order of the turns, and statistics of the rounds."""

import numpy as np
from absl.testing import absltest

from benchmarks.harness import alternate
from benchmarks.harness import statistics
from benchmarks.harness.child import CaseError


class AlternateTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.turns = []
        self.kept = []

    def _turn(self, name, fails_at=None):
        def turn():
            self.turns.append(name)
            if self.turns.count(name) == fails_at:
                raise CaseError(f"{name} has no more memory")
            return {"seconds": float(len(self.turns))}

        return turn

    def _run(self, turns, rounds):
        begun = []
        alternate.alternate(
            turns,
            rounds,
            begun.append,
            lambda measured, failed: self.kept.append((measured, failed)),
        )
        return begun

    def test_every_second_round_is_backward(self):
        turns = {name: self._turn(name) for name in "abc"}
        begun = self._run(turns, range(1, 4))
        self.assertEqual(begun, [1, 2, 3])
        self.assertEqual("".join(self.turns), "cbaabccba")
        self.assertEqual(self.kept[0][0]["c"], {"seconds": 1.0})

    def test_others_go_on_where_one_fails(self):
        turns = {"a": self._turn("a"), "b": self._turn("b", fails_at=2)}
        self._run(turns, range(3))
        self.assertEqual("".join(self.turns), "abbaa")
        measured = [sorted(round_) for round_, _ in self.kept]
        self.assertEqual(measured, [["a", "b"], ["a"], ["a"]])
        failed = [errors for _, errors in self.kept]
        self.assertEqual(failed, [{}, {"b": "b has no more memory"}, {}])


class StatisticsTest(absltest.TestCase):
    def test_equal_to_numpy(self):
        rng = np.random.default_rng(0)
        for count in (1, 4, 5):
            theirs, ours = rng.uniform(1, 2, (2, count))
            spread = statistics.spread(list(theirs))
            self.assertAlmostEqual(spread.median, np.median(theirs))
            self.assertEqual(spread[1:], (theirs.min(), theirs.max()))
            ratios = statistics.ratios(list(theirs), list(ours))
            self.assertAlmostEqual(ratios.median, np.median(theirs / ours))
            self.assertAlmostEqual(ratios.max, (theirs / ours).max())

    def test_a_case_that_failed_has_the_first_rounds(self):
        ratios = statistics.ratios([2.0, 9.0], [1.0, 3.0, 100.0])
        self.assertEqual(ratios, (2.5, 2.0, 3.0))


if __name__ == "__main__":
    absltest.main()
