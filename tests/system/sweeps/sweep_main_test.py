"""The output of `training/sweep.py`: one process runs all commands."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

from absl.testing import absltest

from keras_regnet.design_space import records
from tests.support import design_space_testing as testing
from training.sweeps import files
from training.sweeps import regimes
from training.sweeps import spec as spec_lib

# Imported anew for each command, it would take minutes.
_CODE = """
import contextlib, io, json, sys
sys.modules["ray"] = None
from absl import flags
from absl.testing import flagsaver
from training import sweep
for arguments in json.load(sys.stdin):
    said, code = io.StringIO(), 0
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        flagsaver.flagsaver(),
    ):
        try:
            sweep._main(flags.FLAGS(["sweep.py", *arguments]))
        except SystemExit as end:
            code = end.code
        except flags.Error as error:
            print(f"flag error: {error}")
    print("ANSWER", json.dumps([code, said.getvalue()]))
"""
_DIGITS = ("--regime=digits", "--space=RegNetX", "--n=2")


def _answers(*commands):
    """Returns (exit status, output) of each command."""
    result = subprocess.run(
        [sys.executable, "-c", _CODE],
        cwd=pathlib.Path(files.__file__).parents[2],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    return [json.loads(x[7:]) for x in lines if x.startswith("ANSWER ")]


class MainTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def _out(self, name):
        (self.folder / name).mkdir()
        return self.folder / name

    def test_errors_are_one_line_each(self):
        empty, sampled = self._out("empty"), self._out("sampled")
        spec = spec_lib.Spec(
            regime=regimes.get("synthetic"), spaces=("RegNetX",), n=2
        )
        spec_lib.sample(spec, sampled)
        schema = self._out("schema")
        line = {**json.loads(testing.RECORD.to_json()), "schema": 99}
        (schema / files.RECORDS).write_text(json.dumps(line) + "\n")
        truncated = self._out("truncated")
        packed = truncated / files.PACKED
        records.write_packed(packed, [testing.RECORD])
        packed.write_bytes(packed.read_bytes()[:-20])
        file = self.folder / "file"
        file.touch()
        new = f"--out={self.folder / 'new'}"
        table = (
            ([], "Unknown `stage`.*'sample', 'train'"),
            (["trian", new], "Did you mean 'train'"),
            (["run", "--out="], "`out` must be a folder"),
            (["run", new], "`regime` must be one of imagenet, cifar10"),
            (["run", new, "--regime=digit"], "Did you mean 'digits'"),
            (["run", new, "--regime=digits"], "`space` must be given"),
            (
                ["run", new, *_DIGITS, "--regime=cifar10"],
                "`regime` must be given once. Received: digits, cifar10",
            ),
            (["run", new, *_DIGITS, "--flops=4e6"], "`flops` must be MIN..MAX"),
            (
                ["run", new, *_DIGITS, "--flops=6e6..4e6"],
                "`flops` must be .min, max., two numbers in order",
            ),
            (["run", new, *_DIGITS, "--crop=zoom"], "Unknown `crop`.*'area'"),
            (
                ["run", new, "--dataset=photos", "--space=RegNetX"],
                "`data_dir`.*'photos' .images elsewhere are folder:PATH",
            ),
            (
                ["run", new, "--dataset=folder:/no/where", "--space=RegNetX"],
                "folder that does not exist. Received: dataset='folder:/no/w",
            ),
            (
                ["run", new, *_DIGITS, "--space=AnyNetX_D widths=falling"],
                "contradict",
            ),
            (
                ["run", new, *_DIGITS, "--space=RegNetX depth=200..300"],
                "`depth`",
            ),
            (["sample", f"--out={file}", *_DIGITS], "`out` must be a folder"),
            (["report", f"--out={file}"], "`out` must be a folder"),
            (["train", f"--out={empty}"], "run `sample` first"),
            (["report", f"--out={empty}"], "the sweep is empty"),
            (["report", f"--out={sampled}"], "the sweep is empty"),
            (["report", new], "no such folder: .*/new'"),
            (["train", new], "no such folder: .*/new'"),
            (["analyze", f"--out={schema}"], "line 1 has another `schema`"),
            (["pick", f"--out={sampled}"], "2 of 2 trials are not trained"),
            (["pick", f"--out={empty}"], "run `sample` first"),
            (
                ["report", f"--out={truncated}"],
                "records.jsonl.gz is not a whole gzip",
            ),
            (["sample", f"--out={sampled}", "--n=1"], "n or trials .fewer"),
            (["sample", f"--out={sampled}", "--seed=1"], "seed differ"),
            (["run", f"--out={sampled}", "--epochs=9"], "epochs differ"),
            (["train", f"--out={sampled}", "--epochs=9"], "epochs differ"),
            (
                ["train", f"--out={sampled}", "--trial_timeout=0"],
                "`trial_timeout` must be above 0",
            ),
            (
                ["train", f"--out={sampled}", "--gpus=1"],
                "`gpus` are shared out on a Ray cluster alone",
            ),
            (
                ["train", f"--out={sampled}", "--engine=ray"],
                r"--engine=ray. needs Ray: pip install .*\[cluster\]",
            ),
        )
        answers = _answers(*[command for command, _ in table])
        for (command, message), (code, said) in zip(
            table, answers, strict=True
        ):
            last = said.splitlines()[-1]
            self.assertRegex(last, rf"^error: .*{message}", command)
            self.assertEqual(code, 1, command)
        self.assertFalse((self.folder / "new").exists())

    def test_sample_grows_by_what_is_given(self):
        out = f"--out={self.folder}"
        answers = _answers(
            ["sample", out, *_DIGITS],
            ["sample", out],
            ["sample", out, "--n=3"],
            ["sample", out, "--trials=2"],
            ["sample", out, "--space=RegNetX", "--space=RegNetX w_m=2"],
            ["sample", out, "--engine=rey"],
        )
        self.assertEqual([code for code, _ in answers], [0] * 6)
        said = [re.findall(r"(\d+) trials of (\d+) sp", s) for _, s in answers]
        self.assertEqual(
            said[:5],
            [[("2", "1")], [], [("3", "1")], [("6", "1")], [("12", "2")]],
        )
        self.assertIn("flag error", answers[5][1])
        spec, trials = spec_lib.load(self.folder)
        self.assertEqual((spec.regime.name, spec.n), ("digits", 3))
        self.assertEqual(spec.trials, 2)
        self.assertLen(trials, 12)


if __name__ == "__main__":
    absltest.main()
