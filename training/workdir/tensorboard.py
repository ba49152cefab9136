"""TensorBoard events of a run: scalars, images and the graph.

Written without TensorBoard, in its formats; tf.summary.scalar and
tf.summary.image would need it.
"""

import contextlib
import errno
import pathlib

import tensorflow as tf

from training.config import config as train_config
from training.data import dataset
from training.data import pipeline as train_data
from training.workdir import files

FOLDER = "events"

# DATA_CLASS_SCALAR and DATA_CLASS_BLOB_SEQUENCE.
_SCALAR, _BLOBS = 1, 3
_IMAGES = 16


class Events:
    """A file that TensorBoard reads."""

    def __init__(self, folder: pathlib.Path):
        """Begins a file in the run folder."""
        self._folder = folder / FOLDER
        with self._named_faults():
            self._writer = tf.summary.create_file_writer(str(self._folder))

    def write(self, row: dict[str, float | None]) -> None:
        """Writes the metrics of an epoch, by the names of `files.columns`.

        Raises:
          OSError: with the folder's name, if they cannot be written.
        """
        metadata = _metadata("scalars", _SCALAR)
        with self._named_faults(), self._writer.as_default(int(row["step"])):
            for name in files.columns([row])[2:]:
                if row[name] is None:
                    continue
                value = tf.constant(row[name], tf.float32)
                tf.summary.write(name, value, metadata=metadata)
            self._writer.flush()

    def write_images(self, name: str, images: tf.Tensor, text: str) -> None:
        """Writes images.

        Args:
          name: title.
          images: (count, height, width, 3), in 0..255.
          text: description.
        """
        pixels = tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)
        _, height, width, _ = pixels.shape
        # TensorBoard's own form: width, height, and PNG files.
        files = [tf.io.encode_png(image) for image in pixels]
        value = tf.stack([str(width), str(height), *files])
        metadata = _metadata("images", _BLOBS, text)
        with self._named_faults(), self._writer.as_default(0):
            tf.summary.write(name, value, metadata=metadata)
            self._writer.flush()

    def write_graph(self, graph: tf.Graph) -> None:
        """Writes the operations of a function."""
        with self._named_faults(), self._writer.as_default(0):
            tf.summary.graph(graph.as_graph_def())
            self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        with self._named_faults():
            self._writer.close()

    @contextlib.contextmanager
    def _named_faults(self):
        try:
            yield
        except tf.errors.OpError as error:
            raise OSError(
                errno.EIO, f"Cannot write: {error.message}", str(self._folder)
            ) from error


def _metadata(plugin, data_class, text=""):
    metadata = tf.compat.v1.SummaryMetadata(summary_description=text)
    metadata.plugin_data.plugin_name = plugin
    metadata.data_class = data_class
    return metadata


def first_images(
    data: dataset.DataSet, config: train_config.TrainConfig
) -> tuple[tf.Tensor, str]:
    """Returns the first images of a run's first step, and their classes.

    They are augmented as in training. Where batches are mixed these are mixed
    among themselves, as by a replica that has so many.

    Returns:
      Images (count, height, width, 3) in 0..255, and the names of their classes
      with the weights of those that are mixed.
    """
    count = min(_IMAGES, config.global_batch_size)
    shard = train_data.Shard(batch_size=count)
    (batch,) = train_data.train_pipeline(data, config, 0, shard).take(1)
    images, labels = batch
    if labels.shape.rank == 1:
        labels = tf.one_hot(labels, len(data.class_names))
    names = []
    for target in labels.numpy():
        parts = [
            name if weight == 1 else f"{weight:.2f} {name}"
            for name, weight in zip(data.class_names, target, strict=True)
            if weight > 0
        ]
        names.append(" + ".join(parts) or "no label")
    return images, ", ".join(names)
