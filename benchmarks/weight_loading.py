r"""Measures loading a large checkpoint: seconds and memory.

A network with random weights is exported as `.safetensors`. Processes of
their own then read the file, build the network, and build and load it.

    python benchmarks/weight_loading.py --variant=RegNetY-32GF
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import keras_regnet

_VARIANT = flags.DEFINE_string("variant", "RegNetY-32GF", "The network.")
_STEP = flags.DEFINE_enum(
    "step",
    None,
    ["write", "read", "build", "load"],
    "What a process of its own does.",
)
_FILE = flags.DEFINE_string("file", None, "The checkpoint, within a step.")


def _run(step, file):
    """Returns the seconds and the most memory that a step takes."""
    start = time.perf_counter()
    if step == "write":
        model = keras_regnet.build(_VARIANT.value)
        keras_regnet.weights.export(model, file)
    elif step == "read":
        with open(file, "rb") as opened:
            opened.read()
    else:
        weights = file if step == "load" else None
        keras_regnet.build(_VARIANT.value, weights=weights)
    seconds = time.perf_counter() - start
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "megabytes": kilobytes / 1000}


def _measure(step, file):
    command = [sys.executable, __file__, f"--variant={_VARIANT.value}"]
    command += [f"--step={step}", f"--file={file}"]
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def main(argv):
    """Prints what each step takes, and what loading adds to building."""
    del argv
    if _STEP.value:
        print(json.dumps(_run(_STEP.value, _FILE.value)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.safetensors")
        # Not here: a process counts the peak of the one that started it.
        _measure("write", file)
        size = os.path.getsize(file) / 1e6
        steps = {
            step: _measure(step, file) for step in ("read", "build", "load")
        }
    for step, result in steps.items():
        print(
            f"{step:6} {result['seconds']:6.2f} s {result['megabytes']:7.0f} MB"
        )
    apart = steps["read"]["seconds"] + steps["build"]["seconds"]
    added = steps["load"]["megabytes"] - steps["build"]["megabytes"]
    print(
        f"load / (read + build) = {steps['load']['seconds'] / apart:.2f}; "
        f"memory above the model / file = {added / size:.2f}"
    )


if __name__ == "__main__":
    app.run(main)
