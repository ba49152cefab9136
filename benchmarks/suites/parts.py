"""Suites of parts: layers, input, samples of design spaces, trials."""

from benchmarks.harness import spec
from benchmarks.suites import common

_PARTS = ("build", "compile", "input", "train", "test")
_FLOPS = (360e6, 400e6)
_SPACES = ("AnyNetX_A", "RegNetX")
_NO_PYCLS = "--pycls names no checkout of pycls"

# Network, image size, channels, group width, stride: the second block of each
# stage at 224 px, and one first block.
_LAYERS = (
    ("RegNetX-400MF", 56, 32, 16, 1),
    ("RegNetX-400MF", 28, 64, 16, 1),
    ("RegNetX-400MF", 14, 160, 16, 1),
    ("RegNetX-400MF", 7, 400, 16, 1),
    ("RegNetX-400MF", 28, 160, 16, 2),
    ("RegNetY-800MF", 56, 64, 16, 1),
    ("RegNetY-800MF", 28, 144, 16, 1),
    ("RegNetY-800MF", 14, 320, 16, 1),
    ("RegNetY-800MF", 7, 784, 16, 1),
    ("RegNetY-800MF", 28, 320, 16, 2),
)


def _layers(options):
    rows = _LAYERS[3:4] if options.quick else _LAYERS
    return [
        _layer_setting(options, row, which, threads)
        for row in rows
        if not options.networks or row[0] in options.networks
        for which in ("forward", "both")
        for threads in common.threads(options)
    ]


def _layer_setting(options, row, which, threads):
    network, size, channels, group_width, stride = row
    job = {
        "batch": 2 if options.quick else 8,
        "size": size,
        "channels": channels,
        "group_width": group_width,
        "stride": stride,
        "pass": which,
        "turn_seconds": min(0.5, options.turn_seconds),
    }
    cases = [
        spec.Case(name, "grouped_conv", {**job, "form": form, "xla": xla})
        for name, form, xla in (
            (common.OURS, "ours", False),
            ("keras_regnet, portable", "portable", False),
            ("keras_regnet, XLA", "ours", True),
            ("Keras's own layer", "stock", False),
        )
    ]
    torch = spec.Case("PyTorch", "torch_grouped_conv", job, "torch")
    labels = {
        "network": network,
        "px": size,
        "channels": channels,
        "stride": stride,
        "pass": which,
        "threads": threads,
    }
    return spec.Setting(labels, (*cases, torch), common.OURS, threads)


def _input(options):
    return [_input_setting(options, n) for n in common.threads(options)]


def _input_setting(options, threads):
    job = {
        "size": common.size(options),
        "batch": 8 if options.quick else 64,
        "batches": 2 if options.quick else 16,
        "untimed": 1 if options.quick else 4,
        "photos": options.photos,
    }
    count = 4 if options.quick else 128
    files = {"photos": {"program": "photo_files", "count": count}}
    if options.photos:
        files = {}

    def case(name, program, environment=spec.HERE, **more):
        return spec.Case(name, program, {**job, **more}, environment, files)

    cases = (
        case(common.OURS, "input_pipeline", form="ours"),
        case("tensorflow-datasets", "input_pipeline", form="tfds"),
        case("torchvision", "torch_input_pipeline", "torch"),
        case("recipe paper", "input_pipeline", form="paper"),
        case("recipe modern", "input_pipeline", form="modern"),
    )
    labels = {
        "images": "photos" if options.photos else "generated",
        "image size": job["size"],
        "threads": threads,
    }
    return spec.Setting(labels, cases, common.OURS, threads)


def _sampler(options):
    settings = []
    for space in _SPACES:
        job = {"space": space, "flops": _FLOPS}
        ours = {**job, "candidates": 1000 if options.quick else 400_000}
        theirs = {**job, "candidates": 40, "pycls": options.pycls}
        cases = (
            spec.Case(common.OURS, "sampler", ours),
            spec.Case(
                "pycls",
                "pycls_sampler",
                theirs,
                "pycls",
                absent="" if options.pycls else _NO_PYCLS,
            ),
        )
        labels = {"space": space, "threads": 1}
        settings.append(spec.Setting(labels, cases, common.OURS, 1))
    return settings


def _sweep(options):
    regime = "synthetic" if options.quick else "digits"
    sweep = {"program": "sweep_files", "sweep": options.sweep, "regime": regime}
    return [
        _trial_setting(sweep, number, threads)
        for number in range(1 if options.quick else 2)
        for threads in common.threads(options, 1)
    ]


def _trial_setting(sweep, number, threads):
    job = {"trial": number}
    theirs = {"path": {**sweep, "trial": number}}

    def torch_case(name, layout, loader):
        how = {"layout": layout, "loader": loader}
        return spec.Case(name, "torch_trials", {**job, **how}, "torch", theirs)

    cases = (
        spec.Case(
            common.OURS,
            "trials",
            job,
            files={"sweep": {**sweep, "trial": None}},
        ),
        torch_case("PyTorch, channels_last", "channels_last", False),
        torch_case("PyTorch, contiguous", "contiguous_format", False),
        torch_case("PyTorch, DataLoader", "channels_last", True),
    )
    labels = {
        "regime": (sweep["sweep"] and "of --sweep") or sweep["regime"],
        "trial": number,
        "threads": threads,
    }
    return spec.Setting(labels, cases, common.OURS, threads)


SUITES = (
    spec.Suite(
        "layers",
        "grouped convolutions alone, forward and backward",
        _layers,
        (spec.Column("seconds", "ms", "ms"),),
    ),
    spec.Suite(
        "input",
        "the trainer's input pipeline, beside others",
        _input,
        (spec.Column("seconds", "images/s", "rate"),),
    ),
    spec.Suite(
        "sampler",
        "sampling of design spaces within a budget, beside pycls",
        _sampler,
        (
            spec.Column("seconds", "candidates/s", "rate"),
            spec.Column("kept", "kept, %", "%"),
        ),
    ),
    spec.Suite(
        "sweep",
        "whole trials of a sweep, beside PyTorch",
        _sweep,
        (
            spec.Column("seconds", "s", "s"),
            *(spec.Column(part, f"{part}, s", "s") for part in _PARTS),
        ),
    ),
)
