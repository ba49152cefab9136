"""What `import keras_regnet` costs, loads and registers."""

import compileall
import shutil
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests.support import paths

# What the package imports only where it is used.
_HEAVY = (
    "matplotlib",
    "torch",
    "tensorflow_datasets",
    "ray",
    "jax",
    "keras_hub",
    "tensorflow_text",
)
_ON_FIRST_USE = ("keras_regnet.design_space", "keras_regnet.export")
# Of the processor time of `import keras`.
_MAX_COST = 0.03
_RUNS = 3


def _printed(code, folder=paths.ROOT):
    """Returns what Python prints in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


class ImportTest(absltest.TestCase):
    def test_costs_a_small_fraction_of_importing_keras(self):
        # Compiled, as pip installs it, and Keras. A ratio of processor time:
        # another machine, or a busy one, changes both alike.
        folder = self.enterContext(tempfile.TemporaryDirectory())
        package = f"{folder}/keras_regnet"
        shutil.copytree(paths.ROOT / "keras_regnet", package)
        self.assertTrue(compileall.compile_dir(package, quiet=1))
        code = (
            "import time; start = time.process_time(); "
            "import keras; middle = time.process_time(); "
            "import keras_regnet; end = time.process_time(); "
            f"assert keras_regnet.__file__.startswith({folder!r}); "
            "print((end - middle) / (middle - start))"
        )
        costs = [float(_printed(code, folder)) for _ in range(_RUNS)]
        self.assertLessEqual(min(costs), _MAX_COST, costs)

    def test_loads_nothing_heavy(self):
        code = (
            "import sys, keras; before = set(sys.modules); "
            "import keras_regnet; new = set(sys.modules) - before; "
            f"print([name for name in {_HEAVY + _ON_FIRST_USE!r} "
            "if name in new])"
        )
        self.assertEqual(_printed(code), "[]")

    def test_subpackages_load_on_first_use(self):
        code = (
            "import keras_regnet; "
            "print(keras_regnet.design_space.space('RegNetX'), "
            "keras_regnet.export.ExportSpec.__name__)"
        )
        self.assertEqual(_printed(code), "RegNetX ExportSpec")

    def test_subpackages_are_imported_by_name(self):
        code = (
            "from keras_regnet import design_space, export; "
            "print(design_space.__name__, export.__name__)"
        )
        self.assertEqual(_printed(code), " ".join(_ON_FIRST_USE))

    def test_dir_and_help_name_them(self):
        code = (
            "import pydoc, keras_regnet; text = pydoc.render_doc(keras_regnet);"
            "print([name in text and name in dir(keras_regnet) "
            "for name in ('design_space', 'export')])"
        )
        self.assertEqual(_printed(code), "[True, True]")

    def test_extra_that_is_not_installed(self):
        code = (
            "import sys; sys.modules['keras_hub'] = None\n"
            "import keras_regnet\n"
            "try:\n    keras_regnet.hub\n"
            "except ImportError as error:\n    print(error)"
        )
        self.assertEqual(
            _printed(code),
            "keras_regnet.hub needs KerasHub: pip install 'keras_regnet[hub]'",
        )

    def test_unknown_attribute(self):
        code = "import keras_regnet; print(hasattr(keras_regnet, 'exports'))"
        self.assertEqual(_printed(code), "False")

    def test_registers_what_saved_models_hold(self):
        code = (
            "import keras, keras_regnet; "
            "names = keras.saving.get_custom_objects(); "
            "print(*sorted(n for n in names if n.startswith('keras_regnet>')))"
        )
        self.assertEqual(
            _printed(code).split(),
            [
                f"keras_regnet>{name}"
                for name in (
                    "BatchNormalization",
                    "Conv2D",
                    "EvoNormS0a",
                    "GroupNormalization",
                    "Normalization",
                    "PaddedMaxPooling2D",
                    "Pixels",
                    "RegNetModel",
                )
            ],
        )


if __name__ == "__main__":
    absltest.main()
