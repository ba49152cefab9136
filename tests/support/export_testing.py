"""Small networks and images that the tests of the export share."""

import importlib.util
import types

import keras
import numpy as np

import keras_regnet
from tests.support import paths

SIZE = 32
CLASSES = 4

# One of each kind: plain, squeeze-and-excitation, inverted bottlenecks.
NETWORKS = {
    "x": keras_regnet.RegNetConfig(
        depth=3, w_0=8, w_a=8, w_m=2.0, group_width=4, stem_width=8
    ),
    "y": keras_regnet.RegNetConfig(
        depth=3, w_0=8, w_a=8, w_m=2.0, group_width=4, stem_width=8,
        se_ratio=0.25,
    ),
    "z": keras_regnet.AnyNetConfig(
        depths=(1, 2), widths=(8, 16), strides=(2, 2), group_widths=8,
        bottleneck_ratios=0.25, block="z", se_ratio=0.25, activation="silu",
        stem_width=8, head_width=32,
    ),
}  # fmt: skip


def network(
    kind: object, size: int | None = None, pixels: np.ndarray | None = None
) -> keras.Model:
    """Returns a network that tells images apart, as a trained one does.

    Args:
      kind: one of `NETWORKS`, a configuration or a variant.
      size: of the images, None for any.
      pixels: what it is to tell apart.
    """
    keras.utils.set_random_seed(7)
    model = keras_regnet.build(
        NETWORKS.get(kind, kind),
        input_shape=(size, size, 3),
        classes=CLASSES,
    )
    pixels = images(32) if pixels is None else pixels
    # Moving statistics of real features; the initial ones are of none.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(pixels, training=True)
    head = model.get_layer("head_fc")
    features = keras.Model(model.input, head.input)(pixels)
    features = keras.ops.convert_to_numpy(features)
    mean = features.mean(axis=0)
    scale = 3 / (features - mean).std() / len(mean) ** 0.5
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=head.kernel.shape) * scale
    head.set_weights([kernel, -mean @ kernel])
    return model


def images(count: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """Returns smooth uint8 images, as photographs are, of many colors."""
    rng = np.random.default_rng(count)
    coarse = rng.uniform(0, 255, (count, 5, 5, 3)).astype("float32")
    smooth = keras.ops.image.resize(coarse, (height, width), "bilinear")
    noise = rng.normal(0, 8, smooth.shape)
    return np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)


def client() -> types.ModuleType:
    """Returns examples/classify.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "classify", paths.ROOT / "examples" / "classify.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
