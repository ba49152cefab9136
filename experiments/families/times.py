"""What the networks take, as the suite `trained` of the benchmarks has it."""

import functools
import pathlib

from benchmarks.harness import results
from experiments.families import networks

HEADER = ("inference, ms", "training, ms")
_PASSES = ("inference", "training")
_FILE = (
    pathlib.Path(__file__).resolve().parents[2]
    / "benchmarks/results/trained_avx512_core_bf16.json"
)
NOTE = (
    "Times are\nmilliseconds of an image in batches of 64, on one thread: "
    "`python -m benchmarks run\n--suite=trained`, whose result says of which "
    "processor and versions."
)


@functools.cache
def _milliseconds() -> dict[tuple[int, str, str], float]:
    """Returns the times by budget, family and pass."""
    found = {}
    for setting in results.read(_FILE)["settings"]:
        labels = setting["labels"]
        case = setting["cases"][setting["reference"]]
        (budget,) = [
            b
            for b in networks.BUDGETS
            if networks.file(b).stem == labels["network"]
        ]
        for number, family in enumerate(networks.FAMILIES):
            seconds = results.median(case, str(number))
            milliseconds = 1e3 * seconds / case["facts"]["images"]
            found[budget, family.name, labels["pass"]] = milliseconds
    return found


def of(budget: int, family: str) -> list[str]:
    """Returns the cells of a network, in the order of `HEADER`."""
    return [f"{_milliseconds()[budget, family, p]:.2f}" for p in _PASSES]
