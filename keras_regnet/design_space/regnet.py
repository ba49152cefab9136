"""RegNet spaces: the parameters of the quantized linear function."""

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

import numpy as np

from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import arrays
from keras_regnet.design_space import domains
from keras_regnet.design_space import spaces
from keras_regnet.widths import as_fractions
from keras_regnet.widths import Ratios

# Table 1 counts this many values for each of d, w_0, w_a and w_m.
_GRID = 64
_ON_GRID = ("depth", "w_0", "w_a", "w_m")

# Below 64 and 256, as the paper has it.
DOMAINS = {
    "depth": domains.uniform(range(1, 64)),
    "w_0": domains.log_uniform(8, 248, 8),
    "w_a": domains.scaled(domains.log_uniform(80, 2559, 1), 10),
    "w_m": domains.scaled(domains.log_uniform(1500, 3000, 1), 1000),
    "bottleneck_ratio": domains.uniform((1.0, 2.0, 4.0)),
    "group_width": domains.uniform((1, 2, 4, 8, 16, 32)),
}


class RegNetSpace(spaces.Space):
    """Networks of a quantized linear function (paper, section 3.3).

    The ranges are the paper's. How parameters are distributed in them it does
    not say; depth is uniform here, w_0, w_a and w_m are log-uniform in steps
    of 8, 0.1 and 0.001 from 8, 8 and 1.5, bottleneck ratio and group width
    are uniform among their powers of two: pycls's rules. Networks that have
    another number of stages, or a level without a block, are ignored.
    """

    _WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {"w_0": ("w_a",)}

    def size(self) -> int:
        """Returns about how many combinations of parameters there are.

        Returns:
          The paper's count: 64 values for each of d, w_0, w_a and w_m, less
          where they are restricted. Samples are finer.

        Source:
          Paper, table 1.

        Example:
        >>> from keras_regnet.design_space import space
        >>> f"{space('RegNetX').size():.1e}"
        '3.0e+08'
        """
        size = 1
        for name, domain in self.domains.items():
            if name in _ON_GRID:
                size *= _on_grid(name, domain)
            else:
                size *= len(domain.values)
        if "w_0" in self.orders:
            size /= _on_grid("w_a", self.domains["w_a"])
        if self.resolutions is not None:
            size *= len(self.resolutions.values)
        return round(size)

    # --- Sampling ------------------------------------------------------------

    def _parameter_samplers(self):
        return {
            name: domains.Sampler(domain, 1, "free")
            for name, domain in self._sampled_domains().items()
        }

    def _sampled_domains(self):
        """Returns the sampled domains; one for both where w_0 = w_a."""
        sampled = dict(self.domains)
        if "w_0" in self.orders:
            both = sampled.pop("w_a").values
            sampled["w_0"] = sampled["w_0"].within(both[0], both[-1])
        return sampled

    def _build(self, parameters):
        if "w_0" in self.orders:
            parameters = {**parameters, "w_a": parameters["w_0"]}
        kept, depths, widths = arrays.quantized_linear(
            **{name: parameters[name][0] for name in _ON_GRID},
            stages=self.stages,
        )
        parameters = {name: x[:, kept] for name, x in parameters.items()}
        ratios: Ratios | Fraction = Fraction(1)
        if "bottleneck_ratio" in parameters:
            ratios = as_fractions(parameters["bottleneck_ratio"])
        networks = arrays.Networks.fitted(
            depths, widths, ratios, parameters.get("group_width")
        )
        return spaces.Candidates(kept, networks, parameters)

    def config(self, candidates: spaces.Candidates, index: int) -> RegNetConfig:
        """Returns the configuration of one candidate, as it was sampled."""
        return RegNetConfig(
            strides=self.strides,
            **{
                name: candidates.parameters[name][0, index].item()
                for name in self.domains
            },
            **self.template_fields(),
        )

    # --- Membership ---------------------------------------------------------

    def _generates(self, config):
        if not isinstance(config, RegNetConfig):
            raise ValueError(
                "`config` must be a RegNetConfig: fit one to an AnyNetConfig "
                f"first (`fit.fit_regnet`). Received: config={config!r}"
            )
        tied = "w_0" not in self.orders or config.w_0 == config.w_a
        return (
            tied and self._has_parameters(config) and self._has_stages(config)
        )

    def _has_parameters(self, config):
        for name, absent in (("bottleneck_ratio", 1), ("group_width", None)):
            domain = self.domains.get(name)
            allowed = (absent,) if domain is None else domain.values
            if getattr(config, name) not in allowed:
                return False
        ends = {name: self.domains[name].values for name in _ON_GRID}
        return all(
            values[0] <= getattr(config, name) <= values[-1]
            for name, values in ends.items()
        )

    def _has_stages(self, config):
        kept, _, _ = arrays.quantized_linear(
            np.array([config.depth]),
            np.array([config.w_0], float),
            np.array([config.w_a], float),
            np.array([config.w_m], float),
            self.stages,
        )
        return len(kept) == 1 and self.strides in (
            config.strides,
            (config.strides,) * self.stages,
        )


def _on_grid(name, domain):
    """Returns how many of the 64 values of table 1 lie in a domain."""
    whole = DOMAINS[name].values
    if len(domain.values) == 1:
        return 1
    if domain.values == whole:
        return _GRID
    if name == "depth":
        return len(domain.values)
    fraction = (domain.values[-1] - domain.values[0]) / (whole[-1] - whole[0])
    return max(1, _GRID * fraction)
