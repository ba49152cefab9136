"""AnyNet spaces: depth, width, ratio and group width stage by stage."""

import itertools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

import numpy as np

from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import arrays
from keras_regnet.design_space import domains
from keras_regnet.design_space import spaces
from keras_regnet.widths import as_fraction
from keras_regnet.widths import as_fractions
from keras_regnet.widths import compatible
from keras_regnet.widths import Ratios

_ORDERS = ("equal", "rising", "falling")

DOMAINS = {
    "depths": domains.log_uniform(1, 16, 1),
    "widths": domains.log_uniform(8, 1024, 8),
    "bottleneck_ratios": domains.uniform((1.0, 2.0, 4.0)),
    "group_widths": domains.uniform((1, 2, 4, 8, 16, 32)),
}


class AnyNetSpace(spaces.Space):
    """Networks given stage by stage (paper, section 3.2).

    Depths, widths, bottleneck ratios and group widths are sampled for every
    stage, log-uniformly, as the paper says; how the logarithmic scale meets
    the multiples of 1 and 8 is pycls's (`domains.log_uniform`). "equal" is
    one sample for all stages; "rising" and "falling" are the free samples that
    happen to be so. All this is before widths and groups are made to fit.
    """

    _WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        DOMAINS, _ORDERS
    )

    def size(self, exact: bool = False) -> int:
        """Returns how many combinations of parameters there are.

        Args:
          exact: whether rising and falling stages are counted exactly. The
            paper divides by the factorial of the number of stages, which
            takes no account of equal neighbours.

        Returns:
          A number, before groups are made to fit and complexity is limited.

        Source:
          Paper, table 1.

        Example:
        >>> from keras_regnet.design_space import space
        >>> f"{space('AnyNetX_A').size():.1e}"
        '1.8e+18'
        """
        size = 1
        for name, domain in self.domains.items():
            size *= self._combinations(name, len(domain.values), exact)
        if self.resolutions is not None:
            size *= len(self.resolutions.values)
        return round(size)

    def _combinations(self, name, values, exact):
        order = self.orders.get(name, "free")
        if order == "equal":
            return values
        if order == "free":
            return values**self.stages
        if exact:
            return math.comb(values + self.stages - 1, self.stages)
        return values**self.stages / math.factorial(self.stages)

    # --- Sampling ------------------------------------------------------------

    def _parameter_samplers(self):
        return {
            name: domains.Sampler(
                domain, self.stages, self.orders.get(name, "free")
            )
            for name, domain in self.domains.items()
        }

    def _build(self, parameters):
        depths = parameters["depths"]
        ratios: Ratios | Fraction = Fraction(1)
        if "bottleneck_ratios" in parameters:
            ratios = as_fractions(parameters["bottleneck_ratios"])
        networks = arrays.Networks.fitted(
            depths,
            parameters["widths"],
            ratios,
            parameters.get("group_widths"),
        )
        indices = np.arange(depths.shape[1])
        return spaces.Candidates(indices, networks, parameters)

    def config(self, candidates: spaces.Candidates, index: int) -> AnyNetConfig:
        """Returns the configuration of one candidate, with the widths built."""

        def stages(values):
            return tuple(values[:, index].tolist())

        ratios = candidates.parameters.get("bottleneck_ratios")
        has_groups = "group_widths" in candidates.parameters
        return AnyNetConfig(
            stages(candidates.networks.depths),
            stages(candidates.networks.widths),
            self.strides,
            1.0 if ratios is None else stages(ratios),
            stages(candidates.networks.group_widths) if has_groups else None,
            **self.template_fields(),
        )

    # --- Membership ---------------------------------------------------------

    def _generates(self, config):
        if isinstance(config, RegNetConfig):
            config = plan.anynet_config(config)
        return (
            config.strides == self.strides
            and self._may_be("depths", _singles(config.depths))
            and self._may_be(
                "bottleneck_ratios", _singles(config.bottleneck_ratios)
            )
            and self._may_be_built(config)
        )

    def _may_be(self, name, choices):
        """Whether the parameter of stages can be taken from the choices."""
        values = set(self._values(name))
        choices = [values & choice for choice in choices]
        if not all(choices):
            return False
        order = self.orders.get(name, "free")
        if order == "equal":
            return bool(set.intersection(*choices))
        if order == "free":
            return True
        return _can_rise(choices if order == "rising" else choices[::-1])

    def _values(self, name):
        absent = {"bottleneck_ratios": (1,), "group_widths": (None,)}
        if name in self.domains:
            return self.domains[name].values
        return absent[name]

    def _may_be_built(self, config):
        """Whether widths and groups of the space lead to those built.

        A group width that was clamped to its stage may have been any greater
        one, and a width any that rounds to the one built.
        """
        if "group_widths" not in self.domains:
            return set(config.group_widths) == {None} and self._may_be(
                "widths", _singles(config.widths)
            )
        sources = [
            self._sources(*stage)
            for stage in zip(
                config.widths,
                config.bottleneck_ratios,
                config.group_widths,
                strict=True,
            )
        ]
        return any(
            self._may_be("group_widths", _singles(group_widths))
            and self._may_be(
                "widths", map(dict.__getitem__, sources, group_widths)
            )
            for group_widths in itertools.product(*sources)
        )

    def _sources(self, width, ratio, group_width):
        """Returns the widths that a stage may come from, by group width."""
        widths, group_widths = np.meshgrid(
            self._values("widths"), self._values("group_widths")
        )
        built, _, groups = compatible(widths, as_fraction(ratio), group_widths)
        same = (built == width) & (groups == group_width)
        sources: dict[int, set[int]] = {}
        for group, requested in zip(
            group_widths[same].tolist(), widths[same].tolist(), strict=True
        ):
            sources.setdefault(group, set()).add(requested)
        return sources


def _singles(values):
    return [{value} for value in values]


def _can_rise(choices):
    """Whether a sequence that never falls has one value of each set."""
    lowest = -math.inf
    for choice in choices:
        possible = [value for value in choice if value >= lowest]
        if not possible:
            return False
        lowest = min(possible)
    return True
