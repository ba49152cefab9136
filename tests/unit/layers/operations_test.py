"""How many operations TensorFlow's graphs of networks have."""

import collections

import tensorflow as tf
from absl.testing import absltest

import keras_regnet
from keras_regnet import layers

# Six convolutions in groups: of one dense convolution, of five, and of 13.
_CONFIG = keras_regnet.AnyNetConfig(
    depths=(1, 1, 4),
    widths=(32, 160, 400),
    strides=(2, 2, 2),
    bottleneck_ratios=(1.0,) * 3,
    group_widths=(16,) * 3,
)
# Half of what there was with a slice for each dense convolution, 2,776.
_MAX_TRAINING = 1388


def _operations(form, function):
    """Returns the operations of a function of images, counted by type."""
    with form:
        signature = [tf.TensorSpec((2, 64, 64, 3))]
        traced = tf.function(function, input_signature=signature)
        graph = traced.get_concrete_function().graph
    return collections.Counter(op.type for op in graph.get_operations())


class PortableFormTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = keras_regnet.build(_CONFIG, input_shape=(64, 64, 3))

    def _train(self, images):
        variables = [v.value for v in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.model(images, training=True))
        return tape.gradient(loss, variables)

    def _infer(self, images):
        with layers.folded_norms():
            return self.model(images, training=False)

    def test_training(self):
        counts = _operations(layers.portable_ops(), self._train)
        self.assertNotIn("StridedSliceGrad", counts)
        self.assertLessEqual(sum(counts.values()), _MAX_TRAINING)

    def test_inference(self):
        portable = _operations(layers.portable_ops(), self._infer)
        native = _operations(layers.native_ops(), self._infer)
        # A convolution in groups is one, with one that stands behind it, and
        # what has its gradient.
        self.assertEqual(
            portable - native, {"EnsureShape": 6, "IdentityN": 6, "Identity": 6}
        )


if __name__ == "__main__":
    absltest.main()
