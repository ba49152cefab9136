"""Images in any form that people have them in, as arrays of pixels.

Paths, bytes of files, PIL images (known by their methods: Pillow need not be
installed), arrays and tensors, and lists of them.
"""

import os
import pathlib
import re
import warnings
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

# Of red, green and blue, as TensorFlow makes an image gray.
_GRAY = (0.2989, 0.5870, 0.1140)
# Exif's tag, and for each of its values: whether height and width are
# exchanged, and which of them are mirrored then.
_ORIENTATION = 0x0112
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()),
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}
_MAX_PIXEL = 255
# What an interpolation may leave of a pixel at the end of the range.
_ROUNDING = 1e-2


def is_symbolic(images: Any) -> bool:
    """Returns whether images are a tensor without values, as in tf.data."""
    if keras.backend.is_keras_tensor(images):
        return True
    return hasattr(images, "graph") and not hasattr(images, "numpy")


def load(images: Any, channels: int, data_format: str) -> list[np.ndarray]:
    """Returns batches of images, each of one size.

    Args:
      images: see `RegNetModel.preprocess`.
      channels: of the result: RGB is made gray for 1, gray is repeated.
      data_format: of arrays and of the result.

    Returns:
      float32 arrays (n, height, width, channels), or channels first.

    Raises:
      ValueError: see `RegNetModel.preprocess`.
    """
    if _is_text(images) and len(images.shape) == 1:
        # What `tf.io.read_file` returned, of several files.
        images = images.numpy().tolist()
    in_list = isinstance(images, list | tuple)
    several = list(images) if in_list else [images]
    if not several:
        raise ValueError("`images` must not be empty. Received: images=[]")
    batches = []
    for image in several:
        batches.append(_batch(image, channels, data_format, in_list))
    if sum(map(len, batches)) == 0:
        raise ValueError(
            f"`images` must not be empty. Received: shape={batches[0].shape}"
        )
    return batches


def decode(content: bytes, channels: int, name: str) -> np.ndarray:
    """Returns the pixels of an image file.

    Args:
      content: its bytes.
      channels: 3 for RGB, 1 for gray.
      name: of the file, for errors.

    Returns:
      uint8 (height, width, channels).

    Raises:
      ValueError: if it is not an image that can be read.
    """
    import tensorflow as tf

    from keras_regnet import image_bytes
    from keras_regnet import image_files

    try:
        return image_files.decode(tf.constant(content), channels).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"Not an image that can be read: {name} "
            f"({image_bytes.reason(error)})"
        ) from error


def _is_text(images):
    """Returns whether images are TensorFlow's bytes of files."""
    return hasattr(images, "numpy") and getattr(images, "dtype", 0) == "string"


def _batch(image, channels, data_format, in_list):
    """Returns one item of `images` as a batch."""
    if isinstance(image, str | os.PathLike):
        return _of_file(_read(image), channels, data_format, image)
    if callable(getattr(image, "read", None)):
        # A file that is open, or that a server got.
        image = image.read()
    if _is_text(image):
        image = image.numpy()
    if isinstance(image, bytes | bytearray | memoryview):
        name = f"{len(image)} bytes"
        return _of_file(bytes(image), channels, data_format, name)
    if _is_pil(image):
        return _of_pixels(_pixels_of_pil(image), channels, data_format)
    return _of_array(image, channels, data_format, in_list)


def check_colors(channels: int) -> None:
    """Raises unless files, which have colors, are images of a model."""
    if channels not in (1, 3):
        raise ValueError(
            f"`images` must be arrays for a model of {channels} channels: "
            "files and PIL images have 1 or 3. Received: an image in color"
        )


def _read(name):
    if re.match(r"\w+://", str(name)):
        raise ValueError(
            "`images` must be files of this machine, or the bytes that a URL "
            f"gave. Received: {str(name)!r}"
        )
    path = pathlib.Path(name).expanduser()
    if path.is_dir():
        raise ValueError(
            "`images` must be a file or a list of files, and not a folder. "
            f"Received: {str(path)!r}"
        )
    if not path.is_file():
        raise ValueError(
            "`images` names a file that does not exist. "
            f"Received: {str(path)!r}"
        )
    return path.read_bytes()


def _of_file(content, channels, data_format, name):
    gray = 1 if channels == 1 else 3
    pixels = decode(content, gray, str(name))
    return _of_pixels(pixels, channels, data_format)


def _is_pil(image):
    return all(hasattr(image, x) for x in ("convert", "getexif", "mode"))


def _pixels_of_pil(image):
    """Returns RGB or gray, the way up that the camera was held."""
    if image.mode.startswith("I;16"):
        # Of 16 bits the upper 8, as of a file.
        pixels = (np.asarray(image) // 256).astype("uint8")[:, :, None]
    elif image.mode in ("I", "F"):
        raise ValueError(
            "`images` must be of 8 or 16 bits a channel. "
            f"Received: a PIL image of mode {image.mode!r}"
        )
    else:
        pixels = np.asarray(image.convert("RGB"))
    swapped, mirrored = _TURNS.get(
        image.getexif().get(_ORIENTATION, 1), _TURNS[1]
    )
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    return np.flip(pixels, mirrored)


def _of_pixels(pixels, channels, data_format):
    """Returns uint8 (height, width, 1 or 3) as a batch for a model."""
    check_colors(channels)
    batch = _with_channels(pixels[None].astype("float32"), channels, -1)
    if data_format == "channels_first":
        batch = np.moveaxis(batch, -1, 1)
    return np.ascontiguousarray(batch)


def _of_array(image, channels, data_format, in_list):
    array = _as_array(image)
    axis = -1 if data_format == "channels_last" else -3
    if array.ndim == 2:
        array = np.expand_dims(array, axis)
    if array.ndim == 3:
        array = array[None]
    elif array.ndim != 4 or in_list:
        order = {-1: "height, width, channels", -3: "channels, height, width"}
        more = "" if in_list else f", or (n, {order[axis]})"
        raise ValueError(
            "`images` must be arrays (height, width) or "
            f"({order[axis]}){more}. Received: shape={array.shape}"
        )
    if 0 in array.shape[1:]:
        raise ValueError(
            f"`images` must have pixels. Received: shape={array.shape}"
        )
    check_channels(array.shape, channels, axis)
    _check_values(array)
    return _with_channels(array.astype("float32"), channels, axis)


def _as_array(image):
    if hasattr(image, "ragged_rank"):
        # As an array the smaller images would have black margins.
        raise ValueError(
            "`images` of several sizes must be a list. Received: a ragged "
            f"tensor of shape={tuple(image.shape)}"
        )
    if keras.ops.is_tensor(image):
        image = keras.ops.convert_to_numpy(image)
    elif hasattr(image, "detach"):
        # PyTorch's, under another backend; on a GPU NumPy cannot read it.
        image = image.detach().cpu()
    is_array = hasattr(image, "__array__") and not isinstance(image, Mapping)
    array = np.asarray(image) if is_array else np.empty((), object)
    # bfloat16 is a kind of its own.
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise ValueError(
            "`images` must be paths, bytes of image files, PIL images, arrays "
            "or tensors of numbers, or a list of them. Received: "
            f"{type(image).__name__}"
            + (f" of dtype {array.dtype}" if is_array else "")
        )
    return array


def check_channels(shape: Sequence[Any], channels: int, axis: int) -> None:
    """Raises unless images of a shape can be made those of a model.

    Args:
      shape: of images.
      channels: of the model.
      axis: of the channels, -1 or -3.
    """
    own = shape[axis]
    allowed = {channels, 1, 3} if channels in (1, 3) else {channels}
    if own in allowed:
        return
    hint = ""
    if own == 4 and channels == 3:
        hint = " Leave alpha out: images[..., :3]."
        if axis == -3:
            hint = " Leave alpha out: images[..., :3, :, :]."
    order = "last" if axis == -1 else "first"
    raise ValueError(
        f"`images` must have {' or '.join(map(str, sorted(allowed)))} "
        f"channels, on the {order} of an image's axes.{hint} "
        f"Received: {own} channels of shape={tuple(shape)}"
    )


def _check_values(array):
    """Raises or warns where numbers are no pixels in 0..255."""
    if array.dtype == np.uint8 or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    if not (low >= -_ROUNDING and high <= _MAX_PIXEL + _ROUNDING):
        raise ValueError(
            "`images` must be pixels in 0..255, not normalized. "
            f"Received: numbers from {low:.4g} to {high:.4g}"
        )
    is_float = array.dtype.kind not in "iu"
    if is_float and 0 < high <= 1:
        warnings.warn(
            "Pixels are expected in 0..255, and those of `images` are all in "
            "0..1: multiply them by 255 if they were divided by it.",
            stacklevel=7,  # Who called `preprocess`.
        )


def _with_channels(array, channels, axis):
    own = array.shape[axis]
    if own == channels:
        return array
    if channels == 1:
        # A product of float32, rounded as TensorFlow does it for files.
        gray = np.tensordot(array, np.array(_GRAY, "float32"), axes=(axis, 0))
        return np.expand_dims(gray, axis)
    return np.repeat(array, channels, axis=axis)
