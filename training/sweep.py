"""Trains populations of networks: the method of the paper.

python training/sweep.py run --out=DIR --regime=digits --space=RegNetX --n=8

The stages are `sample`, `train`, `collect`, `analyze` and `report`; `run` does
all. Files lie between them, so that each can be run again alone, at any time,
also on an unfinished sweep; after the first, `--out` is enough. The same
command goes on where it was interrupted.
"""

import dataclasses
import os
import pathlib
import sys

from absl import app
from absl import flags

# Run by path, Python looks for modules in this folder first. What has to be
# found is the checkout, with or without an installed keras_regnet.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
# Without a GPU TensorFlow complains of its absence, as an error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_regnet import errors
from training.sweeps import pool
from training.sweeps import populations
from training.sweeps import regimes
from training.sweeps import stages

STAGES = ("sample", "train", "collect", "analyze", "report")
_SAMPLE_FLAGS = ("regime", "space", "n", "seed", "trials")

_OUT = flags.DEFINE_string("out", None, "Folder of the sweep.")
_REGIME = flags.DEFINE_string(
    "regime",
    None,
    f"Data and training of a network: one of {', '.join(regimes.NAMES)}.",
)
_SPACE = flags.DEFINE_multi_string(
    "space",
    [],
    "A design space, and what restricts it, as in 'AnyNetX_C widths=falling' "
    "or 'RegNetX w_m=2'. Give it once for each space.",
)
_N = flags.DEFINE_integer("n", 64, "Networks of each space.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.")
_TRIALS = flags.DEFINE_integer(
    "trials", 1, "With how many seeds each network is trained."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    "",
    "Where tensorflow-datasets has the data set, or puts what it fetches.",
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    "local",
    stages.ENGINES,
    "Where to train: on this machine, or on a Ray cluster.",
)
_RAY_ADDRESS = flags.DEFINE_string(
    "ray_address",
    "auto",
    "The cluster's HOST:PORT; by default the one that this machine is part "
    "of, or that RAY_ADDRESS names.",
)
_WORKERS = flags.DEFINE_integer(
    "workers",
    None,
    "Processes that train; by default as many as the machine has cores, or "
    "as the cluster has room for.",
    lower_bound=1,
)
_THREADS = flags.DEFINE_integer(
    "threads",
    1,
    "Cores that one process uses; 0 for the backend's choice.",
    lower_bound=0,
)
_GPUS = flags.DEFINE_float(
    "gpus",
    0.0,
    "GPUs of each process on a Ray cluster; 0.5 lets two share one.",
    lower_bound=0.0,
)
_TRIAL_TIMEOUT = flags.DEFINE_float(
    "trial_timeout",
    None,
    "Seconds after which a trial is ended, and has failed; by default ten "
    "times what the slowest took that has finished, and at least 600.",
)
_RETRIES = flags.DEFINE_integer(
    "retries", 1, "How often a failed trial is tried again.", lower_bound=0
)
_TRIALS_PER_WORKER = flags.DEFINE_integer(
    "trials_per_worker",
    50,
    "After so many trials a process is replaced by a fresh one.",
    lower_bound=1,
)


def _sample():
    given = {
        flag.name: flag.value
        for flag in map(flags.FLAGS.__getitem__, _SAMPLE_FLAGS)
        if flag.present
    }
    if "space" in given:
        given["spaces"] = tuple(given.pop("space"))
    if (pathlib.Path(_OUT.value) / populations.SPEC_FILE).exists():
        spec, _ = populations.load(_OUT.value)
        if not given:
            return
        spec = dataclasses.replace(spec, **given)
    elif "regime" in given:
        spec = populations.Spec(**{"spaces": (), "n": _N.value, **given})
    else:
        raise ValueError(
            f"`regime` must be one of {', '.join(regimes.NAMES)}. "
            "Received: none"
        )
    trials = populations.sample(spec, _OUT.value)
    print(f"{len(trials)} trials of {len(spec.spaces)} spaces")


def _train():
    stages.train(
        _OUT.value,
        data_dir=_DATA_DIR.value,
        retries=_RETRIES.value,
        trial_timeout=_TRIAL_TIMEOUT.value,
        engine=_ENGINE.value,
        count=_WORKERS.value,
        threads=_THREADS.value,
        trials_per_worker=_TRIALS_PER_WORKER.value,
        gpus=_GPUS.value,
        ray_address=_RAY_ADDRESS.value,
    )


def _run_stage(stage):
    if stage == "sample":
        _sample()
    elif stage == "train":
        _train()
    else:
        getattr(stages, stage)(_OUT.value)


def _check_out(stage):
    """Raises where there can be no sweep; only sampling makes the folder."""
    out = pathlib.Path(_OUT.value)
    if out.exists() and not out.is_dir():
        raise ValueError(f"`out` must be a folder. Received: out={str(out)!r}")
    if not out.exists() and stage not in ("sample", "run"):
        raise ValueError(
            f"`out` must be the folder of a sweep, to {stage} it. There is "
            f"no such folder: out={str(out)!r}"
        )


def _main(arguments: list[str]) -> None:
    try:
        chosen = arguments[1:]
        if len(chosen) != 1 or chosen[0] not in (*STAGES, "run"):
            received = " ".join(chosen)
            raise errors.unknown_value("stage", received, (*STAGES, "run"))
        if not _OUT.value:
            raise ValueError("`out` must be a folder. Received: none")
        _check_out(chosen[0])
        for stage in STAGES if chosen == ["run"] else chosen:
            _run_stage(stage)
    except (ValueError, OSError, ImportError, pool.WorkerError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    app.run(_main)
