"""How many proposals for the 24 published budgets lie in figure 11's band.

    python benchmarks/proposals.py

One row per budget: of ten proposals, those whose depth, w_m and group width
are all in the band (`design_space.proposals.BAND`); and, for comparison, how
far the published network itself is from the best values.
"""

import os
import sys

from absl import app
from absl import flags

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from keras_regnet import design_space
from keras_regnet import variants
from keras_regnet.complexity import complexity
from keras_regnet.design_space import proposals

_N = flags.DEFINE_integer("n", 10, "Proposals per budget.", lower_bound=1)

# RegNetX and RegNetY up to 32 GF.
_LARGEST = 35e9


def budgets() -> dict[str, int]:
    """Returns the multiply-adds of the 24 published networks, by name."""
    networks = {
        name: variants.get_config(name)
        for family in ("RegNetX", "RegNetY")
        for name in variants.list_variants(family)
    }
    flops = {
        name: complexity(network).flops
        for name, network in networks.items()
        if network.norm == "batch"  # The others are timm's.
    }
    return {name: count for name, count in flops.items() if count < _LARGEST}


def fraction_in_band(name: str, flops: int, n: int) -> float:
    """Returns the fraction of proposals that are in the band.

    Args:
      name: of the published network.
      flops: its multiply-adds, which are the budget.
      n: how many proposals.
    """
    family = name.split("-")[0].lower()
    found = design_space.propose(flops=flops, family=family, n=n)
    inside = [
        max(proposals.distances(config, count)) <= 1
        for config, count in zip(found, found.flops.tolist(), strict=True)
    ]
    return sum(inside) / n


def main(argv: list[str]) -> None:
    """Prints one row per budget, and the fraction of all."""
    del argv
    fractions, published = [], []
    for name, flops in budgets().items():
        fractions.append(fraction_in_band(name, flops, _N.value))
        apart = proposals.distances(variants.get_config(name), flops)
        published.append(max(apart) <= 1)
        said = ", ".join(f"{distance:.1f}" for distance in apart)
        print(
            f"{name:14} {fractions[-1]:6.0%} of the proposals; published: "
            f"depth, w_m, group width {said} half widths away",
            flush=True,
        )
    count = len(fractions)
    print(f"proposals in the band: {sum(fractions) / count:.1%}")
    print(f"published networks in it: {sum(published)} of {count}")


if __name__ == "__main__":
    app.run(main)
