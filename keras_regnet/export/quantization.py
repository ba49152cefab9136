"""int8 for weights and activations, with a report of what it cost, by layer.

Each activation has the range that it has on representative images. What that
loses is measured layer by layer, and a few layers that cost little
time (the first, the last, the gates of squeeze-and-excitation) stay in
float32 where that makes the outputs much better; so do norms that compute
moments of each image, which take more time. The softmax always does: in int8 it
has 256 values for all probabilities, which makes ties.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable
from collections.abc import Set

import keras
import numpy as np

from keras_regnet.export import calibration
from keras_regnet.export import quantizer
from keras_regnet.export import runners
from keras_regnet.layers import EvoNormS0a

# A group of layers stays in float if the error of the outputs falls by this
# fraction of it.
_PAYS = 0.05
# They compute moments, of which 256 values are not enough.
_IMAGE_NORMS = (
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    EvoNormS0a,
)
# Operations at whose end another type of values may begin.
_COMPUTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "RELU")
# What is before the first one is not a stage.
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_WORST = 5
# Images that errors are measured on: of the outputs, and of each layer.
_MEASURED = 64
_MEASURED_BY_LAYER = 8


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What int8 cost, measured on the representative images.

    Args:
      layers: (name of a layer, root mean square of its error relative to that
        of its outputs), the worst first; with all layers before it in int8.
      groups: (group, error of the model's outputs with it in float, relative
        to that with all in int8).
      kept: the groups that stay in float.
      error: root mean square error of the outputs, all in int8 but what the
        target leaves in float32.
      final_error: the same of the file.
    """

    layers: tuple[tuple[str, float], ...]
    groups: tuple[tuple[str, float], ...]
    kept: tuple[str, ...]
    error: float
    final_error: float

    def table(self) -> str:
        """Returns lines for the terminal."""
        lines = ["worst layers, error relative to their outputs:"]
        lines += [
            f"  {name:<32} {error:.3f}" for name, error in self.layers[:_WORST]
        ]
        lines.append("error of the outputs with a group in float, of that in "
                     "int8:")  # fmt: skip
        lines += [
            f"  {name:<32} {error:.3f}"
            + (", stays in float" if name in self.kept else "")
            for name, error in self.groups
        ]
        lines.append(
            f"error of the outputs: {self.error:.2e} in int8, "
            f"{self.final_error:.2e} in the file"
        )
        return "\n".join(lines)


def quantize(
    source: "Source",
    keep_float: Iterable[str] | None,
    with_report: bool,
    float_stages: int = 0,
) -> tuple[bytes, LayerReport | None]:
    """Returns an int8 file, and what it cost by layer, which takes long.

    Args:
      source: what it is made from.
      keep_float: see `ExportSpec`.
      with_report: whether to measure the error of each layer.
      float_stages: see `Choice`; besides what is chosen by its error.
    """
    stages = source.stages()
    fast = stages[min(float_stages, len(stages) - 1)]
    layers = source.layer_errors(fast) if with_report else ()
    if keep_float is not None:
        groups: tuple[tuple[str, float], ...] = ()
        kept = tuple(sorted(keep_float))
        outputs = source.outputs_of(kept) | fast
    else:
        groups, kept, outputs = _choose(source, fast)
    contents = source.quantized(outputs)
    if not with_report:
        return contents, None
    return contents, LayerReport(
        layers=layers,
        groups=groups,
        kept=kept,
        error=source.output_error(fast),
        final_error=source.output_error(outputs),
    )


def variants(source: "Source", every: bool) -> list[bytes]:
    """Returns int8 files with the first 0, 1, 2, ... stages in float32.

    Args:
      source: what they are made from.
      every: whether to go on after the first file.
    """
    stages = source.stages()
    return [source.quantized(x) for x in (stages if every else stages[:1])]


def _choose(source, fast):
    """Keeps one group after the other, the best first, while it pays."""
    candidates = {
        name: outputs | fast
        for name, outputs in source.groups().items()
        if not outputs <= fast
    }
    measured = {
        name: source.output_error(outputs)
        for name, outputs in candidates.items()
    }
    kept: list[str] = []
    outputs, error = fast, source.output_error(fast)
    best = error
    for name in sorted(measured, key=measured.__getitem__):
        trial = outputs | candidates[name]
        trial_error = source.output_error(trial)
        if trial_error <= (1 - _PAYS) * best:
            kept.append(name)
            outputs, best = trial, trial_error
    scale = error or 1.0
    groups = tuple((name, value / scale) for name, value in measured.items())
    return groups, tuple(kept), outputs


class Source:
    """A float file, and the int8 files that are made from it.

    Args:
      contents: of the float file.
      ranges: of its tensors.
      images: pixels in 0..255, to measure errors on.
      input_type: of the pixels of the int8 files.
      network: what the float file computes.
    """

    def __init__(
        self,
        contents: bytes,
        ranges: calibration.Ranges,
        images: np.ndarray,
        input_type: str,
        network: keras.Model,
    ) -> None:
        self._contents = contents
        self._ranges = ranges
        self._images = images[:_MEASURED]
        self._input = input_type
        # The last one alone: those of large networks are large.
        self._file: tuple[frozenset[str] | None, bytes] = (None, b"")
        self._errors: dict[frozenset[str], float] = {}
        self._runner = runners.LiteRTRunner(contents, keep_tensors=True)
        self._names = _layer_of_each_output(self._runner, network)
        inner = network.layers[-1].layers
        self._norms = {x.name for x in inner if isinstance(x, _IMAGE_NORMS)}
        self._kinds = _outputs(self._runner)
        ends = list(self._kinds)[-1:]
        self._softmax = {x for x in ends if self._kinds[x] == "SOFTMAX"}

    @functools.cached_property
    def _outputs(self):
        return runners.LiteRTRunner(self._contents).run(self._images)

    def quantized(self, in_float: Set[str]) -> bytes:
        """Returns an int8 file; `in_float`: outputs of what is left alone."""
        key = frozenset(in_float)
        if key != self._file[0]:
            contents = quantizer.quantized(
                self._contents, self._ranges, key | self._softmax, self._input
            )
            self._file = key, contents
        return self._file[1]

    def output_error(self, in_float: Set[str]) -> float:
        """Returns the root mean square error of the outputs of such a file."""
        key = frozenset(in_float)
        if key not in self._errors:
            runner = runners.LiteRTRunner(self.quantized(key))
            difference = runner.run(self._images) - self._outputs
            self._errors[key] = float(np.sqrt(np.mean(difference**2)))
        return self._errors[key]

    def outputs_of(self, names: Iterable[str]) -> set[str]:
        """Returns the outputs of the operations of layers, by name."""
        names = set(names)
        unknown = names - set(self._names.values())
        if unknown:
            raise ValueError(
                "`keep_float` must name layers of the model that are computed "
                f"in the file. Received: {sorted(unknown)}"
            )
        return {out for out, layer in self._names.items() if layer in names}

    def groups(self) -> dict[str, set[str]]:
        """Returns group -> outputs: what is cheap or badly off in int8."""
        outputs = list(self._kinds)
        kinds = list(self._kinds.values())
        first_conv = kinds.index("CONV_2D") if "CONV_2D" in kinds else 0
        gates = {
            out
            for out, layer in self._names.items()
            if re.search(r"_se_(reduce|expand)$", layer)
        }
        last = {
            out for out in outputs[-2:] if self._kinds[out] == "FULLY_CONNECTED"
        }
        groups = {
            "normalization": set(outputs[:first_conv]),
            "first layer": set(outputs[: first_conv + 1]),
            "squeeze-and-excitation": gates,
            "last layer": last,
            "norms of single images": {
                out
                for out, layer in self._names.items()
                if layer in self._norms
            },
        }
        return {name: outs for name, outs in groups.items() if outs}

    def stages(self) -> list[set[str]]:
        """Returns the outputs of the first 0, 1, 2, ... stages.

        A stage ends with the last operation of its size that has the fewest
        channels and is all that later ones read of it and what is before.
        """
        operations = runners.operations(self._runner.interpreter)
        detail = self._runner.interpreter._get_tensor_details
        read_last = {
            index: number
            for number, operation in enumerate(operations)
            for index in operation["inputs"]
        }
        found: dict[int, tuple[int, int]] = {}
        computed: list[str] = []
        open_until, has_convolved = -1, False
        for number, operation in enumerate(operations):
            is_cut = open_until <= number
            # A split has several.
            for output in operation["outputs"]:
                computed.append(detail(output, 0)["name"])
                open_until = max(open_until, read_last.get(output, -1))
            shape = detail(operation["outputs"][-1], 0)["shape"]
            has_convolved |= operation["op_name"] in _CONVOLUTIONS
            if len(shape) != 4 or operation["op_name"] not in _COMPUTED:
                continue
            if is_cut and has_convolved:
                _, channels = found.get(shape[1], (0, shape[3]))
                if shape[3] <= channels:
                    found[shape[1]] = len(computed), shape[3]
        # Not in their order where a model makes images larger again.
        ends = sorted(end for end, _ in found.values())
        return [set(), *[set(computed[:end]) for end in ends]]

    def layer_errors(self, in_float: Set[str]) -> tuple[tuple[str, float], ...]:
        """Returns (layer, relative error) of such a file, the worst first."""
        quantized = runners.LiteRTRunner(
            self.quantized(in_float), keep_tensors=True
        )
        squares = dict.fromkeys(self._names, 0.0)
        errors = dict.fromkeys(self._names, 0.0)
        for image in self._images[:_MEASURED_BY_LAYER]:
            exact = self._tensors(self._runner, image)
            rounded = self._tensors(quantized, image)
            for name in self._names:
                if name in rounded:
                    squares[name] += np.sum(exact[name] ** 2)
                    errors[name] += np.sum((rounded[name] - exact[name]) ** 2)
        worst = {
            self._names[name]: float(np.sqrt(errors[name] / squares[name]))
            for name in self._names
            if squares[name]
        }
        return tuple(sorted(worst.items(), key=lambda item: -item[1]))

    def _tensors(self, runner, image):
        runner.run(image[None])
        tensors = {}
        for detail in runner.interpreter.get_tensor_details():
            if detail["name"] not in self._names:
                continue
            values = runner.interpreter.get_tensor(detail["index"])
            tensors[detail["name"]] = runners.dequantized(values, detail)
        return tensors


def _outputs(runner):
    """Returns output -> kind of operation, in order of computation."""
    return {
        runner.interpreter._get_tensor_details(index, 0)["name"]: (
            operation["op_name"]
        )
        for operation in runners.operations(runner.interpreter)
        for index in operation["outputs"]
    }


def _layer_of_each_output(runner, network):
    """Returns output of an operation -> layer, in order of computation."""
    # The network proper is a model within it, see `inference_model`.
    inner = network.layers[-1].layers
    layers = {layer.name for layer in (*network.layers, *inner)}
    names = {out: _layer(out, layers) for out in _outputs(runner)}
    last = next(reversed(names))
    names[last] = names[last] or inner[-1].name
    return {out: layer or out for out, layer in names.items()}


def _layer(output, layers):
    """Returns the layer that stands in an output's name, None if none does.

    "model_1/conv_act_1/Relu;model_1/conv_1/BiasAdd" is of "conv_act".
    """
    for part in output.split(";")[0].split("/")[::-1]:
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return name
    return None
