"""What makes a LiteRT file fastest on the processors that it is for.

By a rule for `x86` and `arm`, and for `auto` by measuring on this machine. The
files that are measured have the network's shapes; their values do not matter.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Sequence

import keras

from keras_regnet import instruction_sets
from keras_regnet import onednn
from keras_regnet.export import flattening
from keras_regnet.export import rewrites
from keras_regnet.export.spec import Choice
from keras_regnet.export.spec import ExportSpec
from keras_regnet.layers import folding

# Channels that merged groups may have.
_WIDTHS = (16, 32, 64)
# What is measured must be faster than the plain form by this fraction of it.
_PAYS = 0.03
# Stages in float32 may make an int8 file so many times as large.
_GROWTH = 1.3
_THREADS = 1
# Stem and two stages: where pixels are many and channels few, int8 has no
# advantage under AVX2.
_X86_FLOAT_STAGES = 3
# For all files of a process: of timing, and until it is ended.
_SECONDS = 15.0
_LIMIT_SECONDS = 90.0
_STOPWATCH = pathlib.Path(__file__).with_name("stopwatch.py")

# (merged groups, whether in all forms) -> a file of each form: with the first
# 0, 1, 2, ... stages in float32, or that with none alone.
Maker = Callable[[int | None, bool], Sequence[bytes]]


def choose(model: keras.Model, spec: ExportSpec, make: Maker) -> Choice:
    """Returns how a model becomes a file for the target of a spec.

    Args:
      model: the model.
      spec: what else is asked for: a group width or layers in float that it
        names are not chosen here.
      make: makes the files to measure.

    Raises:
      ValueError: if the spec has no target.
    """
    if isinstance(spec.target, Choice):
        return spec.target
    if spec.target is None:
        raise ValueError("`target` must be given. Received: target=None")
    if spec.target != "auto":
        return rule(spec.target, spec)
    try:
        return _measured(widths(model, spec), spec, make)
    except (subprocess.SubprocessError, ValueError, OSError) as error:
        instead = rule("x86" if onednn.is_x86() else "arm", spec)
        return dataclasses.replace(
            instead, target="auto", reason=_reason(error)
        )


def _reason(error):
    """Returns why timing failed, without the paths of this machine."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"timing took longer than {error.timeout:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"timing ended with exit status {error.returncode}"
    return " ".join(str(error).split())


def rule(target: str, spec: ExportSpec) -> Choice:
    """Returns the choice for processors that are not here to be measured.

    Under AVX2 layers of few channels, most of all the first one, take longer in
    int8 than in float32, and merged groups take longer than narrow ones.

    Args:
      target: "x86" or "arm", for which nothing is known: all stays as it is.
      spec: what else is asked for.

    Example:
    >>> spec = ExportSpec(quantize="int8", representative="random")
    >>> rule("x86", spec).float_stages, rule("arm", spec).float_stages
    (3, 0)
    """
    chooses_float = spec.quantize == "int8" and spec.keep_float is None
    return Choice(
        target=target,
        group_width=spec.group_width,
        float_stages=_X86_FLOAT_STAGES
        if target == "x86" and chooses_float
        else 0,
    )


def widths(model: keras.Model, spec: ExportSpec) -> list[int | None]:
    """Returns the widths of merged groups to try, None to leave the groups."""
    if spec.group_width is not None:
        return [spec.group_width]
    found: dict[tuple[int, ...], int | None] = {}
    for width in (None, *_WIDTHS):
        groups = tuple(
            layer.groups
            if width is None
            else rewrites.merged_groups(
                layer.groups, layer.kernel.shape[2], width
            )
            for layer in flattening.flat(model).layers
            if type(layer) in folding.CONVOLUTIONS and layer.groups > 1
        )
        found.setdefault(groups, width)
    return list(found.values())


def _measured(candidates, spec, make):
    """Returns the fastest of the widths, then of the stages in float32."""
    width, times, forms = candidates[0], {}, {}
    if len(candidates) > 1:
        times = _timed({_choice(w): make(w, False)[0] for w in candidates})
        width = _best(times, _choice(width)).group_width
    if spec.quantize == "int8" and spec.keep_float is None:
        files = make(width, True)
        forms = {
            _choice(width, stages): contents
            for stages, contents in enumerate(files)
            if len(contents) <= _GROWTH * len(files[0])
        }
    best = _choice(width)
    if len(forms) > 1:
        # By these times alone: those before are of another process.
        of_forms = _timed(forms)
        best = _best(of_forms, best)
        times |= of_forms
    if not times:
        return dataclasses.replace(best, reason="there is but one form")
    return dataclasses.replace(
        best,
        milliseconds=tuple((form.form(), ms) for form, ms in times.items()),
        processor=(f"{instruction_sets.of_machine()}, {_THREADS} thread"),
    )


def _choice(width, stages=0):
    return Choice("auto", group_width=width, float_stages=stages)


def _best(times, plain):
    """Returns the fastest form, the plain one where it is hardly slower."""
    best = min(times, key=times.__getitem__)
    pays = times[best] <= (1 - _PAYS) * times[plain]
    return best if pays else plain


def _timed(files):
    """Returns form -> milliseconds, timed in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, contents in enumerate(files.values()):
            paths.append(pathlib.Path(folder) / f"{number}.tflite")
            paths[-1].write_bytes(contents)
        # -P: the modules beside it do not stand for packages of their names.
        done = subprocess.run(
            [sys.executable, "-P", str(_STOPWATCH), str(_SECONDS),
             str(_THREADS), *map(str, paths)],
            capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=True,
        )  # fmt: skip
    medians = json.loads(done.stdout.splitlines()[-1])
    return dict(zip(files, medians, strict=True))
