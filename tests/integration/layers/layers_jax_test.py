"""Tests of keras_regnet.layers on the JAX backend.

Keras has one backend per process, and this file may be run together with
tests of another one: the checks run in a process of their own.
"""

import json
import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests.support import paths

# Checks by name; every one is a function without arguments.
_CHECKS = {}


def _check(function):
    _CHECKS[function.__name__] = function
    return function


def _expect_equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r} is not {expected!r}")


def _compare(**kwargs):
    """Our layer's value and gradients equal those of Keras's Conv2D."""
    import jax
    import keras
    import numpy as np

    from keras_regnet import layers

    data_format = kwargs.get("data_format", "channels_last")
    tolerance = 5e-2 if kwargs.get("dtype") == "mixed_bfloat16" else 1e-4
    shape = (2, 9, 8, 12) if data_format == "channels_last" else (2, 12, 9, 8)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours = layers.GroupedConv2D(6, 3, groups=3, **kwargs)
    stock = keras.layers.Conv2D(6, 3, groups=3, **kwargs)
    for layer in (ours, stock):
        layer.build(shape)
    stock.set_weights(ours.get_weights())
    results = []
    for layer in (ours, stock):

        def loss(x, weights, layer=layer):
            y, _ = layer.stateless_call(weights, [], x)
            return (y.astype("float32") ** 2).sum()

        weights = [v.value for v in layer.trainable_variables]
        value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, weights)
        results.append([value, gradients[0], *gradients[1]])
    for actual, expected in zip(*results, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            np.asarray(actual, "float32") / scale,
            np.asarray(expected, "float32") / scale,
            atol=tolerance,
        )


@_check
def imports_no_tensorflow():
    import keras

    import keras_regnet.layers  # noqa: F401

    backend = keras.backend.backend()
    _expect_equal(backend, "jax")
    _expect_equal({"tensorflow", "torch"} & set(sys.modules), set())


@_check
def same_and_valid():
    _compare(padding="same")
    _compare(padding="valid")


@_check
def strides():
    _compare(padding="same", strides=2)
    _compare(padding="valid", strides=(2, 3))


@_check
def dilation():
    _compare(padding="same", dilation_rate=2)


@_check
def channels_first():
    _compare(padding="same", data_format="channels_first", strides=2)


@_check
def bfloat16():
    _compare(padding="same", dtype="mixed_bfloat16")


@_check
def forward_mode():
    import jax
    import jax.numpy as jnp

    from keras_regnet import layers

    layer = layers.GroupedConv2D(4, 3, groups=2, use_bias=False)
    layer.build((1, 5, 5, 4))
    x = jnp.ones((1, 5, 5, 4))
    y, tangent = jax.jvp(layer, (x,), (x,))
    _expect_equal(bool(jnp.allclose(y, tangent, atol=1e-5)), True)


@_check
def differentiates_no_grouped_convolution():
    # XLA has no fast kernel for one on a CPU, least of all for its gradient.
    import jax
    import jax.numpy as jnp

    from keras_regnet import layers

    layer = layers.GroupedConv2D(64, 3, groups=16)
    layer.build((1, 5, 5, 64))
    gradient = jax.grad(lambda x: layer(x).sum())
    program = str(jax.make_jaxpr(gradient)(jnp.ones((1, 5, 5, 64))))
    counts = [
        int(line.split("=")[1])
        for line in program.split()
        if line.startswith(("feature_group_count=", "batch_group_count="))
    ]
    _expect_equal(set(counts), {1})


@_check
def trains_one_step():
    import keras
    import numpy as np

    from keras_regnet import layers

    inputs = keras.Input((8, 8, 4))
    x = layers.GroupedConv2D(8, 3, groups=2)(inputs)
    x = layers.PaddedMaxPooling2D()(layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    model.compile("sgd", "mse")
    x, y = np.ones((4, 8, 8, 4), "float32"), np.ones((4, 8), "float32")
    _expect_equal(np.isfinite(model.train_on_batch(x, y)), True)


def _run_checks():
    """Prints a JSON object: an empty string or the error, for each check."""
    results = {}
    for name, check in _CHECKS.items():
        try:
            check()
            results[name] = ""
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))


class JaxLayersTest(parameterized.TestCase):
    results = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        root = str(paths.ROOT)
        path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
        process = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--checks"],
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": path,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise AssertionError(process.stderr[-4000:])
        cls.results = json.loads(process.stdout.splitlines()[-1])

    @parameterized.parameters(*_CHECKS)
    def test(self, name):
        self.assertEqual(self.results[name], "")


if __name__ == "__main__":
    if sys.argv[1:] == ["--checks"]:
        _run_checks()
    else:
        absltest.main()
