"""The table of networks in the README."""

from absl.testing import absltest

from keras_regnet import info
from keras_regnet import variants
from tests.support import paths


class InfoTest(absltest.TestCase):
    def test_readme_holds_the_table(self):
        readme = (paths.ROOT / "README.md").read_text()
        self.assertIn(info.table(variants.list_variants()), readme)


if __name__ == "__main__":
    absltest.main()
