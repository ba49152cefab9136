"""The formats of a fuzzing run: a good file of each, and how it is read.

A reader says "equal" or "other", for a file that was read whole and holds the
good file's numbers or other ones, and raises for one that was refused.
"""

import dataclasses
import pathlib
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import keras_regnet
from keras_regnet import image_files
from keras_regnet import open_model
from keras_regnet import safe_files
from keras_regnet import weights as weights_lib
from keras_regnet.design_space import records
from tests.support import keras_h5_testing
from tests.support import oracle_weights
from training.config import recipes
from training.sweeps import files as sweep_files
from training.sweeps import regimes
from training.sweeps import spec
from training.workdir import files as run_files

_CONFIG = keras_regnet.AnyNetConfig((1, 1), (8, 16), stem_width=8, se_ratio=0.5)
_SENTINEL = 0.125


class HalfLoadedError(Exception):
    """A model was changed by a file that was refused."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Args:
      file: name of its files.
      make: writes a good file to a path.
      reader: returns the reader of files, made once in a process, from the
        path of the good one.
      refusals: exceptions by which a file is refused.
    """

    file: str
    make: Callable[[pathlib.Path], None]
    reader: Callable[[pathlib.Path], Callable[[pathlib.Path], str]]
    refusals: tuple[type[BaseException], ...] = (ValueError,)


def _model():
    return keras_regnet.AnyNet(_CONFIG, input_shape=(32, 32, 3), classes=4)


def _filled():
    model = _model()
    oracle_weights.fill(model)
    return model


def _make_safetensors(path):
    weights_lib.export(_filled(), path)


def _make_keras_2(path):
    keras_h5_testing.write(_filled(), path, "mine")


def _weights_reader(good):
    """Reads weights into a model, which is as it was or has all of them."""
    model = _model()
    expected = _values(_loaded(model, good))
    untouched = [np.full_like(value, _SENTINEL) for value in expected]

    def read(path):
        model.set_weights(untouched)
        try:
            _loaded(model, path)
        except Exception:
            if not _equal(_values(model), untouched):
                raise HalfLoadedError from None
            raise
        return "equal" if _equal(_values(model), expected) else "other"

    return read


def _loaded(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights_lib.resolve(path, _CONFIG, classes=4).assign(model)
    return model


def _values(model):
    return [np.asarray(variable) for variable in model.weights]


def _equal(values, others):
    return all(map(np.array_equal, values, others))


def _model_reader(good):
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3))
    expected = open_model.open_model(good)(images)

    def read(path):
        opened = open_model.open_model(path)
        outputs = opened(images)
        keras.backend.clear_session()
        return "equal" if np.array_equal(outputs, expected) else "other"

    return read


def _make_npz(path):
    rng = np.random.default_rng(0)
    np.savez(
        path,
        train_images=rng.integers(0, 256, (8, 8, 8), "uint8"),
        train_labels=np.arange(8) % 2,
    )


def _npz_reader(good):
    expected = safe_files.load_npz(good)

    def read(path):
        arrays = safe_files.load_npz(path)
        equal = arrays.keys() == expected.keys() and all(
            np.array_equal(arrays[name], expected[name]) for name in expected
        )
        return "equal" if equal else "other"

    return read


def _make_run_config(path):
    run_files.write_config(
        path.parent,
        recipes.get("quickstart"),
        weights_lib.resolve(None, _CONFIG),
    )


def _run_config_reader(good):
    """Reads the configuration in a folder of its own."""
    stored = run_files.stored_architecture(good.parent)
    expected = run_files.architecture_of(stored).config

    def read(path):
        folder = path.parent
        run_files.check(folder, recipes.get("quickstart"), _CONFIG)
        stored = run_files.stored_architecture(folder)
        found = run_files.architecture_of(stored).config
        return "equal" if found == expected else "other"

    return read


def _make_network(path):
    path.write_text(_CONFIG.to_json())


def _network_reader(good):
    del good

    def read(path):
        text = path.read_bytes().decode(errors="replace")
        config = keras_regnet.config.from_json(text)
        # Whatever is taken can be counted.
        keras_regnet.complexity(config)
        return "equal" if config == _CONFIG else "other"

    return read


def _make_trials(path):
    sweep = spec.Spec(regime=regimes.get("digits"), spaces=("RegNetX",), n=8)
    spec.sample(sweep, path.parent)


def _trials_reader(good):
    _, expected = spec.load(good.parent)
    described = (good.parent / sweep_files.SPEC).read_bytes()

    def read(path):
        (path.parent / sweep_files.SPEC).write_bytes(described)
        _, found = spec.load(path.parent)
        return "equal" if found == expected else "other"

    return read


def _make_records(path):
    config = keras_regnet.get_config("RegNetX-200MF")
    made = records.from_networks(
        [config] * 4, [10.0, 20.0, 30.0, 40.0], space="A", regime="mine"
    )
    if path.suffix == ".gz":
        records.write_packed(path, made)
    else:
        path.write_text("".join(r.to_json() + "\n" for r in made))


def _records_reader(good):
    expected = records.read(good)

    def read(path):
        return "equal" if records.read(path) == expected else "other"

    return read


def _make_image(path):
    pixels = oracle_weights.photos(32)[0].astype("uint8")
    Image.fromarray(pixels).save(path)


def _make_animation(path):
    pixels = oracle_weights.photos(48)[0].astype("uint8")
    image = Image.fromarray(pixels)
    image.save(path, save_all=True, append_images=[image.rotate(90)])


def _image_reader(good):
    decode = tf.function(
        image_files.decode, input_signature=[tf.TensorSpec((), tf.string)]
    )
    expected = decode(good.read_bytes()).numpy()

    def read(path):
        pixels = decode(path.read_bytes()).numpy()
        return "equal" if np.array_equal(pixels, expected) else "other"

    return read


_IMAGE_REFUSALS = (ValueError, tf.errors.InvalidArgumentError)


def _image(suffix):
    return Format(f"image{suffix}", _make_image, _image_reader, _IMAGE_REFUSALS)


FORMATS = {
    "weights.h5": Format(
        "a.weights.h5",
        lambda path: _filled().save_weights(path),
        _weights_reader,
    ),
    "h5 of Keras 2": Format("a.h5", _make_keras_2, _weights_reader),
    "keras": Format(
        "a.keras", lambda path: _filled().save(path), _weights_reader
    ),
    "keras, as a model": Format(
        "model.keras",
        lambda path: _filled().save(path),
        _model_reader,
    ),
    "safetensors": Format("a.safetensors", _make_safetensors, _weights_reader),
    "npz": Format("a.npz", _make_npz, _npz_reader),
    "config.json": Format("config.json", _make_run_config, _run_config_reader),
    "network.json": Format("network.json", _make_network, _network_reader),
    "trials.jsonl": Format("trials.jsonl", _make_trials, _trials_reader),
    "records.jsonl": Format("records.jsonl", _make_records, _records_reader),
    "records.jsonl.gz": Format(
        "records.jsonl.gz", _make_records, _records_reader
    ),
    "JPEG": _image(".jpg"),
    "PNG": _image(".png"),
    "GIF": _image(".gif"),
    "BMP": _image(".bmp"),
    "WebP": _image(".webp"),
    "WebP, animated": Format(
        "image.webp", _make_animation, _image_reader, _IMAGE_REFUSALS
    ),
}
