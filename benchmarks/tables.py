"""The tables and the pictures of README.md and docs/, from the data.

`python -m benchmarks table` writes the tables, `python -m benchmarks plot` the
pictures. Each table stands between `<!-- table: NAME -->` and `<!-- end -->`.
Accuracies are those of `keras_regnet/data/weights.csv`, complexities are
computed, speeds are those of `benchmarks/results`; a network that was not
measured has none. What others published is in `benchmarks/published`.
"""

import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from benchmarks import choosing
from benchmarks import evaluated
from benchmarks import explained
from benchmarks import families_table
from benchmarks import markdown
from benchmarks import result_table
from benchmarks import runtimes_table
from benchmarks import side_by_side
from benchmarks import structures
from benchmarks.harness import results
from benchmarks.harness import statistics
from keras_regnet import info
from keras_regnet import variants
from keras_regnet.weights import records

ROOT = pathlib.Path(__file__).resolve().parents[1]
_IMAGES = ROOT / "docs/images"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

# The networks of README's table, small and large ones of each family.
_CHOSEN = (
    "RegNetX-200MF",
    "RegNetX-800MF",
    "RegNetY-400MF",
    "RegNetY-1.6GF",
    "RegNetZ-B16",
    "RegNetY-3.2GF",
    "RegNetZ-D8",
    "RegNetY-8.0GF",
    "RegNetZ-E8",
    "RegNetY-16GF",
)
# The end of a result's name -> the setting, as docs/processors.md names them.
_PLAYED = {
    "": "as it is",
    "_without_avx512": "without AVX-512",
    "_without_onednn": "without oneDNN",
}
# Okabe and Ito's colors, which differ for the color-blind too.
_MARKS = {
    "RegNetX": ("#0072B2", "o"),
    "RegNetY": ("#D55E00", "s"),
    "RegNetZ": ("#009E73", "^"),
    "RegNetV": ("#CC79A7", "D"),
}


def accuracy_row(variant: str) -> list[str]:
    """Returns the row of a network in README's table."""
    best = evaluated.best(variant)
    record = best.record
    measured = evaluated.milliseconds(best)
    speeds = (measured.get(form) for form in ("float32", "int8"))
    return [
        record.variant,
        f"`{record.tag}`",
        record.licence,
        str(record.test_size),
        f"{record.top1:.1f} %",
        f"{best.params / 1e6:.1f} M",
        info.short(best.multiply_adds),
        *(f"{speed:.1f}" if speed else "" for speed in speeds),
    ]


def accuracy() -> str:
    """Returns README's table of the best permissive weights."""
    header = (
        "network",
        "weights",
        "license",
        "px",
        "top-1",
        "params",
        "multiply-adds",
        "float32, ms",
        "int8, ms",
    )
    return markdown.table(header, map(accuracy_row, _CHOSEN))


def numbers() -> str:
    """Returns README's sentence of what there is."""
    every = records.all_records()
    sets = {(record.variant, record.tag) for record in every}
    free = {(r.variant, r.tag) for r in every if r.commercial}
    formats = {record.format for record in every}
    return (
        f"{len(variants.list_variants())} networks and {len(sets)} published "
        f"sets of weights, {len(free)} of them with permissive licenses,\n"
        f"loaded from {len(every)} files in the formats of {len(formats)} "
        "projects.\n"
    )


def networks() -> str:
    """Returns the table of all networks."""
    return info.table(variants.list_variants()) + "\n"


def _weights_row(same):
    first = same[0]
    known = next((record for record in same if record.top1), None)
    return [
        first.variant,
        f"`{first.tag}`",
        ", ".join(dict.fromkeys(record.source for record in same)),
        ", ".join(dict.fromkeys(record.licence for record in same)),
        str((known or first).test_size),
        f"{known.top1:.1f}" if known else "",
    ]


def weights() -> str:
    """Returns the table of all published sets of weights."""
    sets = {}
    for record in records.all_records():
        sets.setdefault((record.variant, record.tag), []).append(record)
    header = ("network", "tag", "published by", "license", "px", "top-1, %")
    return markdown.table(header, map(_weights_row, sets.values()))


def _ours_over(setting, name):
    """Returns how many times faster ours is than a case; None if not there."""
    case = setting["cases"].get(name, {"rounds": []})
    if not case["rounds"]:
        return None
    against = result_table.ratio(setting, name, "seconds")
    return against and against.median


def _best_of(setting, library):
    """Returns how many times faster ours is than a library's better layout."""
    found = [
        _ours_over(setting, name)
        for name in setting["cases"]
        if name.startswith(library)
    ]
    ratios = [ratio for ratio in found if ratio is not None]
    return f"{min(ratios):.2f}" if ratios else ""


def _models_row(setting):
    labels = setting["labels"]
    ours = setting["cases"]["keras_regnet"]
    seconds = results.median(ours)

    def ratio(name):
        found = _ours_over(setting, name)
        return "" if found is None else f"{found:.3g}"

    return [
        labels["network"],
        f"{labels['pass']}, {labels['batch']}",
        f"{labels['batch'] / seconds:.1f}",
        _best_of(setting, "timm"),
        _best_of(setting, "torchvision"),
        ratio("keras_regnet, portable"),
        ratio("Keras's own layers"),
        ratio("tf_keras"),
    ]


def models() -> str:
    """Returns whole networks beside other libraries', with AVX-512."""
    return _models("models_training", "models_inference")


def models_avx2() -> str:
    """Returns the same with AVX2 alone."""
    return _models("models_training_avx2")


def models_settings() -> str:
    """Returns the same on one machine, which plays lesser ones."""
    return _models(
        *(f"models_epyc{played}" for played in _PLAYED), titles=_PLAYED
    )


def precision() -> str:
    """Returns rates in float32 and in bfloat16, library by library."""
    rows = [
        row
        for setting in _read("precision_avx512_core_bf16")["settings"]
        for row in _precision_rows(setting)
    ]
    header = (
        "network",
        "pass, batch",
        "library",
        "float32, img/s",
        "bfloat16, img/s",
        "bfloat16 / float32",
    )
    return markdown.table(header, rows)


def _precision_rows(setting):
    labels = setting["labels"]
    for name, case in setting["cases"].items():
        reduced = setting["cases"].get(f"{name}, bfloat16")
        if reduced is None:
            continue
        seconds = [results.values(one, "seconds") for one in (case, reduced)]
        medians = [statistics.spread(values).median for values in seconds]
        yield [
            labels["network"],
            f"{labels['pass']}, {labels['batch']}",
            name,
            *(f"{labels['batch'] / median:.1f}" for median in medians),
            f"{statistics.ratios(*seconds).median:.2f}",
        ]


def _read(name):
    return results.read(evaluated.RESULTS / f"{name}.json")


def _models(*names, titles=None):
    """Returns the rows of results, with a title for each if there are any."""
    header = (
        "setting",
        "network",
        "pass, batch",
        "keras_regnet, img/s",
        "ours / best of timm",
        "ours / best of torchvision",
        "ours / its portable form",
        "ours / Keras's layers",
        "ours / tf_keras",
    )
    titles = titles or dict.fromkeys(names, "")
    rows = [
        [title, *_models_row(setting)]
        for name, title in zip(names, titles.values(), strict=True)
        for setting in _read(name)["settings"]
    ]
    # What was not compared has no column.
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return markdown.table(
        [header[i] for i in kept], [[row[i] for i in kept] for row in rows]
    )


_TABLES = {
    function.__name__: function
    for function in (
        accuracy,
        models,
        models_avx2,
        models_settings,
        networks,
        numbers,
        precision,
        weights,
        *choosing.TABLES,
        *explained.TABLES,
        *families_table.TABLES,
        *runtimes_table.TABLES,
        *side_by_side.TABLES,
    )
}


def pages() -> list[pathlib.Path]:
    """Returns the pages that may have tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """Returns a page with its tables as they are today."""
    return _BLOCK.sub(lambda b: b[1] + _TABLES[b[2]]() + b[4], text)


def points() -> list[tuple[str, str, int, float]]:
    """Returns what README's picture shows, with tag and multiply-adds."""
    return [
        (e.record.variant, e.record.tag, e.multiply_adds, e.record.top1)
        for e in evaluated.permissive()
    ]


class Picture(NamedTuple):
    """A picture of the data.

    Args:
      points: returns what it shows.
      draw: draws that into a matplotlib figure.
    """

    points: Callable[[], list]
    draw: Callable[[Any], None]

    def digest(self) -> str:
        """Returns the digest of the points, which the file carries."""
        return hashlib.sha256(json.dumps(self.points()).encode()).hexdigest()[
            :16
        ]

    def write(self, path: pathlib.Path) -> None:
        """Draws it into a file."""
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot as plt

        style = {"svg.fonttype": "none", "svg.hashsalt": "keras_regnet"}
        description = f"data {self.digest()}"
        with plt.rc_context(style):
            figure = plt.figure(layout="constrained")
            self.draw(figure)
            metadata = {"Date": None, "Description": description}
            figure.savefig(path, metadata=metadata)
            plt.close(figure)


def _draw_accuracy(figure):
    """Draws the accuracies over the multiply-adds."""
    figure.set_size_inches(8, 4.5)
    axes = figure.subplots()
    for family, (color, marker) in _MARKS.items():
        of_family = [p for p in points() if p[0].startswith(family)]
        axes.scatter(
            [p[2] / 1e9 for p in of_family],
            [p[3] for p in of_family],
            c=color,
            marker=marker,
            s=28,
            label=family,
        )
    _annotate(axes)


def _annotate(axes):
    for name in _CHOSEN:
        chosen = evaluated.best(name)
        axes.annotate(
            name.removeprefix("RegNet"),
            (chosen.multiply_adds / 1e9, chosen.record.top1),
            xytext=(-4, 5),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_xlim(0.12, 50)
    axes.set_xticks(ticks := [0.2, 0.5, 1, 2, 5, 10, 20, 50], map(str, ticks))
    axes.set_xticks([], minor=True)
    axes.set_xlabel("multiply-adds of one image, in billions")
    axes.set_ylabel("top-1 on ImageNet, %")
    axes.set_title(
        f"Published accuracy of {len(points())} sets of weights with "
        "permissive licenses"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)


PICTURES = {
    _IMAGES / "accuracy.svg": Picture(points, _draw_accuracy),
    _IMAGES / "side_by_side.svg": Picture(
        side_by_side.points, side_by_side.draw
    ),
    _IMAGES / "time.svg": Picture(explained.points, explained.draw),
    **{
        _IMAGES / f"structures_{family[-1].lower()}.svg": Picture(
            functools.partial(structures.points, family),
            functools.partial(structures.draw, family=family),
        )
        for family in structures.FAMILIES
    },
}


def write() -> None:
    """Rewrites the tables of all pages."""
    for page in pages():
        page.write_text(filled(page.read_text()))


def write_pictures() -> None:
    """Draws the pictures again."""
    for path, picture in PICTURES.items():
        picture.write(path)
