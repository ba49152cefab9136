"""Names of classes: ImageNet's, and a caller's own."""

from unittest import mock

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import imagenet
from keras_regnet import predictions


class ImageNetTest(parameterized.TestCase):
    @parameterized.parameters(
        (0, "n01440764", "tench"),
        (134, "n02012849", "crane"),
        (207, "n02099601", "golden_retriever"),
        (388, "n02510455", "giant_panda"),
        (517, "n03126707", "crane"),
        (999, "n15075141", "toilet_tissue"),
    )
    def test_classes_by_their_number(self, index, class_id, name):
        ((found,),) = keras_regnet.decode_predictions(
            np.eye(1000)[[index]], top=1
        )
        self.assertEqual(found, (class_id, name, 1.0))
        self.assertEqual(found.class_id, class_id)

    @parameterized.parameters(1000, 11821)
    def test_ids_are_in_order_and_names_in_one_word(self, outputs):
        classes = imagenet.classes(outputs)
        self.assertLen(classes.ids, outputs)
        self.assertSequenceEqual(classes.ids, sorted(set(classes.ids)))
        self.assertFalse([n for n in classes.names if not n or " " in n])

    def test_both_sets_give_a_class_the_same_name(self):
        small, large = map(imagenet.classes, (1000, 11821))
        names = dict(zip(large.ids, large.names, strict=True))
        common = [x for x in small.ids if x in names]
        # timm's set leaves out those with few images.
        self.assertLen(common, 993)
        for class_id, name in zip(small.ids, small.names, strict=True):
            self.assertEqual(names.get(class_id, name), name)

    def test_ids_as_class_names_get_their_names(self):
        """As of a network that was trained on folders of synsets."""
        outputs = np.eye(1000)[[388]]
        ids = imagenet.classes(1000).ids
        self.assertEqual(
            keras_regnet.decode_predictions(outputs, 1, class_names=ids),
            keras_regnet.decode_predictions(outputs, 1),
        )


class DecodeTest(parameterized.TestCase):
    def test_own_classes(self):
        found = keras_regnet.decode_predictions(
            np.float32([[0.2, 0.7, 0.1], [0.5, 0.0, 0.5]]),
            top=2,
            class_names=["ant", "bee", "cat"],
        )
        self.assertEqual(
            [[x[:2] for x in image] for image in found],
            [[("1", "bee"), ("0", "ant")], [("0", "ant"), ("2", "cat")]],
        )
        self.assertAlmostEqual(found[0][0].probability, 0.7, places=6)

    def test_all_where_there_are_fewer(self):
        (found,) = keras_regnet.decode_predictions(
            [[0.25, 0.75]], class_names=("ant", "bee")
        )
        self.assertEqual([x.name for x in found], ["bee", "ant"])

    @parameterized.parameters("float32", "bfloat16", "float16")
    def test_tensors(self, dtype):
        outputs = keras.ops.cast([[0.25, 0.75]], dtype)
        ((found,),) = keras_regnet.decode_predictions(
            outputs, 1, class_names=("ant", "bee")
        )
        self.assertEqual(found, ("1", "bee", 0.75))

    def test_numbers_and_names_of_numpy(self):
        ((found,),) = keras_regnet.decode_predictions(
            [[0.25, 0.75]], np.int64(1), class_names=np.array(["ant", "bee"])
        )
        self.assertIs(type(found.name), str)

    def test_tensors_of_pytorch_under_another_backend(self):
        tensor = mock.Mock(spec=["detach"])
        tensor.detach().cpu.return_value = np.array([[0.25, 0.75]])
        ((found,),) = keras_regnet.decode_predictions(
            tensor, 1, class_names=("ant", "bee")
        )
        self.assertEqual(found.name, "bee")

    def test_logits_become_probabilities(self):
        logits = np.array([[1.0, 2.0, 4.0], [0.1, 0.2, 0.3]])
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
        names = ("a", "b", "c")
        found = keras_regnet.decode_predictions(logits, 3, class_names=names)
        for row, image in zip(expected, found, strict=True):
            for class_id, _, probability in image:
                self.assertAlmostEqual(
                    probability, row[int(class_id)], places=6
                )

    def test_independent_probabilities_stay(self):
        outputs = np.array([[0.9, 0.8, 0.1]])
        np.testing.assert_array_equal(
            predictions.probabilities(outputs), outputs
        )

    @parameterized.parameters(
        (np.zeros((1, 10)), {}, "class_names=None for 10 outputs"),
        (np.zeros((1, 2)), {"class_names": "ab"}, "a list of texts"),
        (np.zeros((1, 2)), {"class_names": ("a",)}, "1 names for 2 outputs"),
        (np.zeros(1000), {}, r"\(batch, classes\). Received: shape=\(1000,\)"),
        (np.full((1, 1000), np.nan), {}, "finite numbers. Received: 1000"),
        (np.zeros((1, 1000)), {"top": 0}, "`top` must be an integer above 0"),
    )
    def test_refused(self, outputs, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            keras_regnet.decode_predictions(outputs, **arguments)


if __name__ == "__main__":
    absltest.main()
