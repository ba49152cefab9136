"""Evaluates the claims of README.md from records, as fixed there beforehand.

python experiments/cifar10_long/claims.py RECORDS [FOLDER]

Prints the results; into FOLDER it writes them as RESULTS.md, with the figures
beside it in figures/.
"""

import pathlib
import sys

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

from experiments import figures
from experiments import verdicts
from experiments.figures import Edfs
from experiments.figures import Scatter
from experiments.verdicts import Claim
from keras_regnet import atomic
from keras_regnet.design_space import records

# As README.md fixed them: points within which means are equal, networks of a
# random search, networks of each space.
_MARGIN = 2.0
_SEARCH_SIZE = 32
_PLANNED = {"chain": 100, "others": 64}

CHAIN = {
    "A": "AnyNetX_A",
    "B": "AnyNetX_B",
    "C": "AnyNetX_C",
    "D": "AnyNetX_D",
    "E": "AnyNetX_E",
    "X": "RegNetX",
}
# Section 4 of the paper compares with its constrained space.
_OTHERS = {
    "falling": "AnyNetX_C widths=falling",
    "w_m = 2": "RegNetX w_m=2",
    "w_0 = w_a": "RegNetX w_0=w_a",
    "constrained": "RegNetX_constrained",
    "Y": "RegNetY_constrained",
    "Swish": "RegNetY_constrained activation=silu",
    "b <= 1": "RegNetX_constrained bottleneck_ratio=0.125,0.25,0.5,1",
    "g = 1": (
        "RegNetX_constrained bottleneck_ratio=0.125,0.25,0.5,1 group_width=1"
    ),
    "free r": "RegNetX_constrained resolution=32,40,48,56,64",
}


def _bottleneck_ratio(network):
    return network.bottleneck_ratios[0]


def _group_width(network):
    return max(network.group_widths)


_CLAIMS = (
    Claim(
        1,
        "A = B (within 2 points)",
        "49.0, 49.2",
        ("A", "B"),
        verdicts.equal(_MARGIN),
        _MARGIN,
    ),
    Claim(
        2,
        "B = C (within 2 points)",
        "49.2, 49.4",
        ("B", "C"),
        verdicts.equal(_MARGIN),
        _MARGIN,
    ),
    Claim(3, "D < C", "43.2, 49.4", ("D", "C"), verdicts.better),
    Claim(4, "E < D", "42.7, 43.2", ("E", "D"), verdicts.better),
    Claim(5, "falling > D", "63.2, 43.2", ("falling", "D"), verdicts.worse),
    Claim(6, "falling > C", "63.2, 49.4", ("falling", "C"), verdicts.worse),
    Claim(7, "RegNetX < E", "41.0, 42.7", ("X", "E"), verdicts.better),
    Claim(8, "RegNetX < A", "41.0, 49.0", ("X", "A"), verdicts.better),
    Claim(
        9,
        "best of 32: RegNetX < A",
        "about 38.6, 40.6",
        ("X", "A"),
        verdicts.finds_better(_SEARCH_SIZE),
    ),
    Claim(
        10,
        "w_m = 2 < free w_m",
        "40.7, 41.0",
        ("w_m = 2", "X"),
        verdicts.better,
    ),
    Claim(
        11,
        "w_0 = w_a < free w_0",
        "40.1, 41.0",
        ("w_0 = w_a", "X"),
        verdicts.better,
    ),
    Claim(
        12,
        "w_m >= 2 < w_m below 2, in RegNetX",
        "in words",
        ("X",),
        verdicts.part_better(lambda n: n.w_m >= 2),
    ),
    Claim(
        13,
        "constrained < RegNetX",
        "32.6, 33.4",
        ("constrained", "X"),
        verdicts.better,
    ),
    Claim(
        14,
        "b <= 1 > b = 1",
        "33.3, 32.6",
        ("b <= 1", "constrained"),
        verdicts.worse,
    ),
    Claim(
        15,
        "b <= 1, g = 1 > b = 1",
        "35.5, 32.6",
        ("g = 1", "constrained"),
        verdicts.worse,
    ),
    Claim(
        16,
        "free resolution > fixed",
        "34.1, 32.6",
        ("free r", "constrained"),
        verdicts.worse,
    ),
    Claim(
        17,
        "RegNetY < RegNetX",
        "31.3, 32.6",
        ("Y", "constrained"),
        verdicts.better,
    ),
    Claim(
        18,
        "Swish < ReLU, in RegNetY",
        "in words",
        ("Swish", "Y"),
        verdicts.better,
    ),
    Claim(
        19,
        "best b <= 2 in C",
        "b in 1..2",
        ("C",),
        verdicts.best_value(_bottleneck_ratio, lambda b: b <= 2),
        is_tested=False,
    ),
    Claim(
        20,
        "best g > 1 in C",
        "g > 1",
        ("C",),
        verdicts.best_value(_group_width, lambda g: g > 1),
        is_tested=False,
    ),
)
EXPERIMENT = verdicts.Experiment(
    spaces={**CHAIN, **_OTHERS},
    planned={
        **dict.fromkeys(CHAIN, _PLANNED["chain"]),
        **dict.fromkeys(_OTHERS, _PLANNED["others"]),
    },
    claims=_CLAIMS,
    final_from=_PLANNED["others"],
    corrected=True,
    timed=False,
)
_FIGURES = (
    Edfs("shared", "Does sharing b and g change the errors?", ("A", "B", "C")),
    Edfs("widths", "Rising, free and falling widths", ("C", "D", "falling")),
    Edfs("depths", "Do rising depths help?", ("D", "E")),
    Edfs("regnet", "From AnyNetX_A to RegNetX", ("A", "E", "X")),
    Edfs("simpler", "RegNetX simplified", ("X", "w_m = 2", "w_0 = w_a")),
    Edfs("constrained", "RegNetX constrained", ("X", "constrained")),
    Edfs(
        "alternatives",
        "Inverted bottleneck, depthwise, free resolution",
        ("constrained", "b <= 1", "g = 1", "free r"),
    ),
    Edfs("squeeze", "Squeeze-and-excitation", ("constrained", "Y")),
    Edfs("activation", "Swish and ReLU", ("Y", "Swish")),
    Scatter("depth_of_a", "Depth, AnyNetX_A", ("A",), "depth"),
    Scatter("width_of_a", "Last width, AnyNetX_A", ("A",), "last_width"),
    Scatter("ratio_of_c", "b, AnyNetX_C", ("C",), "bottleneck_ratio"),
    Scatter("groups_of_c", "g, AnyNetX_C", ("C",), "group_width"),
    Scatter("depth_of_x", "Depth, RegNetX", ("X",), "depth"),
    Scatter("w_m_of_x", "w_m, RegNetX", ("X",), "w_m"),
)


def write(found: list[records.Record], folder: pathlib.Path) -> str:
    """Writes RESULTS.md and the figures; returns the text.

    Args:
      found: all records of the experiment.
      folder: where to.
    """
    pictures = figures.write(
        folder / "figures", _FIGURES, EXPERIMENT.spaces, found
    )
    text = verdicts.results(EXPERIMENT, found, pictures)
    with atomic.replacing(folder / "RESULTS.md") as partial:
        partial.write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    _found = records.read(sys.argv[1])
    if len(sys.argv) > 2:
        print(write(_found, pathlib.Path(sys.argv[2])))
    else:
        print(verdicts.results(EXPERIMENT, _found))
