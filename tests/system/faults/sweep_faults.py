"""Injects faults into a small sweep; prints the table of docs/sweeps.md.

    python tests/system/faults/sweep_faults.py --folder=/tmp/sweep_faults

Workers and driver are killed at random moments, and a truncated line is left
now and then; then files may not grow beyond one size after another. Each time
the same command resumes. It stops with an error where an invariant is broken.
"""

import argparse
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

if __name__ == "__main__":
    _root = pathlib.Path(__file__).resolve().parents[3]
    sys.path.insert(0, str(_root))

from keras_regnet.design_space import records
from tests.support import sweep_testing as sweeps
from training.sweeps import files

_TRIALS = 40
_COMMAND = ("--regime=synthetic", "--space=RegNetX", f"--n={_TRIALS}")
# Kilobytes that a file may have: too few for one or another of a sweep.
_SIZES = (1, 8, 30, 40, 60, 100)
_TRUNCATED_BYTES = 100
# A fault comes so many seconds after a start, or after a trial has ended.
_EARLY_SECONDS = 20
_LATE_SECONDS = 3
_EARLY_FRACTION = 0.25


def _command(out):
    # A killed trial is always tried again.
    return ("run", f"--out={out}", *_COMMAND, "--workers=2", "--retries=99")


class Witness:
    """Checks that records stay as they were written.

    Args:
      out: the sweep's folder.
    """

    def __init__(self, out: pathlib.Path):
        self.path = out / files.RECORDS
        self._seen = b""

    def look(self) -> int:
        """Returns how many trials are done.

        Raises:
          SystemExit: if a record is lost, or a trial was done twice.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, _ = records.split_truncated(content)
        if not whole.startswith(self._seen):
            sys.exit(f"{self.path}: a record was lost")
        self._seen = whole
        found = records.read(self.path) if whole else []
        done = [record.trial_id for record in found if record.done]
        if len(set(done)) < len(done):
            sys.exit(f"{self.path}: a finished trial ran again")
        return len(done)

    def failures(self) -> list[str]:
        """Returns the reasons of the attempts that failed."""
        return [r.reason for r in records.read(self.path) if not r.done]


def _finish(out, witness):
    """Lets a sweep come to its end."""
    driver = sweeps.start(*_command(out))
    said, _ = driver.communicate()
    if driver.returncode or witness.look() != _TRIALS:
        sys.exit(f"the same command did not resume:\n{said}")
    page = (out / files.REPORT).read_text()
    if f"{_TRIALS} networks trained, 0 failed for good" not in page:
        sys.exit("the page does not have all trials")
    return said


def _kill_driver(driver, witness, rng):
    children = sweeps.children(driver.pid)
    driver.kill()
    driver.wait()
    sweeps.wait_until(lambda: not any(map(sweeps.is_running, children)), 60)
    truncated = rng.random() < 0.5 and witness.look()
    if truncated:
        with open(witness.path, "rb+") as file:
            line = file.readline()
            file.seek(0, os.SEEK_END)
            file.write(line[:_TRUNCATED_BYTES])
    return bool(truncated)


def _await_news(driver, witness):
    before = sweeps.lines(witness.path)
    sweeps.wait_until(
        lambda: sweeps.lines(witness.path) > before or driver.poll() is not None
    )


def kill(out: pathlib.Path, kills: int, seed: int) -> dict[str, int]:
    """Kills workers and drivers of a sweep a number of times.

    Args:
      out: the sweep's folder.
      kills: how often each of the two is killed.
      seed: of the moments.

    Returns:
      Numbers of faults and of their records.
    """
    rng = random.Random(seed)
    witness = Witness(out)
    victims = ["worker", "driver"] * kills
    rng.shuffle(victims)
    counts = {"worker": 0, "driver": 0, "truncated": 0, "early": 0}
    while victims:
        driver = sweeps.start(*_command(out))
        begun = time.monotonic()
        while victims and driver.poll() is None:
            if rng.random() < _EARLY_FRACTION:
                time.sleep(rng.uniform(0, _EARLY_SECONDS))
                counts["early"] += 1
            else:
                _await_news(driver, witness)
                time.sleep(rng.uniform(0, _LATE_SECONDS))
            victim = victims.pop()
            counts[victim] += 1
            if victim == "driver":
                counts["truncated"] += _kill_driver(driver, witness, rng)
            elif workers := sweeps.children(driver.pid):
                os.kill(rng.choice(workers), signal.SIGKILL)
            print(
                f"{victim} after {time.monotonic() - begun:.0f} s; "
                f"{witness.look()} done",
                flush=True,
            )
        driver.stdout.close()
        driver.wait()
        if driver.returncode == 0 and victims:
            sys.exit("the sweep ended before all faults were injected")
    said = _finish(out, witness)
    counts["unlike"] = sum(
        not reason.startswith("worker was killed (SIGKILL)")
        for reason in witness.failures()
    )
    counts["recorded"] = len(witness.failures())
    print(said.splitlines()[0])
    return counts


def fill(out: pathlib.Path) -> list[str]:
    """Runs a sweep while files may not grow beyond one size after another.

    Args:
      out: the sweep's folder.

    Returns:
      The last line of each run.
    """
    witness, said = Witness(out), []
    script = 'ulimit -f "$0"; exec "$@"'
    for size in _SIZES:
        result = subprocess.run(
            [
                *("bash", "-c", script, str(size)),
                *(sys.executable, str(sweeps.SCRIPT), *_command(out)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            # Truncated .pyc files are not part of the invariant.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        said.append(result.stdout.strip().splitlines()[-1])
        print(f"{size} kB: {witness.look()} done; {said[-1]}", flush=True)
        if not re.match("error: .*File too large", said[-1]):
            sys.exit(f"not one clear line:\n{result.stdout}")
        left = [path.name for path in out.rglob(".*.*") if path.is_dir()]
        if left:
            sys.exit(f"something half-written is left: {left}")
    _finish(out, witness)
    return said


def main() -> None:
    """Injects the faults, and prints the table of results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = kill(options.folder / "killed", options.kills, options.seed)
    said = fill(options.folder / "filled")
    print("\n| fault | times | result |\n| --- | --- | --- |")
    print(
        f"| SIGKILL for a worker | {counts['worker']} "
        f"| {counts['recorded']} trials recorded as killed, and trained again "
        "|"
    )
    print(
        f"| SIGKILL for the driver | {counts['driver']} | workers gone within "
        "a minute; resumed |"
    )
    print(
        f"| last line truncated | {counts['truncated']} | detected, its "
        "trial runs again |"
    )
    print(
        f"| files may not grow (`ulimit -f`) | {len(said)} | one line that "
        "names the file; resumed |"
    )
    print(
        f"\nOf {_TRIALS} trials each none was lost, and none trained twice. "
        f"Other reasons of failures: {counts['unlike']}. Faults that "
        f"did not wait for news: {counts['early']}."
    )


if __name__ == "__main__":
    main()
