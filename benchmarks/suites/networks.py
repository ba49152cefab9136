"""Suites of whole networks: steps, what comes before them, and memory."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks.harness import host
from benchmarks.harness import spec
from benchmarks.suites import common

FOLDED = "keras_regnet, batch norm folded"
PORTABLE = "keras_regnet, portable"
TRAINER = "keras_regnet, trainer"
STOCK = "Keras's own layers"
_FORMS = {
    common.OURS: "ours",
    FOLDED: "folded",
    PORTABLE: "portable",
    STOCK: "stock",
}
_BATCHES = {"training": 16, "inference": 8}
_QUICK_BATCH = 2
RATE = spec.Column("seconds", "images/s", "rate")
_NOT_IN_TORCHVISION = ("200MF", "600MF", "4.0GF", "6.4GF", "12GF")
_LOADED = "RegNetY-32GF"
_POPULATION = {"space": "AnyNetX_A", "flops": (1e8, 1.6e9)}
_GPU_BATCH = 128


def step_job(
    options: spec.Options,
    network: str,
    which: str,
    threads: int,
    batch: int | None = None,
) -> dict[str, Any]:
    """Returns what a step of a network takes.

    Args:
      options: of the run.
      network: its name.
      which: "training" or "inference".
      threads: of the process.
      batch: images; by default by the pass.
    """
    return {
        "network": network,
        "pass": which,
        "batch": batch or (_QUICK_BATCH if options.quick else _BATCHES[which]),
        "size": common.size(options),
        "threads": threads,
        "turn_seconds": options.turn_seconds,
    }


def _ours(program, job, *names):
    """Returns cases of our network, in forms that are named."""
    return [
        spec.Case(
            name,
            program,
            {**job, "module": "keras_networks", "form": _FORMS[name]},
        )
        for name in names
    ]


def _torch(program, job, library, layout, compiled=False):
    net = common.library_names(job["network"])[library]
    module = {"module": "torch_networks", "library": library, "net": net}
    how = "compiled" if compiled else layout.removesuffix("_format")
    size = job["network"].split("-")[1]
    lacks = library == "torchvision" and size in _NOT_IN_TORCHVISION
    return spec.Case(
        f"{library}, {how}",
        program,
        {**job, **module, "layout": layout, "compiled": compiled},
        "torch",
        absent=f"torchvision has no {job['network']}" if lacks else "",
    )


def _all_torch(program, job):
    return [
        *(
            _torch(program, job, library, layout)
            for library in ("torchvision", "timm")
            for layout in ("contiguous_format", "channels_last")
        ),
        _torch(program, job, "timm", "channels_last", compiled=True),
    ]


def _tf_keras(program, job):
    net = common.library_names(job["network"])["tf_keras"]
    module = {"module": "tf_keras_networks", "net": net}
    return spec.Case("tf_keras", program, {**job, **module}, "tf_keras")


def _setting(job: Mapping[str, Any], cases: list[spec.Case]) -> spec.Setting:
    labels = ("network", "pass", "batch", "threads")
    return spec.Setting(
        labels={label: job[label] for label in labels},
        cases=tuple(cases),
        reference=common.OURS,
        threads=job["threads"],
    )


def _jobs(options, *which):
    """Returns a job for each of the networks, passes and threads."""
    found = common.networks(options, "RegNetX-400MF", "RegNetY-800MF")
    return [
        step_job(options, network, task, threads)
        for network in found
        for task in which
        for threads in common.threads(options)
    ]


def _inference(options):
    return [
        _setting(
            job,
            [
                *_ours("steps", job, common.OURS, FOLDED, PORTABLE, STOCK),
                _tf_keras("steps", job),
                *_all_torch("steps", job),
                common.machine(options),
            ],
        )
        for job in _jobs(options, "inference")
    ]


def _training(options):
    return [
        _setting(
            job,
            [
                *_ours("steps", job, common.OURS, STOCK),
                _trainer(options, job),
                _tf_keras("steps", job),
                *_all_torch("steps", job),
                common.machine(options),
            ],
        )
        for job in _jobs(options, "training")
    ]


def _precision(options):
    return [
        _setting(
            job,
            [
                *_in_both(
                    _ours("steps", job, common.OURS), dtype="mixed_bfloat16"
                ),
                *_in_both(
                    [
                        _torch("steps", job, "timm", layout)
                        for layout in ("contiguous_format", "channels_last")
                    ],
                    autocast="bfloat16",
                ),
                common.machine(options),
            ],
        )
        for job in _jobs(options, "training", "inference")
    ]


def _in_both(cases, **how):
    """Returns cases in float32, and in bfloat16 as their library does it."""
    in_bfloat16 = [
        dataclasses.replace(
            case, name=f"{case.name}, bfloat16", job={**case.job, **how}
        )
        for case in cases
    ]
    return [*cases, *in_bfloat16]


def _population(options):
    """Returns settings of networks at random, and not of those named."""
    return [
        _population_setting(options, which, threads)
        for which in ("inference", "training")
        for threads in common.threads(options)
    ]


def _population_setting(options, which, threads):
    job = {
        **step_job(options, "", which, threads),
        **_POPULATION,
        "n": 2 if options.quick else 32,
    }
    return population_setting(options, job, "space")


def population_setting(
    options: spec.Options, job: Mapping[str, Any], name: str
) -> spec.Setting:
    """Returns the setting of networks that are timed together.

    Args:
      options: of the run.
      job: of `cases.population`.
      name: the entry of the job that tells the networks.
    """
    labels = (name, "pass", "batch", "threads")
    return spec.Setting(
        {label: job[label] for label in labels},
        (spec.Case(common.OURS, "population", job), common.machine(options)),
        common.OURS,
        job["threads"],
    )


def _trainer(options, job):
    steps = 2 if options.quick else 10
    return spec.Case(TRAINER, "trainer", {**job, "steps": steps, "epochs": 0})


def _build(options):
    settings = [
        _setting(
            job,
            [
                *_ours("first_step", job, common.OURS, STOCK),
                _tf_keras("first_step", job),
                _torch("first_step", job, "timm", "channels_last"),
            ],
        )
        for job in _jobs(options, "training")
    ]
    return [*settings, _loading(options)]


def _loading(options):
    network = common.QUICK_NETWORK if options.quick else _LOADED
    file = {"network": network, "size": common.SIZE, "batch": 1}
    cases = [
        spec.Case(
            name,
            "weight_loading",
            {"network": network, "step": step},
            files={"weights": {**file, "form": "weights"}},
        )
        for step, name in (
            ("read", "file read"),
            ("build", "network built"),
            ("load", "network built, weights loaded"),
        )
    ]
    return spec.Setting(
        {"network": network, "pass": "loading"},
        tuple(cases),
        "network built",
        host.cores(),
    )


def _memory(options):
    settings = [
        _setting(
            job,
            [
                *_ours("memory", job, common.OURS, STOCK),
                _tf_keras("memory", job),
                _torch("memory", job, "timm", "channels_last"),
            ],
        )
        for job in _jobs(options, "training", "inference")
    ]
    return [*settings, _whole_run(options)]


def _whole_run(options):
    network = common.networks(options, "RegNetX-400MF")[0]
    batch = _QUICK_BATCH if options.quick else 4
    job = step_job(options, network, "training", host.cores(), batch)
    steps, epochs = (2, 2) if options.quick else (100, 10)
    run = {**job, "steps": steps, "epochs": epochs}
    return spec.Setting(
        {
            "network": network,
            "pass": f"run of {steps * epochs} steps",
            "batch": batch,
            "threads": job["threads"],
        },
        (spec.Case(TRAINER, "trainer", run),),
        TRAINER,
        job["threads"],
    )


def _gpu(options):
    settings = []
    batch = _QUICK_BATCH if options.quick else _GPU_BATCH
    for network in common.networks(options, "RegNetY-800MF", "RegNetY-3.2GF"):
        for which in ("training", "inference"):
            job = step_job(options, network, which, host.cores(), batch)
            cases = [
                spec.Case(
                    f"keras_regnet on {backend}, {dtype}",
                    "steps",
                    {**job, "module": "accelerator", "dtype": dtype},
                    variables={"KERAS_BACKEND": backend},
                )
                for backend in spec.ACCELERATED
                for dtype in ("float32", "mixed_bfloat16")
            ]
            settings.append(
                spec.Setting(
                    {"network": network, "pass": which, "batch": batch},
                    tuple(cases),
                    cases[0].name,
                    job["threads"],
                )
            )
    return settings


SUITES = (
    spec.Suite(
        "inference",
        "forward passes of whole networks, beside other libraries",
        _inference,
        (RATE,),
    ),
    spec.Suite(
        "training",
        "training steps of whole networks, beside other libraries",
        _training,
        (RATE,),
    ),
    spec.Suite(
        "precision",
        "the same in float32 and in bfloat16, beside PyTorch's autocast",
        _precision,
        (RATE,),
    ),
    spec.Suite(
        "population",
        "random networks: what their time depends on",
        _population,
        (spec.Column("seconds", "s, all networks", "s"),),
    ),
    spec.Suite(
        "build",
        "what comes before the second training step, and loading weights",
        _build,
        (
            spec.Column("seconds", "in all, s", "s"),
            spec.Column("import", "import, s", "s"),
            spec.Column("build", "build, s", "s"),
            spec.Column("trace", "trace, s", "s"),
            spec.Column("first_run", "1st run, s", "s"),
            spec.Column("second_run", "2nd run, s", "s"),
            spec.Column("bytes", "MB", "MB"),
        ),
        fresh=True,
    ),
    spec.Suite(
        "memory",
        "the most memory of a process, of steps and of a whole run",
        _memory,
        (
            spec.Column("bytes", "MB", "MB"),
            spec.Column("imported", "imported, MB", "MB"),
            spec.Column("built", "built, MB", "MB"),
            spec.Column("after_first", "after the 1st epoch, MB", "MB"),
        ),
        fresh=True,
    ),
    spec.Suite(
        "gpu",
        "training and inference on an accelerator, on JAX and PyTorch",
        _gpu,
        (RATE,),
        accelerator=True,
    ),
)
