"""Bytes and numbers of a file, in TensorFlow's graph."""

import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

BYTES = [bytes([value]) for value in range(256)]


def substr(
    source: tf.Tensor, start: tf.Tensor | int, count: tf.Tensor | int
) -> tf.Tensor:
    """Returns a part of a string; what lies outside of it is left out."""
    count = count if isinstance(count, int) else tf.cast(count, tf.int32)
    # Few operations: each costs time at the start of a pipeline.
    if not (isinstance(start, int) and start == 0):
        start = tf.minimum(tf.cast(start, tf.int32), tf.strings.length(source))
    return tf.strings.substr(source, start, count)


def integers(
    source: tf.Tensor,
    start: tf.Tensor | int,
    sizes: Sequence[int],
    big_endian: bool = False,
) -> list[tf.Tensor]:
    """Returns unsigned int64 numbers that follow each other in a file.

    Args:
      source: string scalar; zeros follow its end.
      start: where the first number begins.
      sizes: bytes of each.
      big_endian: whether the highest byte comes first.
    """
    count = sum(sizes)
    data = tf.io.decode_raw(
        substr(source, start, count), tf.uint8, fixed_length=count
    )
    # One product for all, as every operation costs time at a run's start.
    worth = np.zeros((len(sizes), count), np.int64)
    first = 0
    for row, size in enumerate(sizes):
        order = -1 if big_endian else 1
        worth[row, first : first + size] = powers(size)[::order]
        first += size
    numbers = tf.reduce_sum(worth * tf.cast(data, tf.int64), axis=1)
    return tf.unstack(numbers, num=len(sizes))


def powers(count: int) -> np.ndarray:
    """Returns what the bytes of a little-endian number are worth."""
    return 256 ** np.arange(count, dtype=np.int64)


def contains(source: tf.Tensor, *texts: str) -> tf.Tensor:
    """Returns whether a file has one of some ASCII texts in it.

    Nothing in TensorFlow finds a text faster than a replacement does.
    """
    rest = source
    for text in texts:
        rest = tf.strings.regex_replace(
            rest, re.escape(text), "", replace_global=False
        )
    return tf.strings.length(rest) < tf.strings.length(source)


def required(
    source: tf.Tensor, condition: tf.Tensor, message: str
) -> tf.Tensor:
    """Returns a file if a condition holds, before anything is made of it."""
    check = tf.raw_ops.Assert(condition=condition, data=[message])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(source)


def refuse(source: tf.Tensor, message: str) -> tf.Tensor:
    """Fails, in the place of a decoder."""
    none = required(source, tf.constant(False), message)
    return tf.zeros([1, tf.strings.length(none), 3], tf.uint8)


def reason(error: tf.errors.OpError) -> str:
    """Returns what TensorFlow says of a file, without where in its graph."""
    text = re.split(r"\s*\[\[", error.message or "")[0].strip()
    # Of several lines, the last: those before it are about the graph.
    text = (text.splitlines() or ["unreadable"])[-1]
    text = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", text)
    return re.sub(r"^.*assertion failed: \[(.*)\]$", r"\1", text)
