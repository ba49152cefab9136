"""The table of networks in docs/networks.md."""

from absl.testing import absltest

from keras_regnet import info
from keras_regnet import variants
from tests.support import paths


class InfoTest(absltest.TestCase):
    def test_page_holds_the_table(self):
        page = (paths.ROOT / "docs/networks.md").read_text()
        self.assertIn(info.table(variants.list_variants()), page)


if __name__ == "__main__":
    absltest.main()
