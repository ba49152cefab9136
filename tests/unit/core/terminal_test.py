"""What command lines print, also into a pipe that is closed."""

import contextlib
import io
import os

from absl.testing import absltest

from keras_regnet import terminal


class ShowTest(absltest.TestCase):
    def test_prints(self):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            terminal.show("a table")
        self.assertEqual(printed.getvalue(), "a table\n")

    def test_ends_where_nobody_reads(self):
        reader, writer = os.pipe()
        os.close(reader)
        # What is left has somewhere to go: closing the pipe does not raise.
        with (
            open(writer, "w", encoding="utf-8") as pipe,
            contextlib.redirect_stdout(pipe),
            self.assertRaises(SystemExit),
        ):
            terminal.show("a line of a table\n" * 9999)


if __name__ == "__main__":
    absltest.main()
