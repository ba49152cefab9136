"""Runs a suite: processes of its cases, rounds, and a file of the results."""

import contextlib
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.harness import alternate
from benchmarks.harness import environments
from benchmarks.harness import host
from benchmarks.harness import progress as progress_lib
from benchmarks.harness import results
from benchmarks.harness import spec
from benchmarks.harness.child import CaseError
from benchmarks.harness.child import Child

# TensorFlow and PyTorch log what is of no interest here, and Keras asks which
# backend.
_VARIABLES = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


def start(python: str, case: spec.Case, threads: int) -> Child:
    """Starts the process of a case."""
    command = [python, "-m", "benchmarks.harness.worker"]
    command += [f"benchmarks.cases.{case.program}", str(threads)]
    return Child(command, {**_VARIABLES, **case.variables})


def ask(
    program: str,
    job: Mapping[str, Any],
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns the facts that a program of this interpreter finds.

    Raises:
      CaseError: if it fails.
    """
    case = spec.Case(program, program, job, variables=variables or {})
    with start(sys.executable, case, host.cores()) as process:
        return process.call({**job, "threads": host.cores()})["facts"]


class Runner:
    """Runs the settings of a suite.

    Args:
      suite: what is measured.
      partial: where it is kept.
      options: of the command line.
      progress: what says how far it is.
    """

    def __init__(
        self,
        suite: spec.Suite,
        partial: results.Partial,
        options: spec.Options,
        progress: progress_lib.Progress,
    ) -> None:
        self._suite = suite
        self._partial = partial
        self._progress = progress
        self._files = _Files(options.cache / "files")
        self._environments = environments.Environments(
            options.cache / "environments", progress.say
        )

    def run(self, settings: list[spec.Setting]) -> None:
        """Runs what an earlier run has not, and finishes the file."""
        kept = self._partial.record["settings"]
        for setting, stored in zip(settings, kept, strict=True):
            self._progress.begin_setting()
            done = results.finished_rounds(stored)
            rounds = range(done, self._partial.record["rounds"])
            if rounds and not _nobody(stored):
                with contextlib.ExitStack() as stack:
                    turns = self._turns(setting, stored, stack)
                    self._partial.write()
                    self._take_turns(setting, stored, turns, rounds)
            self._progress.end_setting()
        self._partial.finish()

    def _turns(self, setting, stored, stack):
        """Returns the turns of the cases that can run; says which cannot."""
        turns = {}
        for number, case in enumerate(setting.cases):
            entry = stored["cases"][case.name]
            if "failed" in entry or "absent" in entry:
                continue
            self._progress.say(
                f"{setting.title()}: preparing {case.name} "
                f"({number + 1} of {len(setting.cases)})"
            )
            try:
                turns[case.name] = self._turn(setting, case, entry, stack)
            except _AbsentError as error:
                entry["absent"] = str(error)
                self._progress.say(f"absent: {case.name}: {error}")
            except CaseError as error:
                entry["failed"] = str(error)
                self._progress.say(f"failed: {case.name}: {error}")
        self._files.close()  # Nothing else computes while others are timed.
        return turns

    def _turn(self, setting, case, entry, stack):
        """Returns the turn of a case, whose process is ready."""
        python = self._python(case)
        job = {**case.job, **self._files.paths(case.files)}
        job["threads"] = setting.threads

        def prepared(process):
            reply = process.call(job)
            entry["versions"] = reply["versions"]
            entry["facts"] = reply["facts"]
            return process

        def fresh_turn():
            with start(python, case, setting.threads) as process:
                return prepared(process).call(None)

        if self._suite.fresh:
            return fresh_turn
        process = stack.enter_context(start(python, case, setting.threads))
        prepared(process)
        return lambda: process.call(None)

    def _python(self, case):
        if case.absent:
            raise _AbsentError(case.absent)
        try:
            return self._environments.python(case.environment)
        except CaseError as error:
            raise _AbsentError(str(error)) from error

    def _take_turns(self, setting, stored, turns, rounds):
        def begin(number):
            self._progress.begin_round(
                f"{setting.title()}: round {number + 1} of {rounds.stop}",
                rounds.stop - number,
            )

        def keep(measured, failed):
            for name, values in measured.items():
                stored["cases"][name]["rounds"].append(values)
            for name, error in failed.items():
                stored["cases"][name]["failed"] = error
                self._progress.say(f"failed: {name}: {error}")
            self._partial.write()

        alternate.alternate(turns, rounds, begin, keep)


class _AbsentError(CaseError):
    """A case cannot run here, through no fault of its own."""


def _nobody(stored):
    """Whether no case of a setting can run, as an earlier run has found."""
    return all(
        "failed" in case or "absent" in case
        for case in stored["cases"].values()
    )


class _Files:
    """Files that cases need, made by processes when they are first needed.

    A file is an entry "program", the module of `benchmarks.cases` that makes it
    ("files" by default), and what it takes.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder.resolve()
        self._makers: dict[str, Child] = {}

    def paths(self, files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Returns the path of each file.

        Raises:
          CaseError: if one cannot be made.
        """
        return {entry: self._path(**file) for entry, file in files.items()}

    def close(self) -> None:
        """Ends the processes."""
        while self._makers:
            self._makers.popitem()[1].close()

    def _path(self, program="files", **file):
        if program not in self._makers:
            self._folder.mkdir(parents=True, exist_ok=True)
            maker = spec.Case(program, program, {})
            self._makers[program] = start(sys.executable, maker, host.cores())
        job = {**file, "folder": str(self._folder)}
        try:
            return self._makers[program].call(job)["facts"]["path"]
        except CaseError as error:
            self._makers.pop(program).close()
            named = " ".join(str(value) for value in file.values())
            raise CaseError(
                f"its file ({named}) cannot be made: {error}"
            ) from error
