"""Finds the orientation of an image in its file, and turns the image.

Where Pillow looks: in Exif data, and in XMP if these do not say. JPEGs hold
them in segments, PNG and WebP in chunks.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_regnet.image_bytes import BYTES
from keras_regnet.image_bytes import contains
from keras_regnet.image_bytes import integers
from keras_regnet.image_bytes import powers
from keras_regnet.image_bytes import substr

_TAG = 0x0112
_TAG_BYTES = 12
# What a TIFF header begins with, and at least a tag behind it.
_TIFF = r"(II\*\x00|MM\x00\*|II\x00\*|MM\*\x00)\C{16}\C*"
# Bytes of a value by its type; what has another type is passed over.
_TYPE_BYTES = np.array((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0), np.int64)
# The types of whole numbers; a value of another is not an orientation.
_WHOLE = np.array((3, 4, 6, 8, 9, 13), np.int64)

_EXIF = "Exif\0\0"
_XMP = "http://ns.adobe.com/xap/1.0/\0"
_XMP_TAG = "tiff:Orientation"
# A JPEG without these texts is not to be turned.
JPEG_MARKS = (_EXIF, _XMP_TAG)
_APP1, _SCAN = 0xE1, 0xDA
# Markers without a length behind them: TEM, restarts, start and end.
_BARE = np.array((0x01, *range(0xD0, 0xDA)), np.int64)

# As ImageMagick stores Exif in a PNG, in hexadecimal digits.
_PROFILE = "Raw profile type exif"
_PNG_XMP = "XML:com.adobe.xmp"
_WEBP_FLAGS = (8, 4)
# Compressed texts are at most a thousand times as long.
_MAX_COMPRESSED = 2**17


@dataclasses.dataclass(frozen=True)
class _Container:
    """How a file is made of chunks.

    Args:
      start: of the first chunk.
      length: where in a chunk its length is.
      name: where its name is; eight bytes in, the contents begin.
      big_endian: order of the length's bytes.
      multiple: what lengths are filled up to.
      checksum: bytes behind the contents.
    """

    start: int
    length: int
    name: int
    big_endian: bool
    multiple: int
    checksum: int


_PNG = _Container(8, 0, 4, True, 1, 4)
_RIFF = _Container(12, 4, 0, False, 2, 0)


def jpeg_metadata(source: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the Exif data and the XMP before a JPEG's scan, "" for none."""
    data = tf.pad(tf.io.decode_raw(source, tf.uint8), [[0, 4]])
    # Any number of bytes 0xFF may stand in front of a marker's.
    markers = tf.where(
        (data[:-1] == 0xFF) & (data[1:] != 0) & (data[1:] != 0xFF)
    )[:, 0]
    end = tf.size(data, tf.int64) - 4
    markers = tf.concat([markers, [end]], axis=0)

    def next_segment(at, exif, xmp):
        at = markers[tf.searchsorted(markers, at[None])[0]]
        _, marker, *length = tf.unstack(
            tf.cast(data[at : at + 4], tf.int64), num=4
        )
        bare = tf.reduce_any(marker == _BARE)
        length = tf.where(~bare, 256 * length[0] + length[1], 0)
        body = substr(source, at + 4, tf.maximum(length - 2, 0))
        is_app1 = marker == _APP1
        is_exif = is_app1 & (substr(body, 0, len(_EXIF)) == _EXIF)
        is_xmp = is_app1 & (substr(body, 0, len(_XMP)) == _XMP)
        rest = substr(body, len(_EXIF), length)
        exif = tf.where(is_exif, tf.strings.join([exif, rest]), exif)
        xmp = tf.where(is_xmp, body, xmp)
        stop = (marker == _SCAN) | (at >= end)
        return tf.where(stop, end + 1, at + 2 + length), exif, xmp

    _, exif, xmp = tf.while_loop(
        lambda at, exif, xmp: at <= end,
        next_segment,
        (tf.constant(2, tf.int64), *no_metadata()),
    )
    return exif, xmp


def png_metadata(source: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the Exif data and the XMP of a PNG, "" for none."""

    def found():
        exif, profile, xmp = _of_chunks(
            source,
            ("eXIf", f"(tEXt|zTXt){_PROFILE}\\x00", f"iTXt{_PNG_XMP}\\x00"),
            _PNG,
        )
        exif = tf.cond(
            exif == "",
            lambda: _exif_of_profile(profile),
            lambda: _without_name(exif),
        )
        return exif, _xmp_of_text(xmp)

    marked = contains(source, "eXIf", _PROFILE, _PNG_XMP)
    return tf.cond(marked, found, no_metadata)


def webp_metadata(source: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the Exif data and the XMP of a WebP file, "" for none."""
    exif, xmp = _of_chunks(source, ("EXIF", "XMP "), _RIFF)
    # The first chunk says which of them count.
    (flags,) = integers(source, 20, [1])
    flags = tf.where(substr(source, 12, 4) == "VP8X", flags, 0)
    has_exif, has_xmp = (flags // flag % 2 == 1 for flag in _WEBP_FLAGS)
    return (
        tf.where(has_exif, _without_name(exif), ""),
        tf.where(has_xmp, xmp, ""),
    )


def no_metadata() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns no Exif data and no XMP."""
    return tf.constant(""), tf.constant("")


def orientation(exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """Returns what Exif data say, else XMP; int32, 1 (as stored) to 8."""
    tiff = tf.strings.regex_replace(exif, r"^(Exif\x00\x00)+", "")
    value = tf.cond(
        tf.strings.regex_full_match(tiff, _TIFF),
        lambda: _orientation_in_tiff(tiff),
        lambda: tf.constant(-1, tf.int64),
    )
    digit = tf.strings.regex_replace(
        xmp, rf"^\C*?{_XMP_TAG}(?:=\"|>)([0-9])\C*$", r"\1"
    )
    digit = tf.where(tf.strings.length(digit) == 1, digit, "1")
    by_xmp = tf.strings.to_number(digit, tf.int64)
    value = tf.where(value < 0, by_xmp, value)
    return tf.cast(tf.where((value >= 1) & (value <= 8), value, 1), tf.int32)


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image as its orientation says (Exif 2.3, table 6)."""
    transposed = orientation >= 5
    image = tf.transpose(image, tf.where(transposed, [1, 0, 2], [0, 1, 2]))
    # After the transposition: which of the axes have to be reversed.
    columns = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
    rows = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
    return tf.reverse(image, tf.where(tf.stack([rows, columns]))[:, 0])


def _of_chunks(source, beginnings, container):
    """Returns the first chunk, name first, that begins with each pattern."""
    end = tf.cast(tf.strings.length(source), tf.int64)

    def next_chunk(at, *found):
        (length,) = integers(
            source, at + container.length, [4], container.big_endian
        )
        # A length beyond the file's end must not overflow.
        length = tf.minimum(length, end)
        name = substr(source, at + container.name, 4)
        chunk = tf.strings.join([name, substr(source, at + 8, length)])
        start = substr(chunk, 0, 64)
        firsts = [
            tf.where(
                (earlier == "")
                & tf.strings.regex_full_match(start, f"{beginning}\\C*"),
                chunk,
                earlier,
            )
            for earlier, beginning in zip(found, beginnings, strict=True)
        ]
        length += length % container.multiple
        return at + 8 + length + container.checksum, *firsts

    return tf.while_loop(
        lambda at, *_: at < end,
        next_chunk,
        (
            tf.constant(container.start, tf.int64),
            *[tf.constant("")] * len(beginnings),
        ),
    )[1:]


def _orientation_in_tiff(tiff):
    """Returns the tag in the first directory of a TIFF header, -1 if none."""
    data = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int64)
    little = data[0] == ord("I")
    two, four = (
        tf.where(little, powers(count), powers(count)[::-1]) for count in (2, 4)
    )

    def number(values, weights):
        return tf.reduce_sum(values * weights, axis=-1)

    def bytes_at(at, count):
        at = tf.minimum(at, tf.size(data, tf.int64))
        return tf.pad(data[at : at + count], [[0, count]])[:count]

    start = number(data[4:8], four)
    whole = tf.maximum(tf.size(data, tf.int64) - start - 2, 0) // _TAG_BYTES
    count = _TAG_BYTES * tf.minimum(number(bytes_at(start, 2), two), whole)
    start = tf.minimum(start, tf.size(data, tf.int64)) + 2
    tags = tf.reshape(data[start : start + count], [-1, _TAG_BYTES])
    kinds = tf.minimum(number(tags[:, 2:4], two), len(_TYPE_BYTES) - 1)
    known = (tf.gather(_TYPE_BYTES, kinds) > 0) & (
        tf.reduce_sum(tags[:, 4:8], axis=-1) > 0
    )
    found = tf.boolean_mask(tags, (number(tags[:, :2], two) == _TAG) & known)
    tag = tf.concat([found, tf.zeros([1, _TAG_BYTES], tf.int64)], axis=0)[0]
    kind = number(tag[2:4], two)
    size = tf.gather(_TYPE_BYTES, kind)
    # Several values lie elsewhere if they are longer than four bytes.
    values = tf.where(
        number(tag[4:8], four) * size > 4,
        bytes_at(number(tag[8:], four), 4),
        tag[8:],
    )
    value = tf.where(size == 2, number(values[:2], two), values[0])
    value = tf.where(size == 4, number(values, four), value)
    value = tf.where(tf.reduce_any(kind == _WHOLE), value, 0)
    return tf.where(tf.shape(found)[0] == 0, tf.constant(-1, tf.int64), value)


def _without_name(chunk):
    return substr(chunk, 4, tf.strings.length(chunk))


def _exif_of_profile(chunk):
    """Returns Exif data from the text that ImageMagick makes of them."""
    start = len("tEXt" + _PROFILE) + 1
    text = tf.cond(
        substr(chunk, 0, 4) == "zTXt",
        lambda: _inflated(substr(chunk, start + 1, _MAX_COMPRESSED)),
        lambda: substr(chunk, start, tf.strings.length(chunk)),
    )
    # A line that is empty, the name, and the length; then the digits.
    text = tf.strings.regex_replace(text, r"^[^\n]*\n[^\n]*\n[^\n]*\n", "")
    digits = tf.strings.regex_replace(text, r"[^0-9a-fA-F]", "")
    digits = tf.strings.lower(digits)
    digits = substr(digits, 0, tf.strings.length(digits) // 2 * 2)
    values = tf.cast(tf.io.decode_raw(digits, tf.uint8), tf.int32)
    values = tf.where(
        values >= ord("a"), values - ord("a") + 10, values - ord("0")
    )
    pairs = tf.reshape(values, [-1, 2])
    return tf.strings.reduce_join(
        tf.gather(BYTES, 16 * pairs[:, 0] + pairs[:, 1])
    )


def _xmp_of_text(chunk):
    """Returns the XMP in a PNG's international text."""
    flags = len("iTXt" + _PNG_XMP) + 1
    return tf.cond(
        substr(chunk, flags, 1) == b"\1",
        # Behind the flags are a language and a translation, both empty.
        lambda: _inflated(substr(chunk, flags + 4, _MAX_COMPRESSED)),
        lambda: chunk,
    )


def _inflated(text):
    return tf.io.decode_compressed(text, "ZLIB")
