"""The card of a model on the hub: its README, for whoever finds it there.

It says what the model is, how it sees images and where it comes from; and of
its accuracy only what was published of these very numbers, or what the caller
says.
"""

import dataclasses
import json
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any

from keras_regnet import class_names as names_lib
from keras_regnet import model_record
from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import detect
from keras_regnet.weights import hub_config

NAME = "README.md"
# What the hub knows under another name.
_OTHER_LICENSES = ("seer-license",)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_PAPER = "arXiv 2003.13678"
# Fields of a run that say how a network was trained, in this order.
_RUN_FIELDS = (
    *("recipe", "dataset", "weights", "epochs", "global_batch_size"),
    *("image_size", "optimizer", "base_learning_rate", "weight_decay", "seed"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says.

    Args:
      source: what `weights=` takes for the model, such as "hf://owner/name".
      network: what the model is.
      record: what it knows of itself.
      classes: outputs of its classifier, 0 if it has none.
      channels: of its images.
      licence: of its weights, None if it is not known.
      metrics: numbers by what they are, such as {"top-1 in percent": 81.2}.
      settings: of the run that trained it, {} if there is none.
    """

    source: str
    network: RegNetConfig | AnyNetConfig
    record: "model_record.ModelRecord"
    classes: int
    channels: int
    licence: str | None
    metrics: Mapping[str, float]
    settings: Mapping[str, Any]

    def text(self) -> str:
        """Returns the card as Markdown."""
        sections = (
            self._title(),
            self._usage(),
            self._images(),
            self._class_names(),
            self._metrics(),
            self._training(),
            self._origin(),
        )
        body = "\n\n".join(section for section in sections if section)
        return f"---\n{self._front_matter()}---\n\n{body}\n"

    def _front_matter(self):
        """Returns YAML, in which strings may be those of JSON."""
        task = "image-classification" if self.classes else "image-feature-"
        task = task if self.classes else f"{task}extraction"
        values: dict[str, Any] = {
            "library_name": "timm",
            "pipeline_tag": task,
            "tags": [task, "timm", "keras", "keras_regnet", "regnet"],
        }
        if self.licence in _OTHER_LICENSES:
            values |= {"license": "other", "license_name": self.licence}
        elif self.licence:
            values["license"] = self.licence
        origin = self.record.weights
        if origin and origin.hub_id:
            values["base_model"] = origin.hub_id
        return "".join(
            f"{key}: {json.dumps(value)}\n" for key, value in values.items()
        )

    @property
    def _name(self):
        return detect.name_of(self.network)

    @property
    def _size(self):
        return self.record.image_size or hub_config.DEFAULT_SIZE

    def _title(self):
        height, width = self._size
        shape = (height, width, self.channels)
        counted = complexity(
            self.network,
            shape,
            classes=self.classes or 1,
            include_top=bool(self.classes),
        )
        what = f"{self.classes} classes" if self.classes else "no classifier"
        return (
            f"# {self._name[0].upper()}{self._name[1:]}, {what}\n\n"
            f"A RegNet ({_PAPER}) of {counted.params:,} parameters and "
            f"{counted.flops:,} multiply-adds at {height} x {width} pixels, "
            "written by keras_regnet with timm's names."
        )

    def _usage(self):
        network = json.dumps(self._name)
        lines = ["import keras_regnet", ""]
        if self._name.startswith("a network"):
            text = self.network.to_json()
            lines.append(f"network = keras_regnet.config.from_json('{text}')")
            network = "network"
        size = ", ".join(map(str, (*self._size, self.channels)))
        options = (
            f"classes={self.classes}" if self.classes else "include_top=False"
        )
        source = json.dumps(self.source)
        lines += [
            "model = keras_regnet.build(",
            f"    {network}, weights={source}, {options},",
            f"    input_shape=({size}))",
            'model(model.preprocess("photo.jpg"))',
        ]
        usage = "\n".join(lines)
        hub = self.source.removeprefix("hf://")
        place = "hf-hub" if hub != self.source else "local-dir"
        theirs = json.dumps(f"{place}:{hub}")
        return (
            f"## Use\n\n```python\n{usage}\n```\n\nWith timm, whose networks "
            "give logits:\n\n```python\nimport timm\n\n"
            f"model = timm.create_model({theirs}, pretrained=True)\n```"
        )

    def _images(self):
        crop = self.record.crop
        height, width = self._size
        covered = " x ".join(map(str, crop.resized((height, width))))
        smooth = "with" if crop.antialias else "without"
        mean, std = (
            ", ".join(f"{value:g}" for value in values)
            for values in (self.record.mean, self.record.std)
        )
        return (
            f"## Images\n\nRGB in 0..255, scaled until they cover {covered} "
            f"pixels ({crop.interpolation}, {smooth} antialiasing), of which "
            f"the center of {height} x {width} is cropped. keras_regnet's "
            f"model subtracts {mean} and divides by {std} itself."
        )

    def _class_names(self):
        names = self.record.class_names
        if not names:
            return ""
        return f"## Classes\n\n{names_lib.shown(map(_inline, names))}."

    def _metrics(self):
        if not self.metrics:
            return ""
        rows = "\n".join(
            f"- {_inline(name)}: {value:g}"
            for name, value in self.metrics.items()
        )
        return f"## Accuracy\n\n{rows}"

    def _training(self):
        rows = [
            f"| `{name}` | {_inline(str(self.settings[name]))} |"
            for name in _RUN_FIELDS
            if self.settings.get(name) not in (None, "")
        ]
        if not rows:
            return ""
        table = "\n".join(["| field | value |", "| --- | --- |", *rows])
        return (
            "## Training\n\nBy keras_regnet's trainer, from these fields among "
            f"others:\n\n{table}"
        )

    def _origin(self):
        origin = self.record.weights
        if origin is None:
            return ""
        return (
            "## Origin\n\nThe model started from the published weights "
            f"`{origin.full_tag}` of {origin.variant}, license "
            f"{origin.licence}."
        )


def _inline(text):
    """Returns a text that is no markup, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def check_metrics(metrics: Mapping[str, float] | None) -> None:
    """Raises unless metrics are finite numbers by what they are."""
    values = {} if metrics is None else metrics
    is_good = isinstance(values, Mapping) and all(
        isinstance(name, str)
        and isinstance(value, numbers.Real)
        and math.isfinite(value)
        for name, value in values.items()
    )
    if not is_good:
        raise ValueError(
            "`metrics` must be finite numbers by what they are, such as "
            f"{{'top-1 in percent': 81.2}}. Received: metrics={metrics!r}"
        )


def check_licence(licence: str) -> None:
    """Raises unless a license is an identifier as the hub has them."""
    if not isinstance(licence, str) or not _LICENSE.fullmatch(licence):
        raise ValueError(
            "`licence` must be an identifier in small letters, such as 'mit', "
            f"'cc-by-4.0' or 'other'. Received: licence={licence!r}"
        )
