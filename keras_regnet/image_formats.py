"""Decoders of the formats that TensorFlow reads in part, or without limit.

Each takes the bytes of a file and returns its pixels as stored, uint8 (height,
width, 3), or fails with a message before the memory for them is taken.
"""

import numpy as np
import tensorflow as tf

from keras_regnet.image_bytes import BYTES
from keras_regnet.image_bytes import integers
from keras_regnet.image_bytes import powers
from keras_regnet.image_bytes import refuse
from keras_regnet.image_bytes import required
from keras_regnet.image_bytes import substr

# Pillow's limit, and TensorFlow's for JPEG.
MAX_PIXELS = 2**29 // 3
_TRUNCATED = "the file is truncated"
_TOO_LARGE = f"the file declares more than {MAX_PIXELS} pixels"

_BMP_FILE_HEADER = 14
_BMP_HEADER_OF_1990 = 12
_BMP_FIELDS = 3
_BMP_REFUSED = (
    "a BMP file with run lengths or of an unknown depth: convert it to PNG"
)
# Of red, green and blue where a file with 16 bits does not say.
_BMP_MASKS = np.array((0x7C00, 0x3E0, 0x1F), np.int64)

_WEBP_FLAGS = 20
_GIF_SCREEN = 13
# Zeros, so that what a truncated file lacks can be looked at.
_GIF_PADDING = 16
_GIF_FRAME, _GIF_EXTENSION, _GIF_CONTROL = 0x2C, 0x21, 0xF9


def _limited(source, *sides):
    pixels = tf.reduce_prod(tf.stack(sides))
    positive = tf.reduce_all(tf.stack(sides) > 0)
    source = required(source, positive, "the file declares no pixels")
    return required(source, pixels <= MAX_PIXELS, _TOO_LARGE)


def decode_png(source: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG: of 16 bits, the upper 8; alpha is left out."""
    source = _limited(source, *integers(source, 16, [4, 4], big_endian=True))
    return tf.io.decode_png(source, channels=3)


def decode_webp(source: tf.Tensor) -> tf.Tensor:
    """Decodes a WebP file: of an animation the first frame; no alpha."""
    if not hasattr(tf.io, "decode_webp"):
        return refuse(
            source, "this TensorFlow reads no WebP: convert it to PNG"
        )
    kind = substr(source, 12, 4)
    (lossy,), (lossless,) = integers(source, 26, [4]), integers(source, 21, [4])
    sides = [
        tf.where(
            kind == "VP8X",
            canvas + 1,
            tf.where(
                kind == "VP8L",
                lossless // 2 ** (14 * index) % 2**14 + 1,
                lossy // 2 ** (16 * index) % 2**14,
            ),
        )
        for index, canvas in enumerate(integers(source, 24, [3, 3]))
    ]
    frames = tf.strings.length(source)
    without = tf.strings.regex_replace(source, "ANMF", "")
    frames = tf.maximum((frames - tf.strings.length(without)) // 4, 1)
    # All frames are decoded at once.
    source = _limited(source, *sides, tf.cast(frames, tf.int64))
    source = tf.cond(
        kind == "VP8X", lambda: _with_room_for_alpha(source), lambda: source
    )
    return tf.io.decode_webp(source)[0, ..., :3]


def _with_room_for_alpha(source):
    """Sets the flag of an animated WebP that says that it has alpha.

    TensorFlow 2.21 has room for three colors where it is not set, and writes
    the four of each frame, past the end of its memory.
    """
    (flags,) = integers(source, _WEBP_FLAGS, [1])
    is_animated, has_alpha = flags // 2 % 2, flags // 16 % 2
    flags += 16 * is_animated * (1 - has_alpha)
    return tf.strings.join(
        [
            substr(source, 0, _WEBP_FLAGS),
            tf.gather(BYTES, flags),
            substr(source, _WEBP_FLAGS + 1, tf.strings.length(source)),
        ]
    )


def decode_gif(source: tf.Tensor) -> tf.Tensor:
    """Decodes a GIF's first frame, on the screen that it lies in."""
    source = tf.strings.join([source, b"\0" * _GIF_PADDING])
    data = tf.cast(tf.io.decode_raw(source, tf.uint8), tf.int64)
    shared = _gif_palette_bytes(data[10])
    at, fill = _gif_first_frame(data, _GIF_SCREEN + shared)
    width, height = integers(source, 6, [2, 2])
    left, top, wide, high, flags = integers(source, at + 1, [2, 2, 2, 2, 1])
    width = tf.maximum(width, left + wide)
    height = tf.maximum(height, top + high)
    own = _gif_palette_bytes(flags)
    end = _gif_blocks_end(data, at + 11 + own)
    # Without what follows, without what says that a color is transparent, and
    # in the corner.
    alone = tf.strings.join(
        [
            substr(source, 0, _GIF_SCREEN + shared),
            b",\0\0\0\0",
            substr(source, at + 5, end - at - 5),
            b";",
        ]
    )
    whole = end <= tf.size(data, tf.int64) - _GIF_PADDING
    alone = required(alone, whole, _TRUNCATED)
    alone = _limited(alone, width, height)
    frame = tf.io.decode_gif(alone)[0]
    place = [[top, height - top - high], [left, width - left - wide], [0, 0]]
    palette = tf.where(own > 0, at + 10, _GIF_SCREEN)
    color = integers(source, palette + 3 * fill, [1, 1, 1])
    inside = tf.pad(tf.ones_like(frame, tf.bool), place)
    return tf.where(
        inside, tf.pad(frame, place), tf.cast(tf.stack(color), tf.uint8)
    )


def _gif_palette_bytes(flags):
    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)


def _gif_blocks_end(data, at):
    """Returns where a row of blocks, each behind its length, has its end."""
    size = tf.size(data, tf.int64)
    at, _ = tf.while_loop(
        lambda at, length: (length > 0) & (at < size),
        lambda at, length: (
            at + 1 + tf.gather(data, at),
            tf.gather(data, at),
        ),
        (at, tf.constant(1, tf.int64)),
    )
    return tf.minimum(at, size)


def _gif_first_frame(data, at):
    """Returns where the first frame is, and which color lies around it."""
    size = tf.size(data, tf.int64) - _GIF_PADDING

    def next_block(at, fill):
        kind, label, _, flags, _, _, index = tf.unstack(
            tf.gather(data, at + np.arange(7)), num=7
        )
        is_extension = kind == _GIF_EXTENSION
        transparent = is_extension & (label == _GIF_CONTROL) & (flags % 2 == 1)
        after = tf.cond(
            is_extension,
            lambda: _gif_blocks_end(data, at + 2),
            lambda: at + 1,
        )
        return after, tf.where(transparent, index, fill)

    at, fill = tf.while_loop(
        lambda at, fill: (
            (at < size) & (tf.gather(data, tf.minimum(at, size)) != _GIF_FRAME)
        ),
        next_block,
        (at, tf.constant(0, tf.int64)),
    )
    return tf.minimum(at, size), fill


def decode_bmp(source: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP that is not compressed, of any depth."""
    numbers = integers(source, 10, [4, 4, 4, 4, 2, 2, *[4] * 9])
    start, header, *new = numbers[:6]
    compression, _, _, _, colors, _, *masks = numbers[6:]
    is_old = header == _BMP_HEADER_OF_1990
    width, height, _, bits = tf.unstack(
        tf.where(is_old, integers(source, 18, [2, 2, 2, 2]), new)
    )
    plain = is_old | (compression == 0)
    by_palette = plain & _is_one_of(bits, 1, 4, 8)
    in_bytes = plain & _is_one_of(bits, 24, 32)
    by_fields = (plain & (bits == 16)) | (
        (compression == _BMP_FIELDS) & _is_one_of(bits, 16, 32)
    )
    source = required(source, by_palette | in_bytes | by_fields, _BMP_REFUSED)
    first = _BMP_FILE_HEADER + header + tf.cast(by_palette, tf.int64)
    source = required(source, start >= first, "the pixels begin too early")
    # A negative number: the top row comes first.
    top_first = height >= 2**31
    height = tf.where(top_first, 2**32 - height, height)
    source = _limited(source, width, height)
    rows = _bmp_rows(substr(source, start, 2**31 - 1), width, height, bits)
    size = bits // 8

    def pixels():
        return tf.reshape(rows[:, : width * size], [height, width, size])

    def of_palette():
        at = _BMP_FILE_HEADER + header
        entry = tf.where(is_old, *np.array((3, 4)))
        used = tf.where(is_old | (colors == 0), 2**bits, colors)
        used = tf.minimum(used, 256)
        palette = _bmp_palette(substr(source, at, used * entry), entry)
        return tf.gather(palette, _bmp_indices(rows, width, bits))

    def of_fields():
        return _bmp_fields(pixels(), tf.where(plain, _BMP_MASKS, masks))

    image = tf.switch_case(
        tf.argmax([in_bytes, by_palette, by_fields], output_type=tf.int32),
        [lambda: pixels()[..., 2::-1], of_palette, of_fields],
    )
    return tf.reverse(image, tf.where([~top_first])[:, 0])


def _is_one_of(number, *numbers):
    return tf.reduce_any(number == np.array(numbers))


def _bmp_rows(stored, width, height, bits):
    """Returns the bytes of each row."""
    stride = (width * bits + 31) // 32 * 4
    # The last row may lack what fills it up.
    needed = stride * (height - 1) + (width * bits + 7) // 8
    whole = tf.cast(tf.strings.length(stored), tf.int64) >= needed
    stored = tf.strings.join([required(stored, whole, _TRUNCATED), b"\0" * 3])
    stored = substr(stored, 0, stride * height)
    return tf.reshape(tf.io.decode_raw(stored, tf.uint8), [height, stride])


def _bmp_palette(stored, entry):
    """Returns 256 colors, those that are not stored black."""
    data = tf.io.decode_raw(stored, tf.uint8, fixed_length=4 * 256)
    return tf.reshape(data[: 256 * entry], [256, entry])[:, 2::-1]


def _bmp_indices(rows, width, bits):
    """Returns the numbers that a row's bytes hold, high bits first."""
    shifts = tf.cast(tf.range(8 - bits, -1, -bits), tf.uint8)
    indices = tf.bitwise.bitwise_and(
        tf.bitwise.right_shift(rows[..., None], shifts),
        tf.cast(2**bits - 1, tf.uint8),
    )
    indices = tf.reshape(indices, [tf.shape(rows)[0], -1])[:, :width]
    return tf.cast(indices, tf.int32)


def _bmp_fields(pixels, masks):
    """Returns the bits of each color, stretched to 0..255."""
    worth = tf.constant(powers(4))[: tf.shape(pixels)[-1]]
    values = tf.reduce_sum(tf.cast(pixels, tf.int64) * worth, axis=-1)
    lowest = tf.maximum(tf.bitwise.bitwise_and(masks, -masks), 1)
    colors = tf.bitwise.bitwise_and(values[..., None], masks) // lowest
    return tf.cast(colors * 255 // tf.maximum(masks // lowest, 1), tf.uint8)
