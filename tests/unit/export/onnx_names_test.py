"""Tests of names in ONNX files."""

import numpy as np
import onnx
from absl.testing import absltest
from onnx import helper
from onnx import numpy_helper
from onnx import reference

from keras_regnet.export import onnx_names

_IMAGES = np.float32([[1, -2]])


def _file(counters, shuffled=False):
    """Returns (images + 1) * 3 + 1, with tf2onnx's kind of names."""
    one, three, total = (f"const__{counter}" for counter in counters)
    nodes = [
        helper.make_node(
            "Add", ["images", one], [total], f"a/Add__{counters[0]}"
        ),
        helper.make_node("Mul", [total, three], ["product"], "a/Mul"),
        helper.make_node("Add", ["product", one], ["classes"], "a/Add__7"),
    ]
    constants = [
        numpy_helper.from_array(np.float32([value]), name)
        for name, value in ((one, 1), (three, 3))
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2])
        for name in ("images", "classes")
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        ends[:1],
        ends[1:],
        constants[::-1] if shuffled else constants,
    )
    return helper.make_model(graph, ir_version=10).SerializeToString()


class CanonicalTest(absltest.TestCase):
    def test_counters_and_order_leave_no_trace(self):
        first, second = _file((3, 15, 4)), _file((9, 2, 61), shuffled=True)
        self.assertNotEqual(first, second)
        self.assertEqual(
            onnx_names.canonical(first), onnx_names.canonical(second)
        )

    def test_says_the_same(self):
        contents = onnx_names.canonical(_file((3, 15, 4)))
        model = onnx.load_model_from_string(contents)
        onnx.checker.check_model(model)
        self.assertEqual([x.name for x in model.graph.input], ["images"])
        self.assertEqual(
            [x.name for x in model.graph.node], ["a/Add", "a/Mul", "a/Add_2"]
        )
        (found,) = reference.ReferenceEvaluator(model).run(
            ["classes"], {"images": _IMAGES}
        )
        np.testing.assert_allclose(found, (_IMAGES + 1) * 3 + 1)

    def test_canonical_already(self):
        contents = onnx_names.canonical(_file((3, 15, 4)))
        self.assertEqual(onnx_names.canonical(contents), contents)


if __name__ == "__main__":
    absltest.main()
