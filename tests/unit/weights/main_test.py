"""The command line of weights: what it prints, writes and refuses."""

import contextlib
import dataclasses
import io
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import safetensors.numpy
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.weights import __main__ as weights_main
from keras_regnet.weights import export
from keras_regnet.weights import records
from tests.support import keras_h5_testing
from tests.support import paths


@contextlib.contextmanager
def _flags(**values):
    """Gives flags of the command line values, for as long as it lasts."""
    flags = weights_main._FLAGS
    before = {name: flags[name].value for name in values}
    try:
        for name, value in values.items():
            setattr(flags, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(flags, name, value)


def _train(model):
    """Gives a model numbers that no initializer would."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        kind = variable.path.split("/")[-1]
        if kind in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif kind == "kernel":
            variable.assign(variable * 1.25)


class WeightsMainTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.model = keras_regnet.RegNetX(
            "200MF",
            classes=3,
            input_shape=(32, 32, 3),
            classifier_activation=None,
        )
        cls.fresh = str(cls.folder / "fresh.safetensors")
        export(cls.model, cls.fresh, "timm")
        _train(cls.model)
        cls.trained = str(cls.folder / "trained.safetensors")
        export(cls.model, cls.trained, "timm")

    def edited(self, change):
        state = safetensors.numpy.load_file(self.trained)
        change(state)
        path = str(self.folder / "edited.safetensors")
        safetensors.numpy.save_file(state, path)
        return path

    def test_list(self):
        lines = weights_main.list_records().splitlines()
        self.assertLen(lines, 2 + len(records.all_records()))
        lines = weights_main.list_records("regnety_032").splitlines()
        self.assertIn(
            "| RegNetY-3.2GF | pycls_in1k | timm | 1000 | 224 | 78.9 | mit |",
            lines,
        )
        for line in lines[2:]:
            self.assertStartsWith(line, "| RegNetY-3.2GF |")

    @_flags(licence="permissive", classes=1000)
    def test_list_of_a_pattern(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            weights_main.main(["weights", "list", "regnety_[13]20"])
        lines = printed.getvalue().splitlines()[2:]
        found = [line.split(" | ")[1] for line in lines]
        self.assertIn("sw_in12k_ft_in1k (default)", found)
        self.assertIn("tv2_in1k (default)", found)
        self.assertNotIn("sw_in12k", found)
        self.assertNotIn("swag_ft_in1k", found)

    def test_page_holds_the_table_of_defaults(self):
        table = weights_main.list_defaults()
        page = (paths.ROOT / "docs" / "weights.md").read_text()
        self.assertEqual(page.split("<!-- defaults -->\n")[1], f"{table}\n")
        self.assertIn(
            "| RegNetX-800MF | tv2_in1k | bsd-3-clause | 224 | 77.3 | 75.1 "
            "| 2.2 |\n",
            table,
        )

    def test_show(self):
        lines = weights_main.show("RegNetX-200MF", "keras_in1k").splitlines()
        fields = dict(line.split(maxsplit=1) for line in lines[:-1])
        self.assertEqual(fields["file"], "regnetx002.h5")
        self.assertLen(fields["sha256"], 64)
        self.assertEqual(fields["std"], "255.0 255.0 255.0")
        self.assertIn("not checked here", lines[-1])
        shown = weights_main.show("RegNetY-16GF", "swag_ft_in1k")
        self.assertIn("No commercial use.", shown)

    def test_verify(self):
        text, good = weights_main.verify(self.trained)
        self.assertTrue(good, text)
        self.assertIn("format   timm\n", text)
        self.assertIn("network  RegNetX-200MF\n", text)
        self.assertIn("classes  3\n", text)
        self.assertIn(
            "tag      unknown: this hash was not published; of these names "
            "there are: pycls_in1k",
            text,
        )
        self.assertRegex(text, r"\| stage 4 \| [\d,]+ \| 1.25 \| 1.0\d\d ± 0.2")
        self.assertIn("It is complete and looks trained.", text)
        rows = [line for line in text.splitlines() if "| s" in line]
        numbers = [int(r.split("|")[2].replace(",", "")) for r in rows]
        state = safetensors.numpy.load_file(self.trained)
        body = sum(
            tensor.size
            for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")
            and not name.startswith("head")
        )
        self.assertEqual(sum(numbers), body)

    @parameterized.parameters("ours.keras", "ours.weights.h5")
    def test_verify_our_own_files(self, name):
        """The same numbers as of the file that was exported."""
        path = self.folder / name
        write = self.model.save_weights if "h5" in name else self.model.save
        write(path)
        text, good = weights_main.verify(str(path))
        self.assertTrue(good, text)
        self.assertIn("format   keras_regnet\nnetwork  RegNetX-200MF\n", text)
        self.assertIn("classes  3\ntag      unknown", text)
        exported, _ = weights_main.verify(self.trained)
        table = [line for line in text.splitlines() if line[:2] == "| "]
        self.assertLen(table, 8)
        self.assertContainsSubset(table, exported.splitlines())

    def test_verify_a_network_of_ours_without_a_name(self):
        config = keras_regnet.AnyNetConfig((1,), (8,), block="v", stem="cifar")
        path = self.folder / "small.keras"
        keras_regnet.AnyNet(config, input_shape=(32, 32, 3)).save(path)
        text, good = weights_main.verify(str(path))
        self.assertFalse(good)
        self.assertIn("network  a network of depths 1 and widths 8", text)
        self.assertIn("Untrained (stem, stage 1", text)

    def test_verify_takes_another_stem_for_another_network(self):
        config = dataclasses.replace(
            keras_regnet.get_config("RegNetX-200MF"), stem="cifar"
        )
        path = self.folder / "stem.keras"
        keras_regnet.RegNet(config, input_shape=(32, 32, 3)).save(path)
        text, _ = weights_main.verify(str(path))
        self.assertIn("network  a network of depths 1-1-4-7 and wid", text)
        self.assertNotIn("missing", text)

    def test_verify_a_tiered_stem(self):
        config = keras_regnet.AnyNetConfig(
            (1,), (8,), block="z", stem="tiered", stem_width=8
        )
        path = self.folder / "tiered.keras"
        keras_regnet.AnyNet(config, input_shape=(32, 32, 3)).save(path)
        text, _ = weights_main.verify(str(path))
        self.assertNotIn("missing", text)
        self.assertNotIn("left over", text)

    def test_verify_without_names_or_known_order(self):
        config = keras_regnet.AnyNetConfig((1,), (8,), block="v", stem="cifar")
        path = self.folder / "small.weights.h5"
        keras_regnet.AnyNet(config, input_shape=(32, 32, 3)).save_weights(path)
        with self.assertRaisesRegex(ValueError, "small.weights.h5.*`?.keras"):
            weights_main.verify(str(path))

    def test_verify_knows_published_hashes(self):
        record = records.find("RegNetX-200MF", "pycls_in1k@pycls")
        with absltest.mock.patch.object(
            records, "by_digest", return_value=(record,)
        ):
            text, _ = weights_main.verify(self.trained)
        self.assertIn("pycls_in1k@pycls (this hash was published)", text)

    def test_verify_finds_a_fresh_network(self):
        text, good = weights_main.verify(self.fresh)
        self.assertFalse(good)
        stages = "stem, stage 1, stage 2, stage 3, stage 4"
        for sign in (
            f"({stages}): all running variances are 1.",
            f"({stages}): all gammas are 1.",
            f"({stages}, head): all kernels have the standard deviation",
        ):
            self.assertIn(f"Untrained {sign}", text)

    def test_verify_finds_one_stage_that_was_reset(self):
        def reset(state):
            for name in state:
                if name.startswith("s3.") and name.endswith("running_var"):
                    state[name][:] = 1

        text, good = weights_main.verify(self.edited(reset))
        self.assertFalse(good)
        self.assertIn("Untrained (stage 3): all running variances", text)
        self.assertNotIn("stage 2):", text)

    def test_verify_finds_missing_and_left_over_tensors(self):
        def rename(state):
            state["s1.b1.conv9.bn.bias"] = state.pop("s1.b1.conv1.bn.bias")

        text, good = weights_main.verify(self.edited(rename))
        self.assertFalse(good)
        self.assertIn("1 tensors missing: s1.b1.conv1.bn.bias.", text)
        self.assertIn("1 tensors left over: s1.b1.conv9.bn.bias.", text)

    def test_verify_finds_numbers_that_are_none(self):
        def spoil(state):
            state["s2.b1.conv1.bn.bias"][:2] = np.nan, np.inf

        text, good = weights_main.verify(self.edited(spoil))
        self.assertFalse(good)
        self.assertIn("2 numbers of stage 2 are not finite.", text)

    @parameterized.parameters(
        ("running_var", lambda a: -a, "holds negative variances: 44 tensors"),
        ("conv.weight", np.zeros_like, "holds nothing but 0: 44 tensors"),
        ("head.fc.weight", np.zeros_like, "holds nothing but 0: 1 tensors"),
        ("conv.weight", lambda a: 0 * a + 0.1, "holds nothing but 0.1: 44"),
        ("s2.b1.conv2.conv.weight", np.zeros_like, "but 0: 1 tensors: s2.b1"),
        ("s2.b1.conv2.bn.running_var", np.ones_like, "nothing but 1: 1 ten"),
        ("running_var", np.zeros_like, "all running variances are 0"),
        ("bn.weight", lambda a: 0 * a + 0.5, "all gammas are 0.5"),
        ("s4.b7.conv3.conv.weight", lambda a: 1e30 * a, "numbers up to "),
        ("head.fc.bias", lambda a: a.astype("int64"), "type int64, not wei"),
    )
    def test_verify_finds_what_no_training_leaves(self, name, change, found):
        def edit(state):
            for key in state:
                if key.endswith(name):
                    state[key] = change(state[key])

        text, good = weights_main.verify(self.edited(edit))
        self.assertFalse(good)
        self.assertIn(found, text)

    @parameterized.parameters(
        # The last norm of each block began at zero, and a channel is pruned.
        ("conv3.bn.weight", np.zeros_like),
        ("conv2.bn.running_var", lambda a: np.r_[np.zeros(4, "f4"), a[4:]]),
        ("conv1.conv.weight", lambda a: np.r_[0 * a[:4], a[4:]]),
        # A block that is switched off, and statistics of unscaled pixels.
        ("s4.b7.conv2.bn.running_var", np.zeros_like),
        ("s4.b7.conv2.bn.weight", np.zeros_like),
        ("stem.bn.running_var", lambda a: a * 1e5),
    )
    def test_verify_leaves_what_training_may_leave(self, name, change):
        def edit(state):
            for key in state:
                if key.endswith(name):
                    state[key] = change(state[key])

        text, good = weights_main.verify(self.edited(edit))
        self.assertTrue(good, text)

    @parameterized.parameters(
        ("stem.conv.weight", True), ("head.fc.weight", True), ("s4", False)
    )
    def test_verify_kernels_as_an_initializer_leaves_them(self, name, good):
        """A few of them may be so by chance, or after a short training."""
        fresh = safetensors.numpy.load_file(self.fresh)

        def reset(state):
            for key in state:
                if key.startswith(name) and state[key].ndim > 1:
                    state[key] = fresh[key]

        text, found = weights_main.verify(self.edited(reset))
        self.assertEqual(found, good, text)
        if not good:
            self.assertIn("Untrained (stage 4): all kernels have the", text)

    def test_verify_names_a_tensor_of_another_shape(self):
        def cut(state):
            state["s1.b1.conv1.bn.bias"] = state["s1.b1.conv1.bn.bias"][:5]

        text, good = weights_main.verify(self.edited(cut))
        self.assertFalse(good)
        self.assertIn(
            "1 tensors of other shapes: s1.b1.conv1.bn.bias (5,) for (24,).",
            text,
        )

    def test_verify_takes_a_run_folder(self):
        folder = self.folder / "run"
        folder.mkdir()
        with self.assertRaisesRegex(ValueError, "does not exist: model.keras"):
            weights_main.verify(str(folder))
        self.model.save(folder / "model.keras")
        text, good = weights_main.verify(str(folder))
        self.assertTrue(good, text)
        self.assertIn(f"file     {folder / 'model.keras'}\n", text)

    def test_verify_a_file_of_keras_2(self):
        folder = keras_h5_testing.unpack(type(self))
        with self.assertRaisesRegex(
            ValueError, "depths 1-2-1-1.*not a published network"
        ):
            weights_main.verify(str(folder / "weights_y.h5"))

    @parameterized.parameters("torchvision", "pycls", "timm")
    def test_convert_and_back(self, file_format):
        there = str(self.folder / f"{file_format}.safetensors")
        back = str(self.folder / "back.safetensors")
        text = weights_main.convert(self.trained, there, file_format, None)
        self.assertEqual(text, f"Wrote {there}: RegNetX-200MF, 3 classes.")
        weights_main.convert(there, back, "timm", None)
        first = safetensors.numpy.load_file(self.trained)
        again = safetensors.numpy.load_file(back)
        self.assertCountEqual(first, again)
        for name, tensor in first.items():
            np.testing.assert_array_equal(tensor, again[name], name)

    @parameterized.parameters("mine.keras", "mine.weights.h5")
    def test_convert_our_own_files(self, name):
        path = self.folder / name
        write = self.model.save_weights if "h5" in name else self.model.save
        write(path)
        there = str(self.folder / "mine.safetensors")
        text = weights_main.convert(str(path), there, "timm", None)
        self.assertEqual(text, f"Wrote {there}: RegNetX-200MF, 3 classes.")
        exported = safetensors.numpy.load_file(self.trained)
        again = safetensors.numpy.load_file(there)
        self.assertCountEqual(exported, again)
        for tensor, array in exported.items():
            np.testing.assert_array_equal(array, again[tensor], tensor)

    def test_convert_a_network_of_ours_without_a_name(self):
        config = keras_regnet.AnyNetConfig(
            (1,), (8,), group_widths=4, stem="cifar"
        )
        path = str(self.folder / "unnamed.keras")
        keras_regnet.AnyNet(config, input_shape=(32, 32, 3)).save(path)
        there = str(self.folder / "unnamed.safetensors")
        text = weights_main.convert(path, there, "pycls", None)
        self.assertIn("a network of depths 1 and widths 8, 1000 clas", text)
        again = keras_regnet.AnyNet(config, there, input_shape=(32, 32, 3))
        model = keras.saving.load_model(path)
        for got, wanted in zip(again.weights, model.weights, strict=True):
            np.testing.assert_array_equal(got, wanted, wanted.path)

    @parameterized.parameters("model.keras", "model.weights.h5")
    def test_convert_to_keras(self, name):
        path = str(self.folder / name)
        weights_main.convert(self.trained, path, "keras", None)
        self.assertEqual(
            [p for p in self.folder.iterdir() if "partial" in p.name], []
        )
        model = keras_regnet.RegNetX("200MF", classes=3, weights=path)
        for got, wanted in zip(model.weights, self.model.weights, strict=True):
            np.testing.assert_array_equal(got, wanted, wanted.path)

    @_flags(licence="mit")
    def test_save_folder(self):
        target = self.folder / "published"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            weights_main.main(
                ["weights", "save_folder", self.trained, str(target)]
            )
        self.assertEqual(
            printed.getvalue(), f"Wrote {target}: RegNetX-200MF, 3 classes.\n"
        )
        self.assertIn('license: "mit"', (target / "README.md").read_text())
        text, good = weights_main.verify(str(target))
        self.assertTrue(good, text)
        self.assertIn("RegNetX-200MF", text)

    def test_push_of_a_run(self):
        run = self.folder / "pushed_run"
        run.mkdir()
        self.model.save(run / "model.keras")
        (run / "config.json").write_text('{"config": {"epochs": 3}}')
        with mock.patch.object(
            weights_main.hub_folder, "push", return_value="URL"
        ) as push:
            text = weights_main.publish("push", str(run), "me/it", private=True)
        self.assertEqual(text, "Pushed RegNetX-200MF, 3 classes: URL")
        push.assert_called_once_with(
            mock.ANY, "me/it", private=True, licence=None, run_folder=str(run)
        )

    def test_convert_takes_the_normalisation_of_a_tag(self):
        path = str(self.folder / "tagged.keras")
        state = safetensors.numpy.load_file(self.trained)
        state = {k: v for k, v in state.items() if not k.startswith("head")}
        source = str(self.folder / "headless.safetensors")
        safetensors.numpy.save_file(state, source)
        weights_main.convert(source, path, "keras", "pycls_in1k")
        model = keras.saving.load_model(path)
        self.assertEqual(model.output.shape[-1], 368)

    @_flags(format="timm", tag="pycls_in1k")
    def test_errors_of_use(self):
        for arguments, message in (
            ([], "Unknown `command`"),
            (["lst"], "Did you mean 'list'"),
            (["show", "RegNetX-200MF"], "Usage: .* show VARIANT TAG"),
            (["list", "RegNetX-1TF"], "Unknown `variant`"),
            (["show", "RegNetX-200MF", "pycls"], "Did you mean 'pycls_in1k'"),
            (["convert", self.trained], "Usage: .* convert IN OUT"),
            (
                ["convert", self.trained, "a.txt"],
                "suffix of OUT.*'.safetensors', .*a.txt",
            ),
            (["verify", "/nowhere.pth"], "names a file that does not exist"),
            (["verify", __file__], "run folder, .* path of a file that ends"),
            (["verify", "imagenet"], "run folder, .* path of a file that end"),
            (["convert", "imagenet", "a.pth"], "run folder, .* path of a file"),
        ):
            with self.assertRaises(SystemExit) as raised:
                weights_main.main(["weights", *arguments])
            self.assertRegex(raised.exception.code, f"^error: .*{message}")
            self.assertNotIn("\n", raised.exception.code)

    @_flags(format="timm", tag="pycls_in1k")
    def test_convert_to_a_folder_that_is_a_file(self):
        target = f"{self.trained}/a.safetensors"
        with self.assertRaises(SystemExit) as raised:
            weights_main.main(["weights", "convert", self.trained, target])
        self.assertRegex(
            raised.exception.code, f"^error: .*exists.*{self.trained}"
        )

    def test_keras_needs_its_suffixes(self):
        with self.assertRaisesRegex(ValueError, "'.keras', '.weights.h5'"):
            weights_main.convert(self.trained, "a.safetensors", "keras", None)


if __name__ == "__main__":
    absltest.main()
