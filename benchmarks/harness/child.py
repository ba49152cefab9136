"""The harness's side of a process that takes jobs."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


class CaseError(RuntimeError):
    """A benchmark case cannot run, or ended before it was asked to."""


class Child:
    r"""A process that answers each job with a line; both are JSON values.

    Args:
      command: the program and its arguments; it ends when its input does.
      variables: added to the environment.

    Raises:
      CaseError: if it does not start.

    Example:
    >>> import sys
    >>> program = "for line in open(0): print(2 * int(line), flush=True)"
    >>> with Child([sys.executable, "-c", program]) as child:
    ...     child.call(21)
    42
    """

    def __init__(
        self, command: Sequence[str], variables: Mapping[str, str] | None = None
    ) -> None:
        # Not a pipe, which would fill up and block.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (`close`)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                cwd=ROOT,
                env={**os.environ, **(variables or {})},
            )
        except OSError as error:
            self._errors.close()
            raise CaseError(f"did not start: {error}") from error

    def call(self, job: object) -> Any:
        """Returns the reply to a job; raises a CaseError if there is none."""
        # If it has ended, reading tells how.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        raise CaseError(self._how_it_ended())

    def close(self) -> None:
        """Ends the process."""
        # Broken if it has ended with a job unread.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _how_it_ended(self):
        status = self._process.wait()
        how = f"ended early with status {status}"
        if status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"{how}: {said[-1] if said else 'it said nothing'}"
