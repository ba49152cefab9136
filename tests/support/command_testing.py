"""What the tests of the export's command line share."""

import contextlib
import io
import json
import pathlib
import tempfile

from absl.testing import parameterized
from PIL import Image

from keras_regnet.export import __main__ as command_line
from tests.support import export_testing

_FLAGS = command_line._FLAGS


def write_photos(folder: pathlib.Path, count: int = 6) -> None:
    """Writes photographs of classes a to d, in folders within folders."""
    for index, image in enumerate(export_testing.images(count, 40, 48)):
        path = folder / "deep" / "abcd"[index % 4] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


class CommandTestCase(parameterized.TestCase):
    """Runs the command on a run folder, photographs and broken files."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.inputs = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.run_folder = cls.inputs / "run"
        (cls.run_folder / "saved_model").mkdir(parents=True)
        export_testing.network("x").save(cls.run_folder / "model.keras")
        (cls.run_folder / "config.json").write_text(
            json.dumps({"config": {"image_size": 32}})
        )
        (cls.run_folder / "saved_model" / "labels.txt").write_text(
            "a\nb\nc\nd\n"
        )
        write_photos(cls.inputs / "photos")
        (cls.inputs / "empty").mkdir()
        (cls.inputs / "empty.txt").write_text("")
        (cls.inputs / "binary.txt").write_bytes(b"\xff\xfe")
        (cls.inputs / "broken.keras").write_text("nothing")

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def command(self, *arguments):
        """Returns status, stdout and stderr; {...} names what we have."""
        named = [
            argument.format(inputs=self.inputs, out=self.folder)
            for argument in arguments
        ]
        _FLAGS.unparse_flags()
        for flag in _FLAGS:
            _FLAGS[flag].value = _FLAGS[flag].default
        # Converts here: a process takes seconds to start.
        _FLAGS["time_limit"].value = 0.0
        with (
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()) as errors,
        ):
            status = command_line.main(["export", *named])
        return status, output.getvalue(), errors.getvalue()
