"""Tests of the requests in docs/export.md, by the rules of the servers.

TensorFlow Serving: https://www.tensorflow.org/tfx/serving/api_rest. Triton: the
inference protocol of KServe, version 2, and its model configuration.
"""

import base64
import json
import pathlib
import re
import tempfile

import numpy as np
import onnxruntime
import tensorflow as tf
from absl.testing import absltest

from keras_regnet.export import onnx
from keras_regnet.export import saved_model
from tests.support import export_testing
from tests.support import paths
from tests.support import training_testing

_SIZE = 32
_TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}


def _section():
    page = (paths.ROOT / "docs" / "export.md").read_text()
    return page.partition("\n## Serving\n")[2].partition("\n## ")[0]


def _requests():
    """Returns the requests of the page: of TensorFlow Serving, of Triton."""
    blocks = re.findall(r"```json\n(.*?)```", _section(), re.DOTALL)
    return [json.loads(block) for block in blocks]


def _predict(folder, body):
    """Answers a request in rows as TensorFlow Serving does."""
    body = json.loads(body)
    serve = tf.saved_model.load(folder).signatures[
        body.get("signature_name", "serving_default")
    ]
    # An instance is the value itself where a signature has one input.
    ((name, spec),) = serve.structured_input_signature[1].items()
    values = [
        base64.b64decode(value["b64"]) if isinstance(value, dict) else value
        for value in body["instances"]
    ]
    (outputs,) = serve(**{name: tf.constant(values, spec.dtype)}).values()
    return {"predictions": outputs.numpy().tolist()}


class ServingTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = export_testing.network("y", _SIZE)
        cls.images = export_testing.images(2)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        saved_model.save(
            cls.model,
            cls.folder / "served",
            jpeg_size=_SIZE,
            features=True,
            verify=False,
        )

    def test_pixels(self):
        expected = self.model.predict_on_batch(self.images.astype("float32"))
        for options in ({}, {"signature_name": "float_images"}):
            body = json.dumps({"instances": self.images.tolist(), **options})
            answer = _predict(self.folder / "served", body)
            np.testing.assert_allclose(
                answer["predictions"], expected, atol=1e-5
            )

    def test_image_files(self):
        request, _ = _requests()
        photo = training_testing.jpeg()
        (instance,) = request["instances"]
        self.assertEqual(instance, {"b64": "BASE64"})
        instance["b64"] = base64.b64encode(photo).decode()
        answer = _predict(self.folder / "served", json.dumps(request))
        (found,) = answer["predictions"]
        pixels = self.model.preprocess(photo)
        (expected,) = self.model.predict_on_batch(np.asarray(pixels))
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_names_of_every_signature(self):
        signatures = tf.saved_model.load(self.folder / "served").signatures
        stated = re.findall(r"^\| `(\w+)`", _section(), re.MULTILINE)[1:]
        self.assertCountEqual(signatures, stated)
        for name, serve in signatures.items():
            (given,) = serve.structured_input_signature[1]
            (output,) = serve.structured_outputs
            self.assertEqual(given, "jpeg" if name == "jpeg" else "images")
            is_features = name == "features"
            self.assertEqual(
                output, "features" if is_features else "probabilities"
            )

    def test_triton(self):
        path = self.folder / "model.onnx"
        onnx.save(self.model, path, image_size=_SIZE, verify=False)
        session = onnxruntime.InferenceSession(path.read_bytes())
        ends = re.findall(
            r'^(?:in|out)put \{ name: "(.+?)" data_type: (\w+) dims: \[(.*)\]',
            _section(),
            re.MULTILINE,
        )
        in_file = [*session.get_inputs(), *session.get_outputs()]
        for (name, kind, dims), found in zip(ends, in_file, strict=True):
            self.assertEqual((name, _TYPES[kind]), (found.name, found.type))
            # A batch before them.
            self.assertLen(found.shape, 1 + len(dims.split(",")))
        _, request = _requests()
        (tensor,) = request["inputs"]
        self.assertEqual(tensor["datatype"], "UINT8")
        shape = [1, _SIZE, _SIZE, *tensor["shape"][3:]]
        data = self.images[:1].ravel().tolist()
        pixels = np.array(data, np.uint8).reshape(shape)
        (found,) = session.run(None, {tensor["name"]: pixels})
        expected = self.model.predict_on_batch(pixels.astype("float32"))
        np.testing.assert_allclose(found, expected, atol=1e-5)


if __name__ == "__main__":
    absltest.main()
