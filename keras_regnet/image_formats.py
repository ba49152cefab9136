"""Decoders of the formats that TensorFlow reads in part, or without limit.

Each takes the bytes of a file and returns its pixels as stored, uint8 (height,
width, 3), or fails with a message before the memory for them is taken.
"""

import tensorflow as tf

from keras_regnet.image_bytes import integers
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
# Of blue, green and red where a file with 16 bits does not say.
_BMP_MASKS = (0x7C00, 0x3E0, 0x1F)

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
    return tf.io.decode_webp(source)[0, ..., :3]


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
        lambda at, length: (at + 1 + data[at], data[at]),
        (at, tf.constant(1, tf.int64)),
    )
    return tf.minimum(at, size)


def _gif_first_frame(data, at):
    """Returns where the first frame is, and which color lies around it."""
    size = tf.size(data, tf.int64) - _GIF_PADDING

    def next_block(at, fill):
        is_extension = data[at] == _GIF_EXTENSION
        is_control = is_extension & (data[at + 1] == _GIF_CONTROL)
        transparent = is_control & (data[at + 3] % 2 == 1)
        after = tf.cond(
            is_extension,
            lambda: _gif_blocks_end(data, at + 2),
            lambda: at + 1,
        )
        return after, tf.where(transparent, data[at + 6], fill)

    at, fill = tf.while_loop(
        lambda at, fill: (
            (at < size) & (data[tf.minimum(at, size)] != _GIF_FRAME)
        ),
        next_block,
        (at, tf.constant(0, tf.int64)),
    )
    return tf.minimum(at, size), fill


def decode_bmp(source: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP that is not compressed, of any depth."""
    start, header = integers(source, 10, [4, 4])
    is_old = header == _BMP_HEADER_OF_1990
    old = [*integers(source, 18, [2, 2, 2, 2]), *[tf.constant(0, tf.int64)] * 2]
    new = [
        *integers(source, 18, [4, 4, 2, 2, 4]),
        *integers(source, 46, [4]),
    ]
    width, height, _, bits, compression, colors = (
        tf.where(is_old, *pair) for pair in zip(old, new, strict=True)
    )
    # A negative number: the top row comes first.
    top_first = height >= 2**31
    height = tf.where(top_first, 2**32 - height, height)
    source = _limited(source, width, height)
    stride = (width * bits + 31) // 32 * 4
    stored = substr(source, start, tf.strings.length(source))
    # The last row may lack what fills it up.
    needed = stride * (height - 1) + (width * bits + 7) // 8
    whole = tf.cast(tf.strings.length(stored), tf.int64) >= needed
    stored = tf.strings.join([required(stored, whole, _TRUNCATED), b"\0" * 3])
    rows = tf.reshape(
        tf.io.decode_raw(substr(stored, 0, stride * height), tf.uint8),
        [height, stride],
    )

    def in_bytes():
        return _bmp_pixels(rows, width, bits)[..., 2::-1]

    def by_palette():
        at = _BMP_FILE_HEADER + header
        return _bmp_by_palette(source, rows, width, bits, at, colors, is_old)

    def by_fields():
        masks = integers(source, 54, [4, 4, 4])
        stated = compression == _BMP_FIELDS
        masks = [
            tf.where(stated, mask, default)
            for mask, default in zip(masks, _BMP_MASKS, strict=True)
        ]
        return _bmp_by_fields(_bmp_pixels(rows, width, bits), masks)

    plain = compression == 0
    small = tf.reduce_any(bits == tf.constant([1, 4, 8], tf.int64))
    whole = tf.reduce_any(bits == tf.constant([24, 32], tf.int64))
    fields = tf.reduce_any(bits == tf.constant([16, 32], tf.int64))
    is_it = (
        plain & whole,
        plain & small,
        fields & (plain | (compression == _BMP_FIELDS)),
        True,
    )
    image = tf.switch_case(
        tf.argmax(is_it, output_type=tf.int32),
        [in_bytes, by_palette, by_fields, lambda: refuse(source, _BMP_REFUSED)],
    )
    return tf.cond(top_first, lambda: image, lambda: image[::-1])


def _bmp_pixels(rows, width, bits):
    """Returns the bytes of each pixel."""
    size = bits // 8
    return tf.reshape(
        rows[:, : width * size], [tf.shape(rows, tf.int64)[0], width, size]
    )


def _bmp_by_palette(source, rows, width, bits, at, colors, is_old):
    size = tf.where(is_old, 3, 4)
    colors = tf.where(colors == 0, 2**bits, tf.minimum(colors, 256))
    stored = tf.io.decode_raw(
        substr(source, at, 4 * 256), tf.uint8, fixed_length=4 * 256
    )
    palette = tf.reshape(stored[: 256 * size], [256, size])[:, 2::-1]
    palette = tf.where(tf.range(256, dtype=tf.int64)[:, None] < colors,
                       palette, 0)  # fmt: skip
    shifts = tf.cast(tf.range(8 - bits, -1, -bits), tf.uint8)
    indices = tf.bitwise.bitwise_and(
        tf.bitwise.right_shift(rows[..., None], shifts),
        tf.cast(2**bits - 1, tf.uint8),
    )
    indices = tf.reshape(indices, [tf.shape(rows)[0], -1])[:, :width]
    return tf.gather(palette, tf.cast(indices, tf.int32))


def _bmp_by_fields(pixels, masks):
    """Returns the bits of each color, stretched to 0..255."""
    values = tf.zeros(tf.shape(pixels)[:2], tf.int64)
    for index in range(4):
        part = tf.cast(pixels[..., index : index + 1], tf.int64)
        values += tf.reduce_sum(part, axis=-1) * 256**index
    colors = []
    for mask in masks:
        lowest = tf.maximum(tf.bitwise.bitwise_and(mask, -mask), 1)
        most = tf.maximum(mask // lowest, 1)
        color = tf.bitwise.bitwise_and(values, mask) // lowest
        colors.append(color * 255 // most)
    return tf.cast(tf.stack(colors, axis=-1), tf.uint8)
