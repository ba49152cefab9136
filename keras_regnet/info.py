"""Prints stages, complexity and best weights of the published networks.

python -m keras_regnet.info
python -m keras_regnet.info RegNetY-3.2GF --image_size=288
python -m keras_regnet.info "RegNetZ-*"
"""

import itertools
import sys
from collections.abc import Iterable

from absl import app
from absl import flags

from keras_regnet import plan
from keras_regnet import terminal
from keras_regnet import variants
from keras_regnet.complexity import complexity
from keras_regnet.weights import list_weights
from keras_regnet.weights import WeightRecord
from keras_regnet.weights.records import default_record

_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 224, "Height and width of the image, in pixels.", 32
)

_HEADER = (
    "network",
    "depths",
    "widths",
    "groups",
    "params",
    "flops",
    "acts",
    "weights",
    "top-1",
)

_WEIGHTS_HEADER = (
    "network",
    "weights",
    "top-1",
    "pixels",
    "classes",
    "license",
)


def table(names: Iterable[str], image_size: int = 224) -> str:
    """Returns a Markdown table of networks.

    Args:
      names: variants, in any common spelling.
      image_size: height and width of the image, in pixels.

    Returns:
      One line per network: blocks, channels and groups of each stage;
      parameters, multiply-adds and activations; the tag that
      `weights="default"` stands for, and its accuracy in percent at its own
      image size, as published; empty where there is none.

    Raises:
      ValueError: if a variant is unknown.

    Example:
    >>> print(table(["RegNetX-200MF"]).splitlines()[2])
    | RegNetX-200MF | 1 1 4 7 | 24 56 152 368 | 3 7 19 46 | 2.7 M | 199 M \
| 2.2 M | pycls_in1k | 68.76 |
    """
    rows = [_row(variants.variant_name(name), image_size) for name in names]
    lines = [_HEADER, ["---"] * len(_HEADER), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(name, image_size):
    config = variants.get_config(name)
    stages = plan.stages(config)
    counted = complexity(config, (image_size, image_size, 3))
    columns = (
        " ".join(str(getattr(stage, column)) for stage in stages)
        for column in ("depth", "width", "groups")
    )
    return [
        name,
        *columns,
        f"{counted.params / 1e6:.1f} M",
        short(counted.flops),
        f"{counted.activations / 1e6:.1f} M",
        *_default_weights(name),
    ]


def _default_weights(name):
    """Returns tag and accuracy of the best permissive set, as cells."""
    default = default_record(name)
    if default is None:
        return ["", ""]
    return [default.tag, _percent(default.top1)]


def _percent(top1):
    return "" if top1 is None else f"{top1:.2f}"


def short(count: int) -> str:
    """Returns multiply-adds in millions or billions, as the table has them."""
    return f"{count / 1e6:.0f} M" if count < 1e9 else f"{count / 1e9:.1f} G"


def weights_table(names: Iterable[str]) -> str:
    """Returns a Markdown table of the published weights of networks.

    Args:
      names: variants, in any common spelling.

    Returns:
      One line per set of weights, in the order of preference: the tag that
      `weights=` takes, its accuracy as published, size and license.

    Raises:
      ValueError: if a variant is unknown.

    Example:
    >>> print(weights_table(["RegNetX-200MF"]).splitlines()[2])
    | RegNetX-200MF | pycls_in1k | 68.76 | 224 of 256 | 1000 | mit |
    """
    # The first source of a set is the one that a tag stands for.
    sets: dict[tuple[str, str], WeightRecord] = {}
    for name in names:
        for record in list_weights(name):
            sets.setdefault((record.variant, record.tag), record)
    rows = [
        (
            record.variant,
            record.tag,
            _percent(record.top1),
            f"{record.test_size} of {record.resize}",
            str(record.classes),
            record.licence,
        )
        for record in sets.values()
    ]
    lines = [_WEIGHTS_HEADER, ["---"] * len(_WEIGHTS_HEADER), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(argv: list[str]) -> None:
    """Prints the table of the networks in `argv`, or of all."""
    size = _IMAGE_SIZE.value
    try:
        found = map(variants.list_variants, argv[1:] or ["*"])
        names = tuple(dict.fromkeys(itertools.chain(*found)))
        text = table(names, size)
    except ValueError as error:
        sys.exit(f"error: {error}")
    text += (
        f"\n\nAt {size} x {size} pixels, 1000 classes; flops: multiply-adds; "
        "top-1 at the size of its own evaluation."
    )
    if argv[1:]:
        text += f"\n\n{weights_table(names)}"
    terminal.show(text)


def run() -> None:
    """Runs the command line."""
    app.run(main)


if __name__ == "__main__":
    run()
