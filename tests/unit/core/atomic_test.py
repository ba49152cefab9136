"""Files that appear whole or not at all."""

import pathlib
import resource
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from keras_regnet import atomic


class ReplacingTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.path = self.folder / "a.txt"
        self.path.write_text("old")

    def assert_old(self):
        self.assertEqual(list(self.folder.iterdir()), [self.path])
        self.assertEqual(self.path.read_text(), "old")

    def test_whole(self):
        with atomic.replacing(self.path) as partial:
            partial.write_text("new")
            self.assertEqual(self.path.read_text(), "old")
        self.assertEqual(self.path.read_text(), "new")
        self.assertEqual(list(self.folder.iterdir()), [self.path])

    def test_makes_the_folder(self):
        with atomic.replacing(self.folder / "b" / "c.txt") as partial:
            partial.write_text("new")
        self.assertEqual((self.folder / "b" / "c.txt").read_text(), "new")

    def test_an_error_leaves_the_old_file(self):
        with (
            self.assertRaisesRegex(KeyError, "stop"),
            atomic.replacing(self.path) as partial,
        ):
            partial.write_text("new")
            raise KeyError("stop")
        self.assert_old()

    def test_full_disk_names_the_file(self):
        """A limit on the size of files stands for the end of the disk."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # A module imported meanwhile would leave a torn .pyc behind.
        self.enterContext(mock.patch.object(sys, "dont_write_bytecode", True))
        resource.setrlimit(resource.RLIMIT_FSIZE, (99, hard))
        try:
            with (
                self.assertRaisesRegex(OSError, f"large.*{self.path}"),
                atomic.replacing(self.path) as partial,
            ):
                partial.write_bytes(bytes(100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assert_old()

    def test_a_folder_that_is_a_file(self):
        with (
            self.assertRaisesRegex(OSError, str(self.path)),
            atomic.replacing(self.path / "b.txt"),
        ):
            self.fail("there is nowhere to write to")


if __name__ == "__main__":
    absltest.main()
