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
        with open(writer, "w", encoding="utf-8") as pipe:
            with contextlib.redirect_stdout(pipe):
                with self.assertRaises(SystemExit):
                    terminal.show("a line of a table\n" * 9999)
            # What is left has somewhere to go: closing does not raise.


if __name__ == "__main__":
    absltest.main()
