"""Latency of the mobile-regime networks as LiteRT files, on XNNPACK.

    python benchmarks/mobile.py --files=FOLDER --convert
    python benchmarks/mobile.py --files=FOLDER --output=mobile.json \
        --plot=mobile.png

The first command converts RegNetX and RegNetY of 200 to 800 MF, MobileNetV2,
MobileNetV3 and EfficientNet-B0 (keras.applications), float and int8, with
random weights; files that are there already stay. The int8 ones are there again
as `--target=x86` makes them, those with grouped convolutions also with groups
merged up to 64 channels. The second command times them in alternating rounds,
one image at a time, with 1 thread and then with 2.
"""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from absl import app
from absl import flags

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import timing
from keras_regnet import instruction_sets
from keras_regnet.export import runners
from keras_regnet.export import spec
from keras_regnet.export import targets

_FILES = flags.DEFINE_string("files", None, "Folder of the files.")
_CONVERT = flags.DEFINE_bool("convert", False, "Convert, and time nothing.")
_MODELS = flags.DEFINE_list("models", [], "Only these networks.")
_ROUNDS = flags.DEFINE_integer("rounds", 31, "Rounds of timing.", 1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.")
_PLOT = flags.DEFINE_string("plot", None, "Image for latency against top-1.")

# How a network is converted, by what its file is called.
_INT8 = {"quantize": "int8", "representative": "random", "keep_float": ()}
FORMS = {
    "float32": {"quantize": "none"},
    "int8": _INT8,
    "int8-merged": {**_INT8, "group_width": 64},
    # Without what its errors would keep in float32 besides.
    "int8-x86": {
        **_INT8,
        "target": targets.rule(
            "x86", spec.ExportSpec(quantize="int8", representative="random")
        ),
    },
}
THREADS = (1, 2)
SIZE = 224

# Top-1 on ImageNet as published, at 224 px. RegNets: "Designing Network Design
# Spaces", 100 epochs, no enhancements. The others: of the weights that Keras
# offers, with their authors' own training, by https://keras.io/api/applications
# and, for MobileNetV3, by the table in keras/src/applications/mobilenet_v3.py.
TOP1 = {
    "RegNetX-200MF": 68.9,
    "RegNetX-400MF": 72.6,
    "RegNetX-600MF": 74.1,
    "RegNetX-800MF": 75.2,
    "RegNetY-200MF": 70.3,
    "RegNetY-400MF": 74.1,
    "RegNetY-600MF": 75.5,
    "RegNetY-800MF": 76.3,
    "MobileNetV2": 71.3,
    "MobileNetV3Small": 68.1,
    "MobileNetV3Large": 75.6,
    "EfficientNetB0": 77.1,
}

# Prints the rate in a process of its own, which is told its threads in time.
_PRODUCT_RATE = """
import numpy
from benchmarks import timing
print(timing.product_rate(numpy.matmul))
"""


def build(name: str):
    """Returns a network with random weights, from RGB in 0..255."""
    import keras

    import keras_regnet

    shape = (SIZE, SIZE, 3)
    if name.startswith("RegNet"):
        return keras_regnet.build(name, input_shape=shape)
    make = getattr(keras.applications, name)
    if name != "MobileNetV2":
        return make(input_shape=shape, weights=None)
    images = keras.Input(shape, name="images")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    return make(input_tensor=scaled, weights=None)


def convert(name: str, folder: pathlib.Path) -> None:
    """Writes the files of a network and what it costs, if not there yet."""
    record = folder / f"{name}.json"
    if record.is_file():
        return
    import keras_regnet
    from keras_regnet.export import litert

    model = build(name)
    counted = keras_regnet.complexity(model, (SIZE, SIZE, 3))
    for form in forms(name):
        contents = litert.convert(model, **FORMS[form])
        _file(folder, name, form).write_bytes(contents)
    timing.write_json(str(record), dataclasses.asdict(counted))
    print(f"converted {name}", flush=True)


def forms(name: str) -> list[str]:
    """Returns the forms of a network; the others have no groups to merge."""
    grouped = name.startswith("RegNet")
    return [form for form in FORMS if grouped or form != "int8-merged"]


def _file(folder, name, form):
    return folder / f"{name}.{form}.tflite"


def cases(
    names: list[str], folder: pathlib.Path, threads: int
) -> dict[tuple[str, str, int], tuple[runners.Runner, Callable]]:
    """Returns (network, form, threads) -> its runner and its call."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    calls = {}
    for name in names:
        for form in forms(name):
            runner = runners.open_file(_file(folder, name, form), threads)
            calls[name, form, threads] = runner, runner.prepare(images)
    return calls


def product_rates() -> dict[int, float]:
    """Returns threads -> GMAC/s of NumPy's fp32 matrix product."""
    root = str(pathlib.Path(__file__).resolve().parents[1])
    rates = {}
    for threads in THREADS:
        limits = {
            f"{library}_NUM_THREADS": str(threads)
            for library in ("OPENBLAS", "OMP", "MKL")
        }
        done = subprocess.run(
            [sys.executable, "-c", _PRODUCT_RATE],
            env={**os.environ, "PYTHONPATH": root, **limits},
            capture_output=True,
            text=True,
            check=True,
        )
        rates[threads] = float(done.stdout)
    return rates


def measure(names: list[str], folder: pathlib.Path, rounds: int) -> dict:
    """Returns the record of all networks.

    Args:
      names: of the networks.
      folder: where their files are.
      rounds: how often each is timed.
    """
    calls, seconds = {}, {}
    for threads in THREADS:
        # Apart: the second thread of one spins while the next one is timed.
        opened = cases(names, folder, threads)
        seconds |= timing.alternate(
            {key: call for key, (_, call) in opened.items()}, rounds
        )
        calls |= opened
    rates = product_rates()
    networks = {}
    for name in names:
        cost = json.loads((folder / f"{name}.json").read_text())
        networks[name] = {**cost, "top1": TOP1[name], "files": []}
    for (name, form, threads), (runner, _) in calls.items():
        taken = seconds[name, form, threads]
        rate = networks[name]["flops"] / taken / 1e9
        networks[name]["files"].append(
            {
                "form": form,
                "threads": threads,
                "delegate": runner.delegate,
                "bytes": _file(folder, name, form).stat().st_size,
                "milliseconds": 1e3 * taken,
                "share_of_product_rate": rate / rates[threads],
            }
        )
    return {
        "cpu": timing.cpu_model(),
        "instructions": instruction_sets.of_machine(),
        "python": platform.python_version(),
        "versions": {
            package: importlib.metadata.version(package)
            for package in ("ai-edge-litert", "tensorflow", "keras", "numpy")
        },
        "rounds": rounds,
        "product_gmac_per_s": rates,
        "networks": networks,
    }


def table(record: dict) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [
        "| network | flops, M | acts, M | top-1 | form | MB "
        "| ms, 1 thread | of the product | ms, 2 threads | of the product |",
        "|---|--:|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    for name, network in record["networks"].items():
        for form in forms(name):
            files = [f for f in network["files"] if f["form"] == form]
            times = [
                cell
                for file in files
                for cell in (
                    f"{file['milliseconds']:.2f}",
                    f"{file['share_of_product_rate']:.0%}",
                )
            ]
            cells = [
                name,
                f"{network['flops'] / 1e6:.0f}",
                f"{network['activations'] / 1e6:.1f}",
                f"{network['top1']:.1f}",
                form,
                f"{files[0]['bytes'] / 1e6:.1f}",
                *times,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def plot(record: dict, path: str) -> None:
    """Draws latency against published top-1, one thread.

    Args:
      record: what `measure` returned.
      path: the image.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5))
    families = {"RegNetX": "o-", "RegNetY": "s-", "": "^"}
    for color, form in enumerate(FORMS):
        for family, style in families.items():
            points = [
                (file["milliseconds"], network["top1"], name)
                for name, network in record["networks"].items()
                for file in network["files"]
                if (file["form"], file["threads"]) == (form, 1)
                and (name.split("-")[0] if "-" in name else "") == family
            ]
            if not points:
                continue
            axes.plot(
                [x for x, _, _ in points],
                [y for _, y, _ in points],
                style,
                color=f"C{color}",
                label=f"{family or 'others'}, {form}",
            )
            for x, y, name in points:
                label = name.removeprefix(f"{family}-")
                axes.annotate(label, (x, y), fontsize=6, xytext=(3, -7),
                              textcoords="offset points")  # fmt: skip
    axes.set(
        xscale="log", xlabel="ms an image, 1 thread, XNNPACK",
        ylabel="published top-1, %",
    )  # fmt: skip
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    pyplot.close(figure)


def main(argv: list[str]) -> None:
    """Converts, or times and prints the table."""
    del argv
    folder = pathlib.Path(_FILES.value)
    folder.mkdir(parents=True, exist_ok=True)
    names = _MODELS.value or list(TOP1)
    if _CONVERT.value:
        for name in names:
            convert(name, folder)
        return
    record = measure(names, folder, _ROUNDS.value)
    print("\n".join(table(record)))
    if _OUTPUT.value:
        timing.write_json(_OUTPUT.value, record)
    if _PLOT.value:
        plot(record, _PLOT.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("files")
    app.run(main)
