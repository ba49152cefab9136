"""A suite from its settings to its file, with cases that start no process."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from benchmarks import result_table
from benchmarks.harness import environments
from benchmarks.harness import progress
from benchmarks.harness import results
from benchmarks.harness import run
from benchmarks.harness import spec
from benchmarks.harness.child import CaseError
from benchmarks.suites import catalog

_MACHINE = {"cpu": "a processor", "instructions": "AVX2"}


class _Process:
    """Takes so many turns as its job has seconds."""

    def __init__(self, python, case, threads):
        self._seconds = list(case.job["seconds"])

    def call(self, job):
        if job is not None:
            return {"versions": {"fake": "1"}, "facts": {"images": 2}}
        if not self._seconds:
            raise CaseError("ended early with status 1: no turn left")
        return {"seconds": self._seconds.pop(0)}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def _case(name, *seconds, **fields):
    return spec.Case(name, "fake", {"seconds": seconds}, **fields)


def _setting(*cases):
    return spec.Setting({"network": "N", "batch": 2}, cases, "ours", 1)


def _suite(fresh=False):
    column = spec.Column("seconds", "images/s", "rate")
    return spec.Suite("inference", "", lambda _: [], (column,), fresh)


class RunTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.path = self.folder / "result.json"
        self.start = self.enterContext(
            mock.patch.object(run, "start", side_effect=_Process)
        )
        self.enterContext(
            mock.patch.object(
                environments, "_run", side_effect=CaseError("no index")
            )
        )

    def _partial(self, settings, rounds=3, machine=_MACHINE):
        record = results.new(_suite(), "c", machine, rounds, 1.0, settings)
        return results.Partial(self.path, record)

    def _run(self, *settings, suite=None, rounds=3):
        partial = self._partial(settings, rounds)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            run.Runner(
                suite or _suite(),
                partial,
                spec.Options(cache=self.folder),
                progress.Progress(len(settings)),
            ).run(list(settings))
        return results.read(self.path), output.getvalue()

    def test_rounds_and_table(self):
        record, said = self._run(
            _setting(_case("ours", 1, 1, 4), _case("theirs", 2, 4, 4))
        )
        cases = record["settings"][0]["cases"]
        self.assertEqual(results.values(cases["theirs"], "seconds"), [2, 4, 4])
        self.assertEqual(cases["ours"]["versions"], {"fake": "1"})
        self.assertIn("round 3 of 3; about", said)
        *_, ours, theirs = result_table.table(record).splitlines()
        self.assertIn("| N | 2 | ours | 2 (0.5 to 2) | reference | 3 |", ours)
        self.assertIn("| 0.5 (0.5 to 1) | 2.00 (1.00 to 4.00) |", theirs)

    def test_absent_and_failed_cases_are_said(self):
        record, said = self._run(
            _setting(
                _case("ours", 1, 1, 1),
                _case("torch", 1, 1, 1, environment="torch"),
                _case("pycls", absent="--pycls names no checkout"),
                _case("short", 1),
            )
        )
        notes = "\n".join(result_table.notes(record))
        for text in (said, notes):
            self.assertIn("absent: torch: no index", text)
            self.assertIn("absent: pycls: --pycls names no checkout", text)
            self.assertIn("failed: short: ended early with status 1", text)
        cases = record["settings"][0]["cases"]
        self.assertLen(cases["ours"]["rounds"], 3)
        self.assertLen(cases["short"]["rounds"], 1)

    def test_a_fresh_turn_has_its_own_process(self):
        record, _ = self._run(_setting(_case("ours", 5)), suite=_suite(True))
        self.assertEqual(self.start.call_count, 3)
        ours = record["settings"][0]["cases"]["ours"]
        self.assertEqual(results.values(ours, "seconds"), [5, 5, 5])
        self.assertEqual(ours["facts"], {"images": 2})

    def test_a_killed_run_keeps_its_rounds(self):
        settings = [
            _setting(_case("ours", 1, 2, 3), _case("theirs", 4, 5, 6)),
            _setting(_case("ours", 7, 8, 9)),
        ]
        self.path.write_text('{"suite": "older"}')
        with (
            mock.patch.object(
                progress.Progress,
                "begin_round",
                side_effect=[None, None, KeyboardInterrupt],
            ),
            self.assertRaises(KeyboardInterrupt),
        ):
            self._run(*settings)
        # Until the new one is finished, the older result stays.
        self.assertEqual(results.read(self.path), {"suite": "older"})
        self.assertTrue(self._partial(settings).resumed)
        record, _ = self._run(*settings)
        first, second = record["settings"]
        # A process that starts anew has its first number again.
        values = results.values(first["cases"]["theirs"], "seconds")
        self.assertEqual(values, [4, 5, 4])
        values = results.values(second["cases"]["ours"], "seconds")
        self.assertEqual(values, [7, 8, 9])
        self.assertEqual([f.name for f in self.folder.glob("*.json")],
                         ["result.json"])  # fmt: skip

    def test_another_run_does_not_resume(self):
        settings = [_setting(_case("ours", 1))]
        self._partial(settings).write()
        others = [_setting(_case("ours", 1), _case("theirs", 1))]
        with self.assertRaisesRegex(ValueError, "another rounds, settings"):
            self._partial(others, rounds=5)
        with self.assertRaisesRegex(ValueError, r"another machine \(cpu\)"):
            self._partial(settings, machine={"cpu": "another"})

    def test_not_a_result(self):
        for text, message in (
            ("[1]", "is not a result of"),
            ("{", "is not JSON"),
        ):
            self.path.write_text(text)
            with self.assertRaisesRegex(ValueError, message):
                results.read(self.path)


class EnvironmentsTest(absltest.TestCase):
    def test_made_once_and_with_no_deps_apart(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "a.txt").write_text("numpy==1\n# --no-deps\ntimm==2\n")
        commands = []

        def record(command):
            if "venv" in command:
                pathlib.Path(command[-1]).mkdir(parents=True)
            else:
                text = pathlib.Path(command[-1]).read_text()
                commands.append(("--no-deps" in command, text))

        with mock.patch.object(environments, "_run", record):
            for _ in range(2):
                made = environments.Environments(folder, print, folder)
                python = made.python("a")
        self.assertEqual(commands, [(False, "numpy==1\n"), (True, "timm==2\n")])
        self.assertTrue(python.endswith("bin/python"))

    def test_every_case_has_requirements(self):
        for suite in catalog.SUITES.values():
            for setting in suite.settings(spec.Options()):
                names = [case.name for case in setting.cases]
                self.assertLen(set(names), len(names), setting.title())
                self.assertIn(setting.reference, names)
                for case in setting.cases:
                    json.dumps(dict(case.job))
                    if case.environment != spec.HERE:
                        file = f"{case.environment}.txt"
                        path = environments.REQUIREMENTS / file
                        self.assertTrue(path.exists(), case.name)


if __name__ == "__main__":
    absltest.main()
