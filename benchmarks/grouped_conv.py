r"""Times the grouped 3x3 convolutions of RegNets, ours against Keras's.

One layer at a time: a forward pass, and a forward and backward pass, in a
`tf.function`. Cases alternate within rounds; read the ratios.

    python benchmarks/grouped_conv.py --output=grouped_conv.json
    TF_ENABLE_ONEDNN_OPTS=0 python benchmarks/grouped_conv.py
    python benchmarks/grouped_conv.py --jit_compile
    python benchmarks/grouped_conv.py --torch_python=/path/to/python
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags

from benchmarks import timing
from keras_regnet import layers
from keras_regnet import processor

_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 8, "Images per call.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 9, "Timings of each case.", lower_bound=1
)
_JIT_COMPILE = flags.DEFINE_bool(
    "jit_compile", False, "Compile every case with XLA."
)
_TORCH_PYTHON = flags.DEFINE_string(
    "torch_python", None, "Interpreter with PyTorch, for one more case."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

# Network, image size, channels, group width: the second block of each stage
# at 224 px (stride 1), and one first block (stride 2).
_SHAPES = (
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

# Runs in the other interpreter and makes one call for each job it reads, so
# that PyTorch takes its turn in the same rounds.
_TORCH_PROGRAM = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
reply(torch.__version__)
made = None
for which, batch_size, shape in jobs():
    if made != shape:
        made = shape
        _, size, channels, width, stride = shape
        layer = torch.nn.Conv2d(channels, channels, 3, stride, 1,
                                groups=channels // width, bias=False)
        layer = layer.to(memory_format=torch.channels_last)
        x = torch.randn(batch_size, channels, size, size)
        x = x.to(memory_format=torch.channels_last).requires_grad_()
        dy = torch.randn_like(layer(x).detach())
    if which == "forward":
        with torch.no_grad():
            layer(x)
    else:
        x.grad = layer.weight.grad = None
        layer(x).backward(dy)
    reply(None)
"""


def _case(
    layer: keras.layers.Layer,
    form: contextlib.AbstractContextManager,
    x: tf.Tensor,
) -> dict[str, Callable[[], object]]:
    """Traced calls of a layer: "forward" and "both" (and backward)."""

    def forward(x):
        return layer(x)

    def both(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        sources = [x, layer.kernel.value]
        return tape.gradient(y, sources, output_gradients=dy)

    dy = tf.random.normal(layer.compute_output_shape(x.shape))
    calls = {}
    with form:
        for name, function, arguments in (
            ("forward", forward, (x,)),
            ("both", both, (x, dy)),
        ):
            traced = tf.function(
                function, jit_compile=_JIT_COMPILE.value or None
            ).get_concrete_function(*arguments)
            calls[name] = functools.partial(_call_and_wait, traced, arguments)
    return calls


def _call_and_wait(function: Callable, arguments: tuple) -> None:
    for tensor in tf.nest.flatten(function(*arguments)):
        tensor.numpy()


def _time_shape(
    shape: tuple, torch: timing.Child | None
) -> dict[str, dict[str, float]]:
    """Returns seconds by pass ("forward", "both") and case."""
    _, size, channels, width, stride = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_BATCH_SIZE.value, size, size, channels))
    x = tf.constant(x, "float32")
    arguments = {
        "filters": channels,
        "kernel_size": 3,
        "strides": stride,
        "padding": "same",
        "groups": channels // width,
        "use_bias": False,
    }
    nothing = contextlib.nullcontext
    cases = {
        "ours": (layers.GroupedConv2D(**arguments), nothing()),
        "portable": (layers.GroupedConv2D(**arguments), layers.portable_ops()),
        "stock": (keras.layers.Conv2D(**arguments), nothing()),
    }
    calls = {}
    for name, (layer, form) in cases.items():
        layer.build(x.shape)
        calls[name] = _case(layer, form, x)
    if torch:
        calls["torch"] = {
            which: functools.partial(
                torch.call, (which, _BATCH_SIZE.value, shape)
            )
            for which in ("forward", "both")
        }
    return {
        which: timing.alternate(
            {name: call[which] for name, call in calls.items()},
            rounds=_ROUNDS.value,
            seconds=5.0,
        )
        for which in ("forward", "both")
    }


def _header(threads: int) -> dict[str, object]:
    rate = timing.product_rate(lambda a, b: tf.matmul(a, b).numpy())
    return {
        "cpu": timing.cpu_model(),
        "threads": threads,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "setting": str(processor.setting()),
        "jit_compile": _JIT_COMPILE.value,
        "batch_size": _BATCH_SIZE.value,
        "fp32_product_gmac_per_s": round(rate, 1),
    }


def _print_row(shape: tuple, times: dict[str, dict[str, float]]) -> None:
    network, size, channels, width, stride = shape
    row = f"{network:14}{size:4} px {channels:4} ch / {width} s{stride}"
    for which, medians in times.items():
        row += f"  {which} {medians['ours'] * 1e3:7.2f} ms"
        for name, seconds in medians.items():
            if name != "ours":
                row += f" {name} {seconds / medians['ours']:6.2f}x"
    print(row, flush=True)


def main(argv: list[str]) -> None:
    """Prints one row per layer: our milliseconds, others as multiples."""
    del argv
    threads = timing.cpu_threads()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    header = _header(threads)
    torch = None
    if _TORCH_PYTHON.value:
        torch = timing.Child(
            "PyTorch", _TORCH_PYTHON.value, _TORCH_PROGRAM, threads
        )
        header["torch"] = torch.greeting
    for name, value in header.items():
        print(f"{name}: {value}")
    rows = []
    for shape in _SHAPES:
        times = _time_shape(shape, torch)
        _print_row(shape, times)
        rows.append({"shape": shape, "seconds": times})
    if torch:
        torch.close()
    if _OUTPUT.value:
        timing.write_json(_OUTPUT.value, {"header": header, "rows": rows})


if __name__ == "__main__":
    app.run(main)
