r"""Trains networks of a sweep here and in PyTorch, and prints models per hour.

Whole trials in turn, on the same data and number of threads: building,
compiling, augmenting, training, evaluating. Where a trial's time goes is
printed for both, and how much of it passes before the first training step.

PyTorch trains from arrays that are augmented as ours, in the order of axes in
which it trained the first network faster; with `--loader` once more as its
tutorials do, from a `Dataset`, torchvision's transforms and a `DataLoader`.

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
from keras_regnet import processor
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
_LOADER = flags.DEFINE_bool(
    "loader", False, "Whether PyTorch also trains from a DataLoader."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

_PARTS = ("build", "compile", "input", "train", "test")
_BEFORE = ("build", "compile")
# Whose time it is, as it is printed.
_NAMES = {
    "ours": "keras_regnet",
    "torch": "PyTorch, arrays",
    "torch_loader": "PyTorch, DataLoader",
}

# Eager, as PyTorch is by itself. The arrays are those of the parent.
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
from PIL import Image
from torchvision import transforms
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

def batch(images, order):
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return ((images - mean) / std).contiguous(memory_format=order)

class Images(torch.utils.data.Dataset):
    def __init__(self, job):
        shift, side = job["shift"], job["image_size"]
        chain = [transforms.RandomCrop(side, shift, fill=(124, 116, 104))]
        chain += [transforms.RandomHorizontalFlip()] * job["flip"]
        self.transform = transforms.Compose([
            *chain, transforms.ToTensor(),
            transforms.Normalize(mean.ravel() / 255, std.ravel() / 255)])
    def __len__(self):
        return len(arrays["train_labels"])
    def __getitem__(self, index):
        image = Image.fromarray(arrays["train_images"][index])
        return self.transform(image), int(arrays["train_labels"][index])

def build(job, order):
    params = regnet.BlockParams(**job["params"])
    return regnet.RegNet(
        params, num_classes=job["classes"], stem_width=job["stem_width"],
        stem_type=Stem).to(memory_format=order)

def augment(images, shift, rng):
    count, side = images.shape[:2]
    framed = np.empty((count, side + 2 * shift, side + 2 * shift, 3), np.uint8)
    framed[:] = (124, 116, 104)
    framed[:, shift:-shift, shift:-shift] = images
    windows = np.lib.stride_tricks.sliding_window_view(
        framed.reshape(count, side + 2 * shift, -1), (side, 3 * side),
        axis=(1, 2))
    tops, lefts = rng.integers(2 * shift + 1, size=(2, count))
    cut = windows[np.arange(count), tops, 3 * lefts].reshape(images.shape)
    mirrored = np.flatnonzero(rng.random(count) < 0.5)
    cut[mirrored] = cut[mirrored].take(np.arange(side)[::-1], axis=2)
    return cut

def evaluate(net, count, order):
    net.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, count, 250):
            stop = min(start + 250, count)
            truth = torch.from_numpy(arrays["test_labels"][start:stop]).long()
            images = batch(arrays["test_images"][start:stop], order)
            found = net(images).argmax(1)
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
    order = getattr(torch, job["order"])
    net = build(job, order)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=job["momentum"], nesterov=True,
        weight_decay=job["weight_decay"])
    clock("build")
    size, labels = job["batch_size"], arrays["train_labels"]
    steps = len(labels) // size
    def from_arrays():
        chosen = rng.permutation(len(labels))[:steps * size]
        images = augment(arrays["train_images"][chosen], job["shift"], rng)
        truths = torch.from_numpy(labels[chosen]).long()
        for step in range(steps):
            part = slice(step * size, (step + 1) * size)
            yield batch(images[part], order), truths[part]
    loader = torch.utils.data.DataLoader(
        Images(job), size, shuffle=True, drop_last=True)
    for epoch in range(job["epochs"]):
        net.train()
        source = loader if job["loader"] else from_arrays()
        for step, (images, truths) in enumerate(source):
            images = images.contiguous(memory_format=order)
            clock("input")
            done = (epoch * steps + step) / (job["epochs"] * steps)
            rate = job["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.param_groups[0]["lr"] = rate
            loss = torch.nn.functional.cross_entropy(net(images), truths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            clock("train")
        last = epoch == job["epochs"] - 1
        count = len(arrays["test_labels"])
        if not last:
            count = min(count, job["interim_test_images"] or count)
        error = evaluate(net, count, order)
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
    order = _fastest_order(trials[0], regime, child)
    rows = []
    for trial in trials:
        record = trial_lib.run(trial, regime, arrays)
        if not record.done:
            raise ValueError(f"{trial.space} #{trial.index}: {record.reason}")
        parts = {p: getattr(record, f"seconds_{p}") for p in _PARTS}
        results = {"ours": {"parts": parts, "error": record.error}}
        results["torch"] = _train_in_torch(trial, regime, child, order)
        if _LOADER.value:
            results["torch_loader"] = _train_in_torch(
                trial, regime, child, order, loader=True
            )
        rows.append(
            {
                "space": trial.space,
                "index": trial.index,
                "torch_order": order,
                **{name: r["parts"] for name, r in results.items()},
                "errors": {name: r["error"] for name, r in results.items()},
            }
        )
        print(
            f"{trial.space} #{trial.index}: "
            + ", ".join(
                f"{_NAMES[name]} {_seconds(r['parts']):.1f} s, error "
                f"{r['error']:.1f} %"
                for name, r in results.items()
            ),
            flush=True,
        )
    return rows


def _fastest_order(trial, regime, child):
    """Returns the order of axes in which PyTorch trains a network faster."""
    orders = "channels_last", "contiguous_format"
    seconds = {
        order: _seconds(_train_in_torch(trial, regime, child, order)["parts"])
        for order in orders
    }
    print(
        ", ".join(f"PyTorch, {o}: {s:.1f} s" for o, s in seconds.items()),
        flush=True,
    )
    return min(orders, key=seconds.get)


def _train_in_torch(trial, regime, child, order, *, loader=False):
    job = {**torch_job(trial, regime), "order": order, "loader": loader}
    reply = child.call(job)
    if reply["params"] != trial.params:
        raise ValueError(
            f"{trial.space} #{trial.index} is not the same network in "
            f"PyTorch: {trial.params} and {reply['params']} parameters"
        )
    return reply


def _seconds(parts):
    return sum(parts.values())


def summary(rows: list[dict]) -> list[str]:
    """Returns models per hour and the time of each part, as lines."""
    lines = []
    names = [name for name in _NAMES if name in rows[0]]
    for name in names:
        means = {p: np.mean([row[name][p] for row in rows]) for p in _PARTS}
        total = _seconds(means)
        before = sum(means[part] for part in _BEFORE)
        parts = ", ".join(f"{part} {means[part]:.2f}" for part in _PARTS)
        lines.append(
            f"{_NAMES[name]}: {3600 / total:.0f} models/h a process, "
            f"{total:.2f} s a model ({parts}); {before / total:.1%} before the "
            "first step"
        )
    for name in names[1:]:
        ratios = [_seconds(row[name]) / _seconds(row["ours"]) for row in rows]
        lines.append(
            f"{np.median(ratios):.2f} times as many models as {_NAMES[name]} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
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
                "setting": str(processor.setting()),
                "threads": _THREADS.value,
                "regime": regime.name,
                "versions": {**trial_lib.environment(), **versions},
                "rows": rows,
            },
        )


if __name__ == "__main__":
    flags.mark_flags_as_required(["sweep", "torch_python"])
    app.run(_main)
