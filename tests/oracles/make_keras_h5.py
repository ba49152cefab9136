"""Writes tests/data/keras_h5.zip and keras_h5_outputs.npz.

Run in an environment of its own, with tensorflow and tf_keras (Keras 2):

    python tests/oracles/make_keras_h5.py

The files are what users of Keras 2 have: weights, and whole models, of
RegNets as its keras.applications builds them but smaller. The first stage is
as wide as the stem, so that shortcut and main path have kernels of one shape
there. Weights are multiples of 1/32, which a zip file makes small.
"""

import pathlib
import tempfile
import warnings
import zipfile
import zlib

import numpy as np
import tf_keras
from tf_keras.src.applications import regnet

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
# Even and odd: at an even size the kinds of padding differ.
IMAGE_SHAPE = (40, 33, 3)
NETWORK = dict(
    depths=(1, 2, 1, 1),
    widths=(32, 16, 16, 24),
    group_width=8,
    default_size=40,
    weights=None,
)


def images():
    """Returns uint8 images, (batch, height, width, channels)."""
    return np.random.default_rng(0).integers(0, 256, (2, *IMAGE_SHAPE), "u1")


def fill(model):
    """Gives every weight a value that depends on its name alone."""
    for variable in model.weights:
        rng = np.random.default_rng(zlib.crc32(variable.name.encode()))
        shape = variable.shape
        kind = variable.name.split("/")[-1].split(":")[0]
        if kind in ("gamma", "moving_variance"):
            values = rng.uniform(0.5, 1.5, shape)
        elif kind == "kernel":
            values = rng.normal(0, (1.5 / np.prod(shape[:-1])) ** 0.5, shape)
        else:
            values = rng.normal(0, 0.2, shape)
        variable.assign(np.round(values * 32) / 32)
    return model


def network(block, **arguments):
    """Returns one of Keras 2's RegNets."""
    return regnet.RegNet(block_type=block, **NETWORK, **arguments)


def weights_y():
    return network(
        "Y", model_name="regnety002", classes=5, input_shape=IMAGE_SHAPE
    )


def whole_x():
    model = network(
        "X",
        model_name="my_net",
        classes=7,
        include_preprocessing=False,
        input_shape=IMAGE_SHAPE,
    )
    model.compile("sgd", "mse")
    return model


def notop_x():
    return network("X", model_name="regnetx002", include_top=False)


def one_dense():
    base = network("X", model_name="base", include_top=False)
    inputs = tf_keras.Input(IMAGE_SHAPE)
    x = base(inputs, training=False)
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    x = tf_keras.layers.Dropout(0.5)(x)
    x = tf_keras.layers.Dense(3, activation="softmax", name="flowers")(x)
    return tf_keras.Model(inputs, x)


def two_dense():
    base = network("Y", model_name="base", include_top=False, pooling="avg")
    x = tf_keras.layers.Dense(8, activation="relu", name="hidden")(base.output)
    x = tf_keras.layers.Dropout(0.5)(x)
    x = tf_keras.layers.Dense(3, activation="softmax", name="flowers")(x)
    return tf_keras.Model(base.input, x, name="fine_tuned")


def sequential():
    base = network("X", model_name="base", include_top=False)
    model = tf_keras.Sequential(
        [
            tf_keras.Input(IMAGE_SHAPE),
            tf_keras.layers.RandomFlip("horizontal"),
            base,
            tf_keras.layers.GlobalMaxPooling2D(),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.Dense(3, use_bias=False),
        ]
    )
    model.compile("adam", "mse")
    return model


def numbered_weights():
    return weights_y()


def numbered_whole():
    return two_dense()


# What Keras 2 writes under these names depends on the suffix.
FILES = {
    weights_y: "weights_y.h5",
    whole_x: "whole_x.h5",
    notop_x: "notop_x.h5",
    one_dense: "one_dense.h5",
    two_dense: "two_dense.h5",
    sequential: "sequential.h5",
    numbered_weights: "numbered_weights.weights.h5",
    numbered_whole: "numbered_whole.keras",
}


def main():
    # Keras 2 says that .h5 is a legacy format, which is the point.
    warnings.filterwarnings("ignore")
    outputs = {"images": images()}
    archive = zipfile.ZipFile(
        DATA / "keras_h5.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
    )
    with archive, tempfile.TemporaryDirectory() as folder:
        for make, file in FILES.items():
            name = make.__name__
            model = fill(make())
            path = f"{folder}/{file}"
            if make in (weights_y, notop_x, numbered_weights):
                model.save_weights(path)
            else:
                model.save(path)
            archive.write(path, file)
            scale = 255 if make is whole_x else 1
            x = images().astype("f4") / scale
            outputs[name] = model(x, training=False).numpy()
            print(name, outputs[name].shape, outputs[name].ravel()[:3])
    np.savez_compressed(DATA / "keras_h5_outputs.npz", **outputs)


if __name__ == "__main__":
    main()
