"""Reads thousands of damaged files; prints the table of docs/security.md.

    python tests/system/faults/fuzz_files.py --mutants=2000

Each mutant is a good file with bytes flipped, cut, inserted or moved, or with
numbers put in that are extreme as a length; of archives every second one is
changed inside, under checksums that are right. A worker process reads them,
under a limit of memory: one that dies or hangs is seen, and another goes on.
"""

import argparse
import collections
import dataclasses
import io
import json
import os
import pathlib
import resource
import select
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib

import numpy as np

OUTCOMES = (
    "refused",
    "equal",
    "other",
    "half-loaded",
    "exception",
    "crash",
    "hang",
)
_ROOT = pathlib.Path(__file__).resolve().parents[3]
_SECONDS = 20
_START_SECONDS = 120
_MEGABYTE = 2**20
# Above what a worker has when it begins.
_MEMORY = 2048 * _MEGABYTE
_MUCH = 200
_EXTREMES = (0, 1, 0x7F, 0xFF, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40)
_SHOWN = 5


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns a file with a few faults, of one or several kinds."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        changed = change(changed, rng) or bytearray(b"\0")
    return bytes(changed)


def _place(content, rng):
    return int(rng.integers(len(content)))


def _chunk(content, rng):
    start = _place(content, rng)
    return start, min(start + int(rng.integers(1, 65)), len(content))


def _flip(content, rng):
    for _ in range(rng.integers(1, 9)):
        content[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _truncate(content, rng):
    return content[: _place(content, rng)]


def _insert(content, rng):
    start = _place(content, rng)
    added = rng.bytes(int(rng.integers(1, 65)))
    return content[:start] + added + content[start:]


def _remove(content, rng):
    start, end = _chunk(content, rng)
    return content[:start] + content[end:]


def _repeat(content, rng):
    start, end = _chunk(content, rng)
    return content[:end] + content[start:end] * 3 + content[end:]


def _swap(content, rng):
    start, end = _chunk(content, rng)
    other = _place(content, rng)
    chunk = content[start:end]
    content[start:end] = content[other : other + len(chunk)]
    content[other : other + len(chunk)] = chunk
    return content


def _length(content, rng):
    """Writes an extreme number where one may stand, in 2, 4 or 8 bytes."""
    size, code = ((2, "H"), (4, "I"), (8, "Q"))[rng.integers(3)]
    value = int(rng.choice(_EXTREMES)) % 2 ** (8 * size)
    order = "<>"[rng.integers(2)]
    start = _place(content, rng)
    content[start : start + size] = struct.pack(order + code, value)
    return content


def _digits(content, rng):
    """Puts another number where text has one."""
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return _flip(content, rng)
    place = places[rng.integers(len(places))]
    numbers = (b"-1", b"1e999", b"99999999999", b"null", b"[[]]", b"9" * 5000)
    return (
        content[:place]
        + numbers[rng.integers(len(numbers))]
        + content[place + 1 :]
    )


_CHANGES = (
    _flip,
    _truncate,
    _insert,
    _remove,
    _repeat,
    _swap,
    _length,
    _digits,
)


def mutate_inside(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns an archive in which one entry is a mutant, well packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = list(entries)[rng.integers(len(entries))]
    entries[name] = mutate(entries[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry)
    return packed.getvalue()


def mutant(name: str, content: bytes, number: int, seed: int = 0) -> bytes:
    """Returns a mutant of a format's good file, always the same one."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    if content[:2] == b"PK" and number % 2:
        return mutate_inside(content, rng)
    return mutate(content, rng)


def work(name: str, start: int, end: int, folder: pathlib.Path) -> None:
    """Reads mutants; prints a line of JSON before and after each."""
    from tests.system.faults import fuzz_formats

    form = fuzz_formats.FORMATS[name]
    good = folder / "good" / form.file
    if not good.exists():
        good.parent.mkdir(parents=True, exist_ok=True)
        form.make(good)
    content = good.read_bytes()
    read = form.reader(good)
    _limit_memory()
    (folder / "bad").mkdir(exist_ok=True)
    path = folder / "bad" / form.file
    path.write_bytes(content)
    if read(path) != "equal":
        raise RuntimeError(f"The good file of {name!r} is not read.")
    for number in range(start, end):
        _say(number=number)
        path.write_bytes(mutant(name, content, number))
        before = _peak()
        outcome, detail = _outcome(read, path, form, fuzz_formats)
        _say(
            number=number,
            outcome=outcome,
            detail=detail,
            megabytes=_peak() - before,
        )


def _say(**fields):
    print(json.dumps(fields), flush=True)


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _limit_memory():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _outcome(read, path, form, fuzz_formats):
    try:
        return read(path), ""
    except form.refusals as error:
        text = str(error)
        one_line = "\n" not in text or not isinstance(error, ValueError)
        detail = f"{type(error).__name__}: {text[:300]}"
        return ("refused" if one_line else "exception"), detail
    except fuzz_formats.HalfLoadedError:
        return "half-loaded", ""
    except Exception as error:
        return "exception", f"{type(error).__name__}: {str(error)[:300]}"


@dataclasses.dataclass
class Result:
    """What became of the mutants of one format.

    Args:
      counts: of each of `OUTCOMES`.
      details: number and message of mutants that were neither refused nor
        read whole.
      megabytes: by how much one mutant raised a worker's peak, at most.
      seconds: of all, start of the workers included.
    """

    counts: collections.Counter
    details: list
    megabytes: int = 0
    seconds: float = 0.0


def run(
    name: str, mutants: int, folder: pathlib.Path, first: int = 0
) -> Result:
    """Has workers read the mutants of a format, one worker after another."""
    result = Result(collections.Counter(), [])
    begin, at = time.monotonic(), first
    while at < first + mutants:
        at = _run_worker(name, at, first + mutants, folder, result)
    result.seconds = time.monotonic() - begin
    return result


def _run_worker(name, start, end, folder, result):
    """Returns the number of the mutant after the last that was read."""
    arguments = [sys.executable, __file__, f"--work={name}"]
    arguments += [f"--range={start},{end}", f"--folder={folder}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"PYTHONPATH": str(_ROOT), "CUDA_VISIBLE_DEVICES": ""}
    folder.mkdir(parents=True, exist_ok=True)
    current, finished = start, start
    with (
        open(folder / "errors.txt", "wb") as errors,
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as worker,
    ):
        begun = False
        for line in _lines(worker):
            begun = True
            fields = json.loads(line)
            current = fields["number"]
            if "outcome" in fields:
                _count(result, **fields)
                finished = current + 1
        hangs = worker.poll() is None
        worker.kill()
    if not begun:
        said = (folder / "errors.txt").read_text().splitlines()[-1:]
        raise RuntimeError(f"The worker of {name!r} did not begin: {said}")
    if finished < end:
        outcome = "hang" if hangs else "crash"
        _count(result, current, outcome, f"status {worker.returncode}", 0)
        finished = current + 1
    return finished


def _count(result, number, outcome, detail, megabytes):
    result.counts[outcome] += 1
    result.megabytes = max(result.megabytes, megabytes)
    if outcome not in ("refused", "equal", "other") or megabytes > _MUCH:
        result.details.append((number, outcome, megabytes, detail))


def _lines(worker):
    """Yields whole lines, until the worker ends or is silent for too long."""
    rest, seconds = b"", _START_SECONDS
    while select.select([worker.stdout], [], [], seconds)[0]:
        read = os.read(worker.stdout.fileno(), 2**16)
        if not read:
            worker.wait()
            return
        *lines, rest = (rest + read).split(b"\n")
        yield from lines
        seconds = _SECONDS


def _row(name, result):
    cells = [name, str(sum(result.counts.values()))]
    cells += [str(result.counts[outcome]) for outcome in OUTCOMES]
    cells += [str(result.megabytes), f"{result.seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def main():
    """Runs the formats, or as a worker one of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="a number")
    parser.add_argument("--formats", default="", help="names, with semicolons")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--range", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        start, end = map(int, options.range.split(","))
        work(options.work, start, end, options.folder)
        return
    # Not at the top: TensorFlow is the workers', and here for the names alone.
    from tests.system.faults import fuzz_formats

    header = ("format", "mutants", *OUTCOMES, "MB", "seconds")
    print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}", flush=True)
    folder = options.folder or pathlib.Path(tempfile.mkdtemp())
    chosen = options.formats.split(";") if options.formats else None
    for number, name in enumerate(chosen or fuzz_formats.FORMATS):
        result = run(name, options.mutants, folder / str(number), options.first)
        print(_row(name, result), flush=True)
        for detail in result.details[:_SHOWN]:
            print("   ", name, *detail, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
