"""Memory and time of many conversions in a row, in a process of their own.

    python benchmarks/conversions.py --count=200 --output=conversions.json
    python benchmarks/conversions.py --count=60 --here

converts and times one small network after the other as an int8 LiteRT file, as
`design_space.propose(latency=...)` does, by `export.LatencyMeter`; with
`--here` by `export.latency` in this process, whose memory grows.
"""

import os
import pathlib
import sys
import time

import numpy as np
from absl import app
from absl import flags

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_regnet
from benchmarks import timing
from keras_regnet import export

_COUNT = flags.DEFINE_integer("count", 200, "How many networks.", 1)
_HERE = flags.DEFINE_bool("here", False, "Convert in this process.")
_SIDE = flags.DEFINE_integer("image_size", 32, "Side of the images.", 1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.")

_CLASSES = 10
_EVERY = 20


def networks(count: int):
    """Yields small networks of differing depth and width."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        depth, width = int(rng.integers(2, 5)), 8 * int(rng.integers(1, 4))
        yield keras_regnet.RegNetConfig(
            depth, width, 8, 2.0, group_width=8, stem_width=8
        )


def resident_bytes(pid: int | str = "self") -> int:
    """Returns the memory that a process has at the moment (Linux)."""
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def here(config) -> float:
    """Returns the milliseconds of a network, timed in this process."""
    keras.backend.clear_session(free_memory=False)
    shape = (_SIDE.value, _SIDE.value, 3)
    model = keras_regnet.build(config, input_shape=shape, classes=_CLASSES)
    return export.latency(model, calls=3).milliseconds


def measure(milliseconds, count: int) -> list[dict]:
    """Returns memory and time after each network."""
    rows = []
    for number, config in enumerate(networks(count), start=1):
        start = time.perf_counter()
        milliseconds(config)
        process = getattr(milliseconds, "process", None)
        rows.append(
            {
                "seconds": time.perf_counter() - start,
                "bytes": resident_bytes(),
                "process": None if process is None else process.pid,
                "process_bytes": None
                if process is None
                else resident_bytes(process.pid),
            }
        )
        if number % _EVERY == 0 or number == 1:
            print(number, row_text(rows[-1]), flush=True)
    return rows


def row_text(row: dict) -> str:
    """Returns a row for the terminal."""
    text = f"{row['bytes'] / 1e6:.0f} MB, {row['seconds']:.2f} s"
    if row["process"] is not None:
        text += f"; its process {row['process_bytes'] / 1e6:.0f} MB"
    return text


def main(argv: list[str]) -> None:
    """Converts, and prints memory and time."""
    del argv
    if _HERE.value:
        rows = measure(here, _COUNT.value)
    else:
        shape = (_SIDE.value, _SIDE.value, 3)
        with export.LatencyMeter(shape, _CLASSES, calls=3) as meter:
            rows = measure(meter, _COUNT.value)
    record = {
        "cpu": timing.cpu_model(),
        "here": _HERE.value,
        "image_size": _SIDE.value,
        "rows": rows,
    }
    if _OUTPUT.value:
        timing.write_json(_OUTPUT.value, record)


if __name__ == "__main__":
    app.run(main)
