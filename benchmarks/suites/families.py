"""Suites of other families: each beside the RegNets of its budget.

MobileNet, EfficientNet, ResNet and ResNeXt as their libraries have them, at the
image size of each, so that a rate is that of the error which was published.
"""

import pathlib
from typing import Any
from typing import NamedTuple

from benchmarks.harness import spec
from benchmarks.suites import common
from benchmarks.suites import networks

KERAS = "keras.applications"
TORCHVISION = "torchvision"
TIMM = "timm"


class _Other(NamedTuple):
    """A network of another family.

    Args:
      network: its name in `published/errors.csv`.
      size: of its images in pixels.
      nets: its name in each library that has it.
    """

    network: str
    size: int
    nets: dict[str, str]


# By the budget of multiply-adds: RegNets, and others.
_BUDGETS: dict[str, tuple[tuple[str, ...], tuple[_Other, ...]]] = {
    "400MF": (
        ("RegNetX-400MF", "RegNetY-400MF"),
        (
            _Other(
                "MobileNetV2",
                224,
                {KERAS: "MobileNetV2", TORCHVISION: "mobilenet_v2"},
            ),
            _Other(
                "EfficientNet-B0",
                224,
                {KERAS: "EfficientNetB0", TORCHVISION: "efficientnet_b0"},
            ),
        ),
    ),
    "1.6GF": (
        ("RegNetX-1.6GF", "RegNetY-1.6GF"),
        (
            _Other(
                "EfficientNet-B3",
                300,
                {KERAS: "EfficientNetB3", TORCHVISION: "efficientnet_b3"},
            ),
        ),
    ),
    "4.0GF": (
        ("RegNetX-4.0GF", "RegNetY-4.0GF", "ResNet-50", "ResNeXt-50"),
        (
            _Other(
                "ResNet-50", 224, {KERAS: "ResNet50", TORCHVISION: "resnet50"}
            ),
            _Other("ResNeXt-50", 224, {TORCHVISION: "resnext50_32x4d"}),
            _Other(
                "EfficientNet-B4",
                380,
                {KERAS: "EfficientNetB4", TORCHVISION: "efficientnet_b4"},
            ),
        ),
    ),
}
_QUICK_BUDGET = "400MF"
_TRAINED = pathlib.Path(__file__).resolve().parents[2] / "experiments/families"
# As there.
_TRAINED_BATCH, _TRAINED_SIZE, _TRAINED_CLASSES = 64, 32, 10


def name(network: str, library: str) -> str:
    """Returns the name of a network's case."""
    return f"{network}, {library}"


def _settings(options):
    budgets = (_QUICK_BUDGET,) if options.quick else _BUDGETS
    return [
        _setting(options, budget, which, threads)
        for which in ("inference", "training")
        for budget in budgets
        for threads in common.threads(options)
    ]


def _setting(options, budget, which, threads):
    ours, others = _BUDGETS[budget]
    cases = []
    for network in ours:
        job = networks.step_job(options, network, which, threads)
        cases += _of_ours(job)
    for other in others:
        job = networks.step_job(options, other.network, which, threads)
        if not options.quick:
            job["size"] = other.size
        cases += [
            _other(job, library, net) for library, net in other.nets.items()
        ]
    return spec.Setting(
        {
            "budget": budget,
            "pass": which,
            "batch": job["batch"],
            "threads": threads,
        },
        (*cases, common.machine(options)),
        cases[0].name,
        threads,
    )


def _of_ours(job: dict[str, Any]) -> list[spec.Case]:
    """Returns our network, and for a RegNet timm's beside it."""
    network = job["network"]
    ours = {**job, "module": "keras_networks", "form": "ours"}
    cases = [spec.Case(name(network, common.OURS), "steps", ours)]
    if network.startswith("RegNet"):
        net = common.library_names(network)[TIMM]
        cases.append(_other(job, TIMM, net))
    return cases


def _other(job, library, net):
    title = name(job["network"], library)
    if library == KERAS:
        theirs = {"module": "keras_applications", "net": net, "form": "stock"}
        return spec.Case(title, "steps", {**job, **theirs})
    theirs = {
        "module": "torch_networks",
        "library": library,
        "net": net,
        "layout": "channels_last",
        "compiled": False,
    }
    return spec.Case(title, "steps", {**job, **theirs}, "torch")


def _trained(options):
    """Returns settings of the networks of experiments/families."""
    return [
        _trained_setting(options, path, which, threads)
        for which in ("inference", "training")
        for path in sorted(_TRAINED.glob("networks_*.jsonl"))
        for threads in common.threads(options, 1)
    ]


def _trained_setting(options, path, which, threads):
    batch = None if options.quick else _TRAINED_BATCH
    job = {
        **networks.step_job(options, path.stem, which, threads, batch),
        "file": str(path),
        "size": _TRAINED_SIZE,
        "classes": _TRAINED_CLASSES,
    }
    return networks.population_setting(options, job, "network")


SUITES = (
    spec.Suite(
        "families",
        "other families, each beside the RegNets of its multiply-adds",
        _settings,
        (networks.RATE,),
    ),
    spec.Suite(
        "trained",
        "the networks of experiments/families, at 32 px",
        _trained,
        (spec.Column("seconds", "s, all networks", "s"),),
    ),
)
