"""Files that a decoder of TensorFlow's reads beyond its memory."""

import subprocess
import sys

from absl.testing import absltest

from tests.support import paths

_CODE = """
import io, numpy as np, tensorflow as tf
from PIL import Image
from keras_regnet import image_files
for size in ((48, 64), (33, 50), (240, 320)):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.save(file, "webp", save_all=True, lossless=True,
               append_images=[image.rotate(180)])
    for _ in range(5):
        decoded = image_files.decode(tf.constant(file.getvalue()))
        np.testing.assert_array_equal(decoded, pixels)
print("survived")
"""


class AnimationTest(absltest.TestCase):
    def test_animated_webp_without_alpha(self):
        # In a process of its own: it used to end with a signal.
        result = subprocess.run(
            [sys.executable, "-c", _CODE],
            cwd=str(paths.ROOT),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn("survived", result.stdout, result.stderr[-2000:])


if __name__ == "__main__":
    absltest.main()
