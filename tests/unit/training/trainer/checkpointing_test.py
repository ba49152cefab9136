"""Tests of where a run stands when its epochs have other numbers of steps."""

from absl.testing import absltest
from absl.testing import parameterized

from training.trainer import checkpointing
from training.workdir import checkpoint

_SUMS = (1.0, 2.0, 3.0, 4.0)


def _position(epoch, step, steps_per_epoch, **fields):
    """Returns a position of a run with a row for each of its epochs."""
    rows = [
        {"epoch": n, "step": min(n * steps_per_epoch, step)}
        for n in range(1, epoch + 1)
    ]
    return checkpoint.Position(epoch, step, tuple(rows), **fields)


class RecountedTest(parameterized.TestCase):
    @parameterized.parameters(
        # Nothing has changed: at an epoch's end, within one, before its
        # evaluation, and at the end of a run within an epoch.
        (_position(2, 10, 5),),
        (_position(2, 12, 5, sums=_SUMS),),
        (_position(2, 15, 5, sums=_SUMS, averaged=True),),
        (_position(3, 12, 5), 12),
        (_position(2, 12, 5, sums=_SUMS, averaged=True), 12),
    )
    def test_as_it_was(self, position, num_steps=50):
        found = checkpointing.recounted(position, 5, num_steps)
        self.assertEqual(found, position)

    @parameterized.parameters(
        # A run of 12 steps that now has more: its last row gives way.
        (_position(3, 12, 5), 5, 2, [1, 2]),
        # More images: six epochs of five steps are four of seven, and two.
        (_position(6, 30, 5), 7, 4, [1, 2, 3, 4]),
        # ... or five of six, and the last row is the fifth's.
        (_position(6, 30, 5), 6, 5, [1, 2, 3, 4, 5]),
        # Fewer: the last is the fifteenth's of two, or within the eighth.
        (_position(6, 30, 5), 2, 15, [1, 2, 3, 4, 5, 15]),
        (_position(6, 30, 5), 4, 7, [1, 2, 3, 4, 5]),
        # Within an epoch, and where that has become the end of one.
        (_position(6, 32, 5, sums=_SUMS), 7, 4, [1, 2, 3, 4]),
        (_position(6, 32, 5, sums=_SUMS), 8, 3, [1, 2, 3]),
        # An evaluation was missing, and is to come later.
        (_position(5, 30, 5, sums=_SUMS, averaged=True), 7, 4, [1, 2, 3, 4]),
    )
    def test_other_steps(self, position, steps, epoch, epochs):
        found = checkpointing.recounted(position, steps, 500)
        self.assertEqual((found.epoch, found.step), (epoch, position.step))
        self.assertEqual([row["epoch"] for row in found.rows], epochs)
        self.assertFalse(found.averaged)
        # Again, it is the same.
        again = checkpointing.recounted(found, steps, 500)
        self.assertEqual(again, found)
        if position.step % steps == 0 and not position.sums:
            self.assertEqual(found.rows[-1]["step"], position.step)

    def test_beyond_the_end(self):
        found = checkpointing.recounted(_position(6, 30, 5), 4, 24)
        self.assertEqual(found.epoch, 8)
        self.assertEqual(found.rows[-1], {"epoch": 8, "step": 30})


if __name__ == "__main__":
    absltest.main()
