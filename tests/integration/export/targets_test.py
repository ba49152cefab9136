"""Tests of a LiteRT file for a target: measured here, equal to the model."""

import json
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from ai_edge_litert import interpreter

from keras_regnet.export import litert
from keras_regnet.export import runners
from keras_regnet.export import targets
from keras_regnet.export.spec import Choice
from tests.support import export_testing


def _types(contents):
    """Returns the types of the outputs of the convolutions, in their order."""
    loaded = interpreter.Interpreter(
        model_content=contents,
        experimental_op_resolver_type=(
            interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    return [
        np.dtype(loaded._get_tensor_details(index, 0)["dtype"]).name
        for operation in loaded._get_ops_details()
        if operation["op_name"] == "CONV_2D"
        for index in operation["outputs"]
    ]


class TargetsTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = export_testing.network("x", size=32)
        cls.images = export_testing.images(8)

    def test_auto_measures_and_says_what_it_chose(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "model.tflite"
        # One more width is enough, and soon made.
        self.enterContext(mock.patch.object(targets, "_WIDTHS", (16,)))
        litert.save(
            self.model,
            path,
            quantize="int8",
            representative=self.images,
            target="auto",
        )
        text = path.with_suffix(".record.json").read_text(encoding="utf-8")
        choice = json.loads(text)["litert"]
        self.assertEqual((choice["target"], choice["reason"]), ("auto", ""))
        # Groups of 4 channels, merged ones, and stages in float.
        forms = choice["milliseconds"]
        for form in ("groups as they are", "groups up to 16"):
            self.assertGreater(forms[form], 0)
        self.assertTrue([form for form in forms if "float32" in form])
        outputs = runners.open_file(path).run(self.images)
        expected = self.model.predict_on_batch(self.images.astype("float32"))
        np.testing.assert_allclose(outputs, expected, atol=0.1)

    def test_stages_in_float(self):
        options = {
            "quantize": "int8",
            "representative": self.images,
            "keep_float": (),
        }
        in_float = []
        for stages in (1, 2):
            contents = litert.convert(
                self.model,
                target=Choice("x86", float_stages=stages),
                **options,
            )
            types = _types(contents)
            in_float.append(types.count("float32"))
            # The first ones, no others.
            self.assertEqual(types, sorted(types))
        self.assertEqual(in_float[0], 1)
        self.assertGreater(in_float[1], 2)


if __name__ == "__main__":
    absltest.main()
