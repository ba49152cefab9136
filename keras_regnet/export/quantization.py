"""int8 for weights and activations, with a report of what it cost, by layer.

The converter takes each activation's range from representative images. What
it then loses is measured layer by layer, and a few layers that cost little
time (the first, the last, the gates of squeeze-and-excitation) stay in
float32 where that makes the outputs much better. The softmax always does: in
int8 it has 256 values for all probabilities, which makes ties.
"""

import dataclasses
import re
from collections.abc import Iterable

import keras
import numpy as np

from keras_regnet.export import runners

# A group of layers stays in float if the error of the outputs falls by this
# share of it.
PAYS = 0.05
_WORST = 5
# Images that errors are measured on: of the outputs, and of each layer, for
# which the slow built-in kernels run (XNNPACK shows no layer's outputs).
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
      error: root mean square error of the outputs, all in int8.
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


def quantise(
    calibrated: bytes,
    images: np.ndarray,
    input: str,  # noqa: A002 (the command line's name)
    network: keras.Model,
    keep_float: Iterable[str] | None = None,
) -> tuple[bytes, LayerReport]:
    """Returns an int8 file and the report of its errors.

    Args:
      calibrated: the float file with the activations' ranges.
      images: pixels in 0..255, to measure errors on.
      input: type of the pixels.
      network: the model that was converted.
      keep_float: layers, by name, that stay in float32; None for those that
        pay.

    Returns:
      The bytes of the file, and the report.
    """
    images = images[:_MEASURED]
    source = _Calibrated(calibrated, images, input, network)
    plain = source.quantised(())
    error = source.output_error(plain)
    kept, groups = (), ()
    if keep_float is not None:
        contents = source.quantised(source.outputs_of(keep_float))
        kept = tuple(sorted(keep_float))
    else:
        groups, kept, contents = _choose(source, error, plain)
    report = LayerReport(
        layers=source.layer_errors(plain),
        groups=groups,
        kept=kept,
        error=error,
        final_error=source.output_error(contents),
    )
    return contents, report


def quantise_unmeasured(
    calibrated: bytes,
    images: np.ndarray,
    input: str,  # noqa: A002 (the command line's name)
    network: keras.Model,
    keep_float: Iterable[str],
) -> bytes:
    """Returns an int8 file, sooner, without the report of its errors.

    Args:
      calibrated: see `quantise`.
      images: see `quantise`.
      input: see `quantise`.
      network: see `quantise`.
      keep_float: layers, by name, that stay in float32.

    Returns:
      The bytes of the file.
    """
    source = _Calibrated(calibrated, images[:1], input, network)
    return source.quantised(source.outputs_of(keep_float))


def _choose(source, error, plain):
    """Keeps one group after the other, the best first, while it pays."""
    candidates = source.groups()
    measured = {
        name: source.output_error(source.quantised(outputs))
        for name, outputs in candidates.items()
    }
    kept, outputs, best, contents = [], set(), error, plain
    for name in sorted(measured, key=measured.get):
        trial = source.quantised(outputs | candidates[name])
        trial_error = source.output_error(trial)
        if trial_error <= (1 - PAYS) * best:
            kept.append(name)
            outputs |= candidates[name]
            best, contents = trial_error, trial
    scale = error or 1.0
    groups = tuple((name, value / scale) for name, value in measured.items())
    return groups, tuple(kept), contents


def with_pixel_range(calibrated: bytes, mean: np.ndarray) -> bytes:
    """Returns a float file with ranges, the input's to be all of 0..255.

    Representative images need not have the darkest and the brightest pixel;
    what the file will be given may.

    Args:
      calibrated: the float file with the activations' ranges.
      mean: what the file subtracts from the pixels of each channel.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    file = flatbuffer_utils.convert_bytearray_to_object(calibrated)
    graph = file.subgraphs[0]
    (pixels,) = graph.inputs
    _set_range(graph.tensors[pixels], 0.0, 255.0)
    low, high = -float(max(mean)), 255 - float(min(mean))
    codes = [code.builtinCode for code in file.operatorCodes]
    # Either a subtraction, or one between two changes of shape.
    reached, is_less = {pixels}, False
    for operation in graph.operators:
        if reached.isdisjoint(operation.inputs) or not np.any(mean):
            continue
        kind = codes[operation.opcodeIndex]
        if kind == schema.BuiltinOperator.SUB:
            is_less = True
        elif kind != schema.BuiltinOperator.RESHAPE:
            break
        (output,) = operation.outputs
        reached = {output}
        bounds = (low, high) if is_less else (0.0, 255.0)
        _set_range(graph.tensors[output], *bounds)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def _set_range(tensor, low, high):
    tensor.quantization.min, tensor.quantization.max = [low], [high]


class _Calibrated:
    """A float file with ranges, and what it computes."""

    def __init__(self, contents, images, input_type, network):
        self._contents = contents
        self._images = images
        self._input = input_type
        self._runner = runners.LiteRTRunner(
            contents, delegate=False, keep_tensors=True
        )
        self._outputs = runners.LiteRTRunner(contents).run(images)
        self._names = _layer_of_each_output(self._runner, network)
        self._kinds = _outputs(self._runner)
        ends = list(self._kinds)[-1:]
        self._softmax = {x for x in ends if self._kinds[x] == "SOFTMAX"}

    def quantised(self, in_float):
        """Returns an int8 file; `in_float`: outputs of what is left alone."""
        import tensorflow as tf

        # What tf.lite.experimental.QuantizationDebugger calls, which has no
        # argument for the type of the input.
        from tensorflow.lite.python import convert

        types = {"float": tf.float32, "uint8": tf.uint8, "int8": tf.int8}
        return convert.mlir_quantize(
            self._contents,
            input_data_type=types[self._input],
            denylisted_nodes={*in_float, *self._softmax} or None,
        )

    def output_error(self, contents):
        """Returns the root mean square error of a file's outputs."""
        found = runners.LiteRTRunner(contents).run(self._images)
        return float(np.sqrt(np.mean((found - self._outputs) ** 2)))

    def outputs_of(self, layers):
        """Returns the outputs of the operations of layers, by name."""
        layers = set(layers)
        unknown = layers - set(self._names.values())
        if unknown:
            raise ValueError(
                "`keep_float` must name layers of the model that are computed "
                f"in the file. Received: {sorted(unknown)}"
            )
        return {out for out, layer in self._names.items() if layer in layers}

    def groups(self):
        """Returns group -> outputs; those that cost little time in float."""
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
            "normalisation": set(outputs[:first_conv]),
            "first layer": set(outputs[: first_conv + 1]),
            "squeeze-and-excitation": gates,
            "last layer": last,
        }
        return {name: found for name, found in groups.items() if found}

    def layer_errors(self, contents):
        """Returns (layer, relative error) of a file, the worst first."""
        quantised = runners.LiteRTRunner(
            contents, delegate=False, keep_tensors=True
        )
        squares = dict.fromkeys(self._names, 0.0)
        errors = dict.fromkeys(self._names, 0.0)
        for image in self._images[:_MEASURED_BY_LAYER]:
            exact = self._tensors(self._runner, image)
            found = self._tensors(quantised, image)
            for name in self._names:
                if name in found:
                    squares[name] += np.sum(exact[name] ** 2)
                    errors[name] += np.sum((found[name] - exact[name]) ** 2)
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
            value = runner.interpreter.get_tensor(detail["index"])
            scale, zero = detail["quantization"]
            if np.issubdtype(value.dtype, np.integer):
                value = (value.astype(np.float32) - zero) * scale
            tensors[detail["name"]] = value
        return tensors


def _outputs(runner):
    """Returns output -> kind of operation, in order of computation."""
    return {
        runner.interpreter._get_tensor_details(index, 0)["name"]: (
            operation["op_name"]
        )
        for operation in runner.interpreter._get_ops_details()
        for index in operation["outputs"]
    }


def _layer_of_each_output(runner, network):
    """Returns output of an operation -> layer, in order of computation."""
    # The network proper is a model within it, see `preparation.prepare`.
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
