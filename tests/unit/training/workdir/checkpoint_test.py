"""Tests of checkpoints: whole or absent, and of the right model."""

import dataclasses
import errno
import math
import os
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import given
from hypothesis import strategies as st

from keras_regnet import atomic
from tests.support import training_testing  # noqa: F401, puts training/ on the path
from training.workdir import checkpoint


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "model/a/0_kernel": rng.normal(size=[4, 3]).astype(np.float32),
        "optimizer/00000_iterations": np.array(7, np.int32),
    }


def state(epoch, best_epoch=1):
    rows = tuple(
        {"step": 10 * e, "val_top1": 90.0 if e == best_epoch else 10.0 + e / 3}
        for e in range(1, epoch + 1)
    )
    return checkpoint.Position(epoch, 10 * epoch, rows)


def _name(step):
    return f"step-{step:09d}.npz"


class ScoreTest(absltest.TestCase):
    def test_of_several_labels_it_is_the_average_precision(self):
        rows = tuple(
            {"step": step, "val_top1": None, "val_top5": None, "val_map": score}
            for step, score in ((10, 50.0), (20, 70.0), (30, 60.0))
        )
        where = checkpoint.Position(3, 30, rows)
        self.assertEqual(where.best_steps(2), [20, 30])
        again = checkpoint.Position.from_json(where.to_json())
        self.assertEqual(again, where)


class CheckpointTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder) / "checkpoints"

    def save(self, epoch, keep=2, keep_best=1, **fields):
        where = dataclasses.replace(state(epoch), **fields)
        return checkpoint.save(self.folder, arrays(), where, keep, keep_best)

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def test_everything_comes_back(self):
        where = checkpoint.Position(
            1, 13, state(1).rows, (0.1, 1 / 3, 1e300, 5e-324), 0.7, True
        )
        checkpoint.save(self.folder, arrays(1), where, keep=1)
        found = checkpoint.newest(self.folder)
        self.assertEqual(found.position, where)
        self.assertCountEqual(found.arrays, arrays(1))
        for name, expected in arrays(1).items():
            self.assertEqual(found.arrays[name].dtype, expected.dtype)
            np.testing.assert_array_equal(found.arrays[name], expected)

    def test_none_yet(self):
        self.assertIsNone(checkpoint.newest(self.folder))

    def test_keeps_the_newest_and_the_best(self):
        for epoch in range(1, 6):
            self.save(epoch, rows=state(epoch, best_epoch=2).rows)
        self.assertEqual(self.names(), [_name(20), _name(40), _name(50)])

    def test_keeps_several_of_the_best(self):
        for epoch in range(1, 6):
            rows = state(epoch, best_epoch=2).rows[::-1]
            self.save(epoch, rows=rows, keep=1, keep_best=3)
        # After the second, those with the most top-1 are the latest.
        self.assertEqual(self.names(), [_name(20), _name(40), _name(50)])
        self.save(6, keep=1, keep_best=0)
        self.assertEqual(self.names(), [_name(60)])

    def test_those_within_an_epoch_count_as_new(self):
        self.save(1)
        for step in (12, 14, 16):
            self.save(1, step=step)
        self.assertEqual(self.names(), [_name(10), _name(14), _name(16)])
        self.assertEqual(checkpoint.newest(self.folder).position.step, 16)

    def test_what_a_killed_process_began_is_removed(self):
        self.save(1)
        with (
            self.assertRaises(KeyboardInterrupt),
            mock.patch.object(atomic.shutil, "rmtree"),
            atomic.replacing(self.folder / _name(15)) as partial,
        ):
            partial.write_bytes(b"half of")
            raise KeyboardInterrupt
        self.assertLen(self.names(), 2)
        self.assertEqual(checkpoint.newest(self.folder).position.step, 10)
        checkpoint.remove_abandoned(self.folder)
        self.assertEqual(self.names(), [_name(10)])

    def test_a_flipped_bit_is_noticed_or_harmless(self):
        self.save(1)
        path = self.save(2)
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        noticed = 0
        for place in rng.integers(0, len(whole), 200):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(damaged)
            found = checkpoint.newest(self.folder)
            noticed += found.position.epoch == 1
            for name, expected in arrays().items():
                np.testing.assert_array_equal(found.arrays[name], expected)
        # Nearly all that is left over is dates and names in the archive.
        self.assertGreater(noticed, 100)

    def test_every_bit_of_a_header_counts(self):
        """One that says that there is less must not be believed.

        The array is larger than what is read at a time.
        """
        self.save(1)
        large = {"a": np.zeros((200, 40), np.float32)}
        path = checkpoint.save(self.folder, large, state(2), 2)
        whole = path.read_bytes()
        begin = 8 * whole.index(b"\x93NUMPY")
        for bit in range(begin, begin + 8 * 128):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            self.assertEqual(checkpoint.newest(self.folder).position.epoch, 1)

    @parameterized.parameters("cut", "flipped", "empty")
    def test_falls_back_from_a_corrupt_one(self, fault):
        self.save(1)
        path = self.save(2)
        contents = bytearray(path.read_bytes())
        if fault == "cut":
            contents = contents[: len(contents) // 2]
        elif fault == "flipped":
            contents[200] ^= 0xFF
        else:
            contents = b""
        path.write_bytes(contents)
        with self.assertLogs("absl", "WARNING") as logs:
            found = checkpoint.newest(self.folder)
        self.assertEqual(found.position.epoch, 1)
        self.assertIn(_name(20), logs.output[0])

    def test_a_corrupt_one_is_replaced(self):
        self.save(1)
        self.save(2).write_bytes(b"")
        self.save(1, step=12, keep=1)
        self.assertEqual(self.names(), [_name(10), _name(12)])

    def test_refuses_to_begin_again_over_corrupt_checkpoints(self):
        self.save(1).write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "No checkpoint .* can be read"):
            checkpoint.newest(self.folder)

    def test_a_full_disk_leaves_the_old_one_whole(self):
        self.save(1)
        full = OSError(errno.ENOSPC, "No space left on device")
        with (
            mock.patch.object(os, "fsync", side_effect=full),
            self.assertRaisesRegex(OSError, f"No space.*{_name(20)}"),
        ):
            self.save(2)
        self.assertEqual(self.names(), [_name(10)])
        self.assertEqual(checkpoint.newest(self.folder).position.epoch, 1)


class EarlyStoppingTest(absltest.TestCase):
    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 5)
    )
    def test_it_stops_where_a_counter_would(self, top1, patience):
        """The counter is Keras's: it starts anew at each better epoch."""
        best, waited, stop = -1.0, 0, None
        for epoch, value in enumerate(top1, 1):
            waited = 0 if value > best else waited + 1
            best = max(best, value)
            if waited == patience:
                stop = epoch
                break
        rows = [
            {"step": 10 * epoch, "val_top1": float(value)}
            for epoch, value in enumerate(top1, 1)
        ]
        found = [
            epoch
            for epoch in range(1, len(rows) + 1)
            if checkpoint.Position(
                epoch, 10 * epoch, tuple(rows[:epoch])
            ).stops_early(patience)
        ]
        self.assertEqual(next(iter(found), None), stop)

    def test_by_loss(self):
        rows = tuple(
            {"step": 10 * epoch, "val_top1": 50.0, "val_loss": loss}
            for epoch, loss in enumerate((math.nan, 1.0, 2.0, 1.0), 1)
        )
        position = checkpoint.Position(4, 40, rows)
        self.assertEqual(position.best_steps(2, "loss"), [20, 40])
        self.assertEqual(position.best_steps(2), [10, 20])
        self.assertTrue(position.stops_early(2, "loss"))
        self.assertFalse(position.stops_early(3, "loss"))
        self.assertTrue(position.stops_early(3))

    def test_only_at_the_end_of_an_epoch(self):
        position = state(6)
        self.assertTrue(position.stops_early(5))
        self.assertFalse(position.stops_early(6))
        self.assertFalse(position.stops_early(0))
        self.assertFalse(checkpoint.Position().stops_early(1))
        under_way = dataclasses.replace(position, step=61, sums=(1.0, 1, 1, 1))
        self.assertFalse(under_way.stops_early(5))


if __name__ == "__main__":
    absltest.main()
