r"""Trains networks of a sweep here and in PyTorch, and prints models per hour.

Whole trials in turn, on the same data and number of threads: building,
compiling, augmenting, training, evaluating. Where a trial's time goes is
printed for both.

    python benchmarks/trials.py --sweep=DIR --torch_python=/path/to/python

The sweep was sampled and its data converted (`training/sweep.py`); the
interpreter needs torch and torchvision.
"""

import pathlib
import sys

import numpy as np
from absl import app
from absl import flags

# Run by path, Python looks for modules in this folder first.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import timing
from keras_regnet import config as config_lib
from keras_regnet import plan
from keras_regnet.design_space.records import Trial
from training.sweeps import arrays as arrays_lib
from training.sweeps import spec as spec_lib
from training.sweeps import trial as trial_lib
from training.sweeps.regimes import Regime

_SWEEP = flags.DEFINE_string("sweep", None, "Folder of a sampled sweep.")
_COUNT = flags.DEFINE_integer(
    "count", 8, "Number of its first networks.", lower_bound=1
)
_THREADS = flags.DEFINE_integer(
    "threads", 1, "Threads of either.", lower_bound=1
)
_TORCH_PYTHON = flags.DEFINE_string(
    "torch_python", None, "Interpreter with torch and torchvision."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

_PARTS = ("build", "compile", "input", "train", "test")

# Eager, channels last, as PyTorch is fastest on a CPU. Augmentation is the
# same as ours, from NumPy arrays that the parent has written.
_TORCH_PROGRAM = """
import math, time
import numpy as np, torch
threads, path = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(threads)
try:
    import torchvision
except RuntimeError:
    # Its compiled operators may be missing; no RegNet needs them.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(
            name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    import torchvision
from torchvision.models import regnet
from torchvision.ops.misc import Conv2dNormActivation

class Stem(Conv2dNormActivation):
    def __init__(self, inputs, width, norm_layer, activation_layer):
        super().__init__(inputs, width, kernel_size=3, stride=1,
                         norm_layer=norm_layer,
                         activation_layer=activation_layer)

arrays = dict(np.load(path))
mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)

def batch(images):
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return ((images - mean) / std).contiguous(
        memory_format=torch.channels_last)

def build(job):
    params = regnet.BlockParams(**job["params"])
    return regnet.RegNet(
        params, num_classes=job["classes"], stem_width=job["stem_width"],
        stem_type=Stem).to(memory_format=torch.channels_last)

def augment(images, shift, rng):
    count, side = images.shape[:2]
    framed = np.empty((count, side + 2 * shift, side + 2 * shift, 3), np.uint8)
    framed[:] = (124, 116, 104)
    framed[:, shift:-shift, shift:-shift] = images
    windows = np.lib.stride_tricks.sliding_window_view(
        framed, (side, side), axis=(1, 2))
    tops, lefts = rng.integers(2 * shift + 1, size=(2, count))
    cut = windows[np.arange(count), tops, lefts].transpose(0, 2, 3, 1)
    mirrored = rng.random(count) < 0.5
    return np.where(mirrored[:, None, None, None], cut[:, :, ::-1], cut)

def evaluate(net, count):
    net.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, count, 250):
            stop = min(start + 250, count)
            truth = torch.from_numpy(arrays["test_labels"][start:stop]).long()
            found = net(batch(arrays["test_images"][start:stop])).argmax(1)
            hits += int((found == truth).sum())
    return 100 * (1 - hits / count)

def train(job):
    parts = dict.fromkeys(("build", "compile", "input", "train", "test"), 0.0)
    moment = time.perf_counter()
    def clock(part):
        nonlocal moment
        now = time.perf_counter()
        parts[part] += now - moment
        moment = now
    torch.manual_seed(job["seed"])
    rng = np.random.default_rng(job["seed"])
    net = build(job)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=job["momentum"], nesterov=True,
        weight_decay=job["weight_decay"])
    clock("build")
    size, labels = job["batch_size"], arrays["train_labels"]
    steps = len(labels) // size
    for epoch in range(job["epochs"]):
        order = rng.permutation(len(labels))[:steps * size]
        images = augment(arrays["train_images"][order], job["shift"], rng)
        truths = torch.from_numpy(labels[order]).long()
        clock("input")
        net.train()
        for step in range(steps):
            done = (epoch * steps + step) / (job["epochs"] * steps)
            rate = job["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.param_groups[0]["lr"] = rate
            part = slice(step * size, (step + 1) * size)
            loss = torch.nn.functional.cross_entropy(
                net(batch(images[part])), truths[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clock("train")
        last = epoch == job["epochs"] - 1
        count = len(arrays["test_labels"])
        if not last:
            count = min(count, job["interim_test_images"] or count)
        error = evaluate(net, count)
        clock("test")
    params = sum(p.numel() for p in net.parameters())
    return {"parts": parts, "error": error, "params": params}

versions = {m.__name__: m.__version__ for m in (torch, torchvision)}
reply(versions)
for job in jobs():
    reply(train(job))
"""


def torch_job(trial: Trial, regime: Regime) -> dict:
    """Returns the job with which PyTorch trains the same network."""
    network = config_lib.from_json(trial.config)
    stages = plan.stages(network)
    params = {
        "depths": [stage.depth for stage in stages],
        "widths": [stage.width for stage in stages],
        "group_widths": [stage.group_width for stage in stages],
        "bottleneck_multipliers": [s.inner_width / s.width for s in stages],
        "strides": [stage.stride for stage in stages],
        "se_ratio": network.se_ratio or None,
    }
    return {
        **regime.to_dict(),
        "params": params,
        "seed": trial.seed,
    }


def compare(
    trials: list, regime: Regime, arrays, child: timing.Child
) -> list[dict]:
    """Trains each network here and in PyTorch; returns times and errors."""
    rows = []
    for trial in trials:
        record = trial_lib.run(trial, regime, arrays)
        if not record.done:
            raise ValueError(f"{trial.space} #{trial.index}: {record.reason}")
        theirs = child.call(torch_job(trial, regime))
        if theirs["params"] != trial.params:
            raise ValueError(
                f"{trial.space} #{trial.index} is not the same network in "
                f"PyTorch: {trial.params} and {theirs['params']} parameters"
            )
        rows.append(
            {
                "space": trial.space,
                "index": trial.index,
                "ours": {p: getattr(record, f"seconds_{p}") for p in _PARTS},
                "torch": theirs["parts"],
                "errors": [record.error, theirs["error"]],
            }
        )
        ours = sum(rows[-1]["ours"].values())
        print(
            f"{trial.space} #{trial.index}: {ours:.1f} s here, "
            f"{sum(theirs['parts'].values()):.1f} s in PyTorch, errors "
            f"{record.error:.1f} and {theirs['error']:.1f} %",
            flush=True,
        )
    return rows


def summary(rows: list[dict]) -> list[str]:
    """Returns models per hour and the time of each part, as lines."""
    lines = []
    for name in ("ours", "torch"):
        means = {p: np.mean([row[name][p] for row in rows]) for p in _PARTS}
        total = sum(means.values())
        parts = ", ".join(f"{part} {means[part]:.2f}" for part in _PARTS)
        lines.append(
            f"{name}: {3600 / total:.0f} models/h a process, {total:.2f} s a "
            f"model ({parts})"
        )
    return lines


def _main(arguments: list[str]) -> None:
    del arguments
    spec, trials = spec_lib.load(_SWEEP.value)
    regime = spec.regime
    trial_lib.steps_module().limit_threads(_THREADS.value)
    arrays = arrays_lib.load(regime, _SWEEP.value)
    path = pathlib.Path(arrays_lib.path(regime, _SWEEP.value))
    with timing.Child(
        "torch", _TORCH_PYTHON.value, _TORCH_PROGRAM, _THREADS.value, path
    ) as child:
        rows = compare(trials[: _COUNT.value], regime, arrays, child)
        versions = child.greeting
    for line in summary(rows):
        print(line)
    if _OUTPUT.value:
        timing.write_json(
            _OUTPUT.value,
            {
                "cpu": timing.cpu_model(),
                "threads": _THREADS.value,
                "regime": regime.name,
                "versions": {**trial_lib.environment(), **versions},
                "rows": rows,
            },
        )


if __name__ == "__main__":
    flags.mark_flags_as_required(["sweep", "torch_python"])
    app.run(_main)
