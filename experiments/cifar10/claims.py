"""Evaluates the claims of README.md from records, as fixed there beforehand.

python experiments/cifar10/claims.py RECORDS [RESULTS.md]
"""

import pathlib
import sys

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

from experiments import verdicts
from experiments.verdicts import Claim
from keras_regnet.design_space import records

# Points within which means are equal; networks of a random search; networks of
# each space, as README.md fixed it.
_MARGIN = 2.0
_SEARCH_SIZE = 32
_PLANNED = 64

_SPACES = {
    "A": "AnyNetX_A",
    "C": "AnyNetX_C",
    "D": "AnyNetX_D",
    "E": "AnyNetX_E",
    "X": "RegNetX",
    "Y": "RegNetY",
    "w_m = 2": "RegNetX w_m=2",
    "falling": "AnyNetX_C widths=falling",
}
_CLAIMS = (
    Claim(
        1,
        "A = C (within 2 points)",
        "49.0, 49.4",
        ("A", "C"),
        verdicts.equal(_MARGIN),
        _MARGIN,
    ),
    Claim(2, "D < C", "43.2, 49.4", ("D", "C"), verdicts.better),
    Claim(3, "E < D", "42.7, 43.2", ("E", "D"), verdicts.better),
    Claim(4, "falling > D", "63.2, 43.2", ("falling", "D"), verdicts.worse),
    Claim(5, "falling > C", "63.2, 49.4", ("falling", "C"), verdicts.worse),
    Claim(6, "RegNetX < E", "41.0, 42.7", ("X", "E"), verdicts.better),
    Claim(7, "RegNetX < A", "41.0, 49.0", ("X", "A"), verdicts.better),
    Claim(8, "w_m = 2 < free", "40.7, 41.0", ("w_m = 2", "X"), verdicts.better),
    Claim(9, "RegNetY < RegNetX", "31.3, 32.6", ("Y", "X"), verdicts.better),
    Claim(
        10,
        "best of 32: RegNetX < A",
        "about 38.6, 40.6",
        ("X", "A"),
        verdicts.finds_better(_SEARCH_SIZE),
    ),
    Claim(
        11,
        "best b <= 2 in C",
        "b in 1..2",
        ("C",),
        verdicts.best_value(lambda n: n.bottleneck_ratios[0], lambda b: b <= 2),
        is_tested=False,
    ),
    Claim(
        12,
        "best g > 1 in C",
        "g > 1",
        ("C",),
        verdicts.best_value(lambda n: max(n.group_widths), lambda g: g > 1),
        is_tested=False,
    ),
)
EXPERIMENT = verdicts.Experiment(
    spaces=_SPACES,
    planned=dict.fromkeys(_SPACES, _PLANNED),
    claims=_CLAIMS,
)


if __name__ == "__main__":
    _text = verdicts.results(EXPERIMENT, records.read(sys.argv[1]))
    if len(sys.argv) > 2:
        pathlib.Path(sys.argv[2]).write_text(_text)
    print(_text)
