"""Weights that were resolved: a file, and what a network must be to take it."""

import dataclasses
import functools
from pathlib import Path

import keras

from keras_regnet import imagenet
from keras_regnet import labels
from keras_regnet import model_record
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import assign
from keras_regnet.weights import mapping
from keras_regnet.weights import records
from keras_regnet.weights.detect import DetectedCheckpoint
from keras_regnet.weights.detect import OUR_FORMAT
from keras_regnet.weights.mapping import Source
from keras_regnet.weights.readers.tensors import Tensors
from keras_regnet.weights.records import WeightRecord

_HEAD = "head_fc/"


@dataclasses.dataclass(frozen=True, eq=False)
class ResolvedWeights:
    """Weights, and what a network must be to take them.

    Args:
      config: the network, with the padding and rounding of the weights.
      mean: of red, green and blue, which the model subtracts from 0..255.
      std: standard deviation, by which it divides.
      record: of the weights, None for none or those of an unknown file.
      path: the file, None for random weights.
      checkpoint: what the file holds, None for random weights.
      saved: the record of the model that the file, or the run it is of, was
        saved from; None if there is none.
      takes_classifier: whether a classifier of as many classes gets the file's
        values.
    """

    config: RegNetConfig | AnyNetConfig
    mean: tuple[float, ...] = records.IMAGENET_MEAN
    std: tuple[float, ...] = records.IMAGENET_STD
    record: WeightRecord | None = None
    path: Path | None = None
    checkpoint: DetectedCheckpoint | None = None
    takes_classifier: bool = True
    saved: "model_record.ModelRecord | None" = None

    @property
    def classes(self) -> int:
        """Outputs of the classifier in the file, 0 if there is none."""
        return self.checkpoint.classes if self.checkpoint else 0

    @property
    def evaluation_record(self) -> WeightRecord | None:
        """The record that tells how these weights are evaluated.

        It is that of the weights; for a file of unknown hash, that of the
        published sets it can be, if all of them are evaluated alike. None if
        it is not known.
        """
        if self.record or not self.checkpoint:
            return self.record
        of_network = records.of_format(
            self.checkpoint.format, self.checkpoint.variant()
        )
        candidates = [r for r in of_network if r.classes == self.classes]
        ways = {
            (r.test_size, r.resize, r.interpolation, r.antialias)
            for r in candidates
        }
        return candidates[0] if len(ways) == 1 else None

    @functools.cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each output of the classifier in the file, if known.

        Those beside the file, or of the model it was saved from; ImageNet's
        for the classifier of a published network in its publishers' formats.
        """
        if self.path is None or not self.classes:
            return None
        saved = self.saved.class_names if self.saved else None
        if saved is not None and len(saved) != self.classes:
            saved = None
        names = labels.find(self.path, self.classes, saved)
        if names is None and self._is_published_kind():
            known = imagenet.classes(self.classes)
            return None if known is None else known.names
        return names

    def _is_published_kind(self):
        """Whether the file is named, and as large, as a published one."""
        checkpoint = self.checkpoint
        if checkpoint is None or checkpoint.format == OUR_FORMAT:
            return self.record is not None
        published = records.of_format(checkpoint.format, checkpoint.variant())
        return any(r.classes == self.classes for r in published)

    def model_record(
        self, classes: int, normalizes: bool = True
    ) -> "model_record.ModelRecord":
        """Returns what a model that is built from these weights knows of them.

        Args:
          classes: outputs of its classifier, 0 if it has none.
          normalizes: whether the model subtracts the mean itself.
        """
        record = self.saved or model_record.ModelRecord()
        way = self.record
        if way is not None:
            record = dataclasses.replace(record, weights=way)
        elif self.saved is None:
            way = self.evaluation_record
        if way is not None:
            record = dataclasses.replace(
                record, image_size=(way.test_size,) * 2, crop=way.center_crop
            )
        is_same = self.takes_classifier and classes == self.classes
        return dataclasses.replace(
            record,
            class_names=self.class_names if is_same else None,
            mean=self.mean,
            std=self.std,
            normalizes=normalizes,
        )

    def without_weights(self) -> "ResolvedWeights":
        """Returns the same network and normalization, with random weights."""
        return dataclasses.replace(self, path=None, checkpoint=None)

    def without_classifier(self) -> "ResolvedWeights":
        """Returns the same weights, those of the classifier left out."""
        return dataclasses.replace(self, takes_classifier=False)

    def assign(self, model: keras.Model) -> None:
        """Gives a model the weights, or leaves it as it is.

        A classifier of another number of classes keeps its values.

        Args:
          model: built from `config`.

        Raises:
          ValueError: if they do not fit.
        """
        checkpoint = self.checkpoint
        if checkpoint is None:
            return
        if checkpoint.format == OUR_FORMAT:
            tensors, sources = _by_layer(model, checkpoint.tensors)
        else:
            tensors, sources = checkpoint.tensors, self._sources(checkpoint)
        head = {path for path in sources if path.startswith(_HEAD)}
        outputs = {v.shape[-1] for v in model.weights if v.path in head}
        takes_head = self.takes_classifier and outputs == {self.classes}
        try:
            assign.assign(
                model,
                tensors,
                sources,
                dropped=checkpoint.layouts[0].dropped,
                unfilled=() if takes_head else head,
                unused=() if takes_head else {sources[p].name for p in head},
                stem=mapping.first_kernel(self.config),
            )
        except ValueError as error:
            raise ValueError(
                f"The weights in {str(self.path)!r} do not fit the model "
                f"{model.name!r}: {error}"
            ) from error

    def _sources(self, checkpoint: DetectedCheckpoint) -> dict[str, Source]:
        """Returns where the model's variables are in another project's file."""
        record = self.record
        # A tag may stand for a file of another format than the caller's.
        same = record and record.format == checkpoint.format
        return mapping.of_format(
            self.config,
            checkpoint.format,
            channel_order=record.channel_order if record and same else None,
        )


def _by_layer(
    model: keras.Model, tensors: Tensors
) -> tuple[Tensors, dict[str, Source]]:
    """Returns tensors that Keras saved, under the variables' own paths."""
    paths = {
        f"{layer.name}/{number}": variable.path
        for layer in model.layers
        for number, variable in enumerate(layer.weights)
    }
    named = tensors.renamed(lambda name: paths.get(name, name))
    head_in_file = [name for name in named if name.startswith(_HEAD)]
    sources = {
        path: Source(path, "same") for path in (*paths.values(), *head_in_file)
    }
    return named, sources
