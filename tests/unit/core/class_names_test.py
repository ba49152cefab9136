"""Tests of how lists of class names match."""

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import class_names
from keras_regnet import imagenet

_MODEL = ("ant", "bee", "cat")


class ImageNetTest(parameterized.TestCase):
    """Folders of photographs are named by synsets or by names."""

    @parameterized.parameters(
        (("n02099601", "n01440764"), (207, 0)),
        (("tench", "golden_retriever"), (0, 207)),
        (("Golden Retriever", "n01440764"), (207, 0)),
        (("n02099601_golden_retriever", "tench, Tinca tinca"), (207, 0)),
        # Names that only their case tells apart.
        (("Cardigan", "cardigan"), (264, 474)),
    )
    def test_a_part_of_the_classes(self, names, expected):
        classes = imagenet.classes(1000)
        for of_model in (classes.names, classes.ids):
            found = class_names.match(names, of_model, 1000)
            self.assertEqual((found.indices, found.by_name), (expected, True))
            self.assertEqual(found.names, of_model)

    def test_folders_of_numbers(self):
        """ImageNetV2 has them; they come in the order of text."""
        names = sorted(map(str, range(1000)))
        found = class_names.match(names, imagenet.classes(1000).names, 1000)
        self.assertEqual(found.indices, tuple(map(int, names)))
        with self.assertRaisesRegex(ValueError, "Unknown: '1'"):
            class_names.match(("1", "7"), imagenet.classes(1000).names, 1000)

    def test_all_of_them(self):
        classes = imagenet.classes(1000)
        for names, of_model in (
            (classes.ids, classes.names),
            (classes.names, classes.ids),
        ):
            found = class_names.match(names, of_model, 1000)
            self.assertEqual(found.indices, tuple(range(1000)))
            self.assertEmpty(class_names.differences(of_model, names))
        backwards = classes.ids[::-1]
        found = class_names.match(backwards, classes.names, 1000)
        self.assertEqual(found.indices, tuple(range(1000))[::-1])
        self.assertEqual(
            class_names.differences(classes.names, backwards),
            ["in another order"],
        )

    def test_refused(self):
        names = imagenet.classes(1000).names
        # A bird, and a machine.
        with self.assertRaisesRegex(ValueError, "several .* Received: 'crane'"):
            class_names.match(("crane", "tench"), names, 1000)
        with self.assertRaisesRegex(
            ValueError, "'tensch' .did you mean 'tench'.*model's: 'tench', "
        ):
            class_names.match(("tensch",), names, 1000)
        # WordNet's, but none of the thousand.
        with self.assertRaisesRegex(ValueError, "Unknown: 'n00004475'"):
            class_names.match(("n00004475",), names, 1000)
        with self.assertRaisesRegex(ValueError, "more than once"):
            class_names.match(("tench", "n01440764"), names, 1000)


class MatchTest(parameterized.TestCase):
    @parameterized.parameters(
        (_MODEL, _MODEL, (0, 1, 2), True),
        (("cat", "ant", "bee"), _MODEL, (2, 0, 1), True),
        (("ant", "cat"), _MODEL, (0, 2), True),
        # Without names on one side.
        (("x", "y", "z"), None, (0, 1, 2), False),
        (("0", "1", "2"), _MODEL, (0, 1, 2), False),
        (_MODEL, ("0", "1", "2"), (0, 1, 2), False),
        # Names that are numbers, but not those of the labels.
        (("7", "1"), ("0", "1", "7"), (2, 1), True),
        # Fewer of the same numbers.
        (("0", "1"), ("0", "1", "2"), (0, 1), True),
        # Folders come in the order of their names as text.
        (("1", "10", "2"), tuple(map(str, range(12))), (1, 10, 2), True),
        (("3", "7"), tuple(map(str, range(10))), (3, 7), True),
        # A name twice is no matter where the lists are equal.
        (("crane", "crane"), ("crane", "crane"), (0, 1), True),
    )
    def test_indices(self, names, of_model, expected, by_name):
        outputs = len(of_model or names)
        found = class_names.match(names, of_model, outputs)
        self.assertEqual((found.indices, found.by_name), (expected, by_name))

    @parameterized.parameters("a\nb", "a\rb", "b\udce9e")
    def test_what_a_line_of_text_cannot_hold(self, name):
        with self.assertRaisesRegex(ValueError, "class name must"):
            class_names.check(("ant", name))
        class_names.check(("honig biene", "b\u2028e", "\U0001f41d"))

    @parameterized.parameters(
        (("ant", "Cat"), _MODEL, r"Unknown: 'Cat' \(did you mean 'cat'\?\)"),
        (("ant", "dog"), _MODEL, "Unknown: 'dog'. The model's: 'ant', 'bee'"),
        (("a", "b"), None, "Received: 3 classes of the model for 2"),
        (("0", "1"), _MODEL, "Received: 3 classes of the model for 2"),
        (("ant", "ant"), _MODEL, "more than once: 'ant'"),
        (("ant",), ("ant", "bee", "ant"), "more than once: 'ant'"),
        (("ant",), ("ant", "bee"), "2 names for 3 outputs"),
    )
    def test_refused(self, names, of_model, message):
        with self.assertRaisesRegex(ValueError, message):
            class_names.match(names, of_model, 3)

    def test_names_of_the_outputs(self):
        for names, of_model, expected in (
            (("0", "1", "2"), _MODEL, _MODEL),
            (_MODEL, ("0", "1", "2"), _MODEL),
            (_MODEL, None, _MODEL),
            (("cat", "ant"), _MODEL, _MODEL),
        ):
            found = class_names.match(names, of_model, 3)
            self.assertEqual(found.names, expected)


class DifferencesTest(parameterized.TestCase):
    @parameterized.parameters(
        (_MODEL, []),
        (("cat", "bee", "ant"), ["in another order"]),
        (("bee", "cat", "zebra"), ["new: 'zebra'", "missing: 'ant'"]),
        (("Ant", "bee", "cat"), ["in another case: 'Ant' was 'ant'"]),
        (("ant", "bee"), ["missing: 'cat'"]),
    )
    def test_said(self, new, expected):
        self.assertEqual(class_names.differences(_MODEL, new), expected)


if __name__ == "__main__":
    absltest.main()
