"""ArrayRecord files: records by their number, without reading the others.

The package array_record comes with tensorflow-datasets on Linux.
"""

import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from training.data import dataset
from training.data.dataset import Split

# One record to a group: each can be read by itself.
_OPTIONS = "group_size:1"


def _package() -> tuple[ModuleType, ModuleType]:
    """Returns its modules, or says what to install."""
    try:
        from array_record.python import array_record_data_source
        from array_record.python import array_record_module
    except ImportError as error:
        raise ValueError(
            "ArrayRecord files need the package array_record (Linux): pip "
            "install array_record"
        ) from error
    return array_record_data_source, array_record_module


def writer(path: str) -> Any:
    """Returns a writer of a file, with `write(bytes)` and `close()`."""
    _, module = _package()
    return module.ArrayRecordWriter(path, _OPTIONS)


def split(
    paths: Sequence[pathlib.Path],
    labels: np.ndarray | None,
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
) -> Split:
    """Returns the examples of files by their index.

    Args:
      paths: the files, in the order of `labels`.
      labels: of all examples, None if they are only in the records.
      parse: record -> bytes of an image file, label; in graph.

    Raises:
      ValueError: if the files hold another number of records.
    """
    source_lib, _ = _package()
    try:
        source = source_lib.ArrayRecordDataSource([str(p) for p in paths])
        count = len(source)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"Not ArrayRecord files: {paths[0]} and so on ({error})"
        ) from error
    if labels is not None and count != len(labels):
        raise ValueError(
            f"{paths[0].parent} must hold {len(labels)} records of "
            f"{paths[0].name} and so on. Received: {count}"
        )

    def read(index):
        record = tf.numpy_function(
            lambda number: source[int(number)], [index], tf.string
        )
        return parse(tf.ensure_shape(record, []))

    return Split(
        num_examples=count,
        read=read,
        describe=lambda index: f"record {index} of {paths[0].parent}",
        labels=None if labels is None else dataset.label_array(labels),
        in_memory=False,
    )
