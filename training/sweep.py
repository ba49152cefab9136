"""Trains populations of networks: the method of the paper.

python training/sweep.py run --out=DIR --regime=digits --space=RegNetX --n=8
python training/sweep.py run --out=DIR --dataset=folder:PHOTOS --space=RegNetX

The stages are `sample`, `train`, `collect`, `analyze` and `report`; `run` does
all. They communicate by files, so that each can be run again alone, at any
time, also on an unfinished sweep; after the first, `--out` is enough. The same
command resumes an interrupted sweep. `plan` says, from a sweep of a few
networks, how many a comparison needs:

python training/sweep.py plan --out=PILOT --effect=3

`pick` trains the best networks of a finished sweep again, with fresh seeds, and
chooses one:

python training/sweep.py pick --out=DIR
"""

import dataclasses
import os
import pathlib
import sys

from absl import app
from absl import flags

# Run by path, Python looks for modules in this folder first.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
# Without a GPU TensorFlow complains of its absence, as an error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_regnet import errors
from training.sweeps import analysis
from training.sweeps import driver
from training.sweeps import files
from training.sweeps import options
from training.sweeps import picking
from training.sweeps import pool
from training.sweeps import preparing
from training.sweeps import regimes
from training.sweeps import spec as spec_lib

_SAMPLE_FLAGS = ("n", "seed", "trials")
_DEFAULTS = options.Options()

_OUT = flags.DEFINE_string("out", None, "Folder of the sweep.")
_REGIME = flags.DEFINE_multi_string(
    "regime",
    [],
    "Data and training of a network, a preset of the flags named after its "
    f"fields: one of {', '.join(regimes.NAMES)}.",
)
_SPACE = flags.DEFINE_multi_string(
    "space",
    [],
    "A design space and its restrictions, as in 'AnyNetX_C widths=falling' "
    "or 'RegNetX w_m=2'; or networks:FILE, a configuration a line. Give it "
    "once for each space.",
)
_N = flags.DEFINE_integer("n", 64, "Number of networks of each space.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.")
_TRIALS = flags.DEFINE_integer(
    "trials", 1, "Number of seeds that each network is trained with."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    _DEFAULTS.data_dir,
    "Folder where tensorflow-datasets has the data set, or stores it.",
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    _DEFAULTS.engine,
    options.ENGINES,
    "Where to train: on this machine, or on a Ray cluster.",
)
_RAY_ADDRESS = flags.DEFINE_string(
    "ray_address",
    _DEFAULTS.ray_address,
    "The cluster's HOST:PORT; by default the one that this machine is part "
    "of, or that RAY_ADDRESS names.",
)
_WORKERS = flags.DEFINE_integer(
    "workers",
    _DEFAULTS.workers,
    "Processes that train; by default as many as the machine has cores, or "
    "as the cluster has room for.",
    lower_bound=1,
)
_THREADS = flags.DEFINE_integer(
    "threads",
    _DEFAULTS.threads,
    "Cores that one process uses; 0 for the backend's choice.",
    lower_bound=0,
)
_GPUS = flags.DEFINE_float(
    "gpus",
    _DEFAULTS.gpus,
    "GPUs of each process on a Ray cluster; 0.5 lets two share one.",
    lower_bound=0.0,
)
_TRIAL_TIMEOUT = flags.DEFINE_float(
    "trial_timeout",
    _DEFAULTS.trial_timeout,
    "Seconds after which a trial is ended, and has failed; by default ten "
    "times the time of the slowest that has finished, and at least 600.",
)
_RETRIES = flags.DEFINE_integer(
    "retries",
    _DEFAULTS.retries,
    "How often a failed trial is tried again.",
    lower_bound=0,
)
_EFFECT = flags.DEFINE_float(
    "effect",
    None,
    "For `plan`: the difference of mean errors to find, in points.",
)
_POWER = flags.DEFINE_float(
    "power", 0.8, "For `plan`: the chance of finding it."
)
_TOP = flags.DEFINE_integer(
    "top",
    None,
    f"For `pick`: how many of the best networks are trained again; "
    f"{picking.TOP}, or all if there are fewer.",
    lower_bound=1,
)
_REPEATS = flags.DEFINE_integer(
    "repeats",
    picking.REPEATS,
    "For `pick`: how many times each, with fresh seeds.",
    lower_bound=2,
)
_TRIALS_PER_WORKER = flags.DEFINE_integer(
    "trials_per_worker",
    _DEFAULTS.trials_per_worker,
    "Number of trials after which a process is replaced by a fresh one.",
    lower_bound=1,
)
_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    regimes.Budget: flags.DEFINE_string,
    regimes.Strides: flags.DEFINE_string,
}
# One flag for each field of a regime. None: not given.
_FIELDS = {
    name: _DEFINE[field.type](name, None, field.metadata["help"])
    for name, field in regimes.FLAGS.items()
}


def _sample(out):
    given, stored = _given(), None
    if (pathlib.Path(out) / files.SPEC).exists():
        stored, _ = spec_lib.load(out)
    regime = _regime(stored)
    if stored is None:
        given = {"spaces": (), "n": _N.value, **given, "regime": regime}
        spec = spec_lib.Spec(**given)
    elif given or regime != stored.regime:
        spec = dataclasses.replace(stored, **given, regime=regime)
    else:
        return
    trials = spec_lib.sample(spec, out)
    print(f"{len(trials)} trials of {len(spec.spaces)} spaces")


def _given():
    """Returns what the flags say of a sample but for its regime."""
    given = {
        flag.name: flag.value
        for flag in map(flags.FLAGS.__getitem__, _SAMPLE_FLAGS)
        if flag.present
    }
    if _SPACE.value:
        given["spaces"] = tuple(_SPACE.value)
    return given


def _given_fields():
    """Returns the fields of a regime of which there are flags."""
    return {
        name: regimes.parse(name, flag.value)
        for name, flag in _FIELDS.items()
        if flag.value is not None
    }


def _check_sampled(out):
    """Raises if a flag differs from the sweep: the later stages read none."""
    given, fields = _given(), _given_fields()
    for name in _REGIME.value:
        preset = vars(regimes.get(name))
        fields = {**{each: preset[each] for each in _FIELDS}, **fields}
    if (given or fields) and (pathlib.Path(out) / files.SPEC).exists():
        spec_lib.check_sampled(out, given, fields)


def _regime(stored):
    """Returns the regime of the flags, where none is given the stored one."""
    given = _given_fields()
    if len(_REGIME.value) > 1:
        raise ValueError(
            f"`regime` must be given once. Received: {', '.join(_REGIME.value)}"
        )
    base = None
    if _REGIME.value:
        base = regimes.get(_REGIME.value[0])
    elif "dataset" not in given:
        if stored is None:
            raise ValueError(
                f"`regime` must be one of {', '.join(regimes.NAMES)}, or "
                "`dataset` be given. Received: neither"
            )
        base = stored.regime
    return preparing.complete(base, given, _data_dir())


def _data_dir():
    return os.path.expanduser(_DATA_DIR.value)


def _options():
    return options.Options(
        data_dir=_data_dir(),
        engine=_ENGINE.value,
        ray_address=_RAY_ADDRESS.value,
        workers=_WORKERS.value,
        threads=_THREADS.value,
        gpus=_GPUS.value,
        trial_timeout=_TRIAL_TIMEOUT.value,
        retries=_RETRIES.value,
        trials_per_worker=_TRIALS_PER_WORKER.value,
    )


def _train(out):
    driver.train(out, _options())


def _plan(out):
    if _EFFECT.value is None:
        raise ValueError(
            "`effect` must be the difference to find, in points, such as 3. "
            "Received: none"
        )
    analysis.plan(out, _EFFECT.value, _POWER.value)


def _pick(out):
    picking.pick(out, _TOP.value, _REPEATS.value, _options())


_STAGES = {
    "sample": _sample,
    "train": _train,
    "collect": analysis.collect,
    "analyze": analysis.analyze,
    "report": analysis.report,
}
# What `run` does not do.
_VERBS = {**_STAGES, "plan": _plan, "pick": _pick}


def _check_out(out, stage):
    """Raises if the folder cannot be a sweep's; only sampling makes it."""
    out = pathlib.Path(out)
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
        if len(chosen) != 1 or chosen[0] not in (*_VERBS, "run"):
            received = " ".join(chosen)
            raise errors.unknown_value("stage", received, (*_VERBS, "run"))
        if not _OUT.value:
            raise ValueError("`out` must be a folder. Received: none")
        out = os.path.expanduser(_OUT.value)
        _check_out(out, chosen[0])
        if chosen[0] not in ("sample", "run"):
            _check_sampled(out)
        for stage in _STAGES if chosen == ["run"] else chosen:
            _VERBS[stage](out)
    except (ValueError, OSError, ImportError, pool.WorkerError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    app.run(_main)
