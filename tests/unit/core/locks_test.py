"""A folder is held by one process at a time."""

import pathlib
import tempfile

from absl.testing import absltest

from keras_regnet import locks


class SoleUserTest(absltest.TestCase):
    def test_one_at_a_time(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "file").touch()
        for _ in range(2):
            with locks.sole_user(folder, ""):
                with (
                    self.assertRaisesRegex(
                        ValueError, "Be alone. Received: '/"
                    ),
                    locks.sole_user(folder, "Be alone."),
                ):
                    self.fail("held twice")
                self.assertEqual(list(folder.iterdir()), [folder / "file"])

    def test_an_empty_folder_does_not_stay(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        with self.assertRaises(OSError), locks.sole_user(root / "a" / "b", ""):
            raise OSError
        self.assertEqual(list(root.iterdir()), [])
        with locks.sole_user(root, ""):
            pass
        self.assertTrue(root.exists())


if __name__ == "__main__":
    absltest.main()
