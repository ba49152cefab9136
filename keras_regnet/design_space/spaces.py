"""Design spaces: what all have in common, and how they are restricted.

A space is a template, a domain for each parameter, and restrictions in the
order in which they were made. `restrict` narrows a space and `vary` changes
what it is made of; both return a new one. No Keras here.
"""

import dataclasses
import functools
import math
import numbers
from collections.abc import Mapping
from typing import Any
from typing import ClassVar
from typing import Self

import numpy as np

from keras_regnet import errors
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import arrays
from keras_regnet.design_space import limits
from keras_regnet.design_space import sampling
from keras_regnet.design_space.domains import Domain
from keras_regnet.design_space.domains import log_uniform
from keras_regnet.design_space.domains import Sampler
from keras_regnet.design_space.domains import uniform

_RESOLUTION_STEP = 32
_TEMPLATE_FIELDS = tuple(
    field.name for field in dataclasses.fields(NetworkTemplate)
)
# How the text of a restriction to one value continues after the name.
_EQUALS_DIGIT = tuple(f"= {digit}" for digit in range(10))
# These may be restricted to values between those that are sampled.
_CONTINUOUS = ("w_0", "w_a", "w_m")
# The fields of a template that tell a space's networks from others.
_STRUCTURE = (
    "block",
    "se_ratio",
    "se_from",
    "expand_from",
    "projection",
    "head_width",
    "norm",
    "norm_group_width",
)
_LEAN = "params and activations under the fits of figure 12"


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates that have the right number of stages.

    Args:
      indices: of each among all candidates, rising, [m].
      networks: the m networks that are built.
      parameters: the sampled parameters, by name, [stages or 1, m].
    """

    indices: np.ndarray
    networks: arrays.Networks
    parameters: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """A set of networks and how they are sampled, in one of two subclasses.

    Args:
      name: as `space` knows it.
      template: what all blocks have in common.
      domains: values of each parameter.
      orders: "equal", "rising" or "falling" for parameters of stages.
      stages: number of stages.
      strides: stride of each stage's first block.
      resolutions: None, or the sides of the image that are sampled too.
      lean: whether params and activations stay under the paper's fits.
      restrictions: the restrictions as text.
      implied: those of them that the name implies.
    """

    name: str
    template: NetworkTemplate
    domains: Mapping[str, Domain]
    orders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stages: int = 4
    strides: tuple[int, ...] = (2, 2, 2, 2)
    resolutions: Domain | None = None
    lean: bool = False
    restrictions: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()

    # Names of words that a restriction may be, besides numbers.
    _WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    # --- Of a subclass ------------------------------------------------------

    def size(self) -> int:
        """Returns about how many combinations of parameters there are."""
        raise NotImplementedError

    def config(
        self, candidates: Candidates, index: int
    ) -> RegNetConfig | AnyNetConfig:
        """Returns the configuration of one candidate."""
        raise NotImplementedError

    def _parameter_samplers(self) -> dict[str, Sampler]:
        raise NotImplementedError

    def _build(self, parameters: Mapping[str, np.ndarray]) -> Candidates:
        raise NotImplementedError

    def _generates(self, config: RegNetConfig | AnyNetConfig) -> bool:
        raise NotImplementedError

    def __repr__(self) -> str:
        added = [x for x in self.restrictions if x not in self.implied]
        return ", ".join((self.name, *added))

    def named(self, name: str) -> Self:
        """Returns the space under a name that implies its restrictions."""
        return dataclasses.replace(self, name=name, implied=self.restrictions)

    # --- Narrower and other spaces ------------------------------------------

    def restrict(self, **restrictions: Any) -> Self:
        """Returns the part of the space in which restrictions hold.

        Args:
          **restrictions: for a parameter, the only value it may have, or the
            (min, max), or for a parameter of stages "equal",
            "rising" or "falling"; w_0="w_a" for both alike; lean=True for
            params and activations under the fits of figure 12.

        Returns:
          A space with the restrictions appended to its own.

        Raises:
          ValueError: if a name is unknown, or a restriction contradicts the
            space or another.

        Example:
        >>> from keras_regnet.design_space import space
        >>> space("AnyNetX_C").restrict(widths="falling")
        AnyNetX_C, widths falling
        """
        narrowed = self
        for name, value in restrictions.items():
            narrowed = narrowed._restricted(name, value)
        return narrowed

    def _restricted(self, name, value):
        if name == "lean":
            return self._restricted_to_lean(value)
        if name not in self.domains:
            allowed = [*self.domains, "lean"]
            raise errors.unknown_value("restriction", name, allowed)
        if isinstance(value, str):
            return self._ordered(name, value)
        domain = self.domains[name]
        narrowed, words = _narrow(name, domain, value)
        if not narrowed.values:
            raise ValueError(
                f"`{name}` has no such value in {self!r}, which has "
                f"{_describe(domain)}: restrictions contradict each other. "
                f"Received: {name}={value!r}"
            )
        return self._with(words, domains={**self.domains, name: narrowed})

    def _restricted_to_lean(self, value):
        if value is not True and (value is not False or self.lean):
            raise ValueError(
                "`lean` must be True, or False in a space that is not lean. "
                f"Received: lean={value!r} in {self!r}"
            )
        return self._with(_LEAN, lean=True) if value else self

    def _ordered(self, name, order):
        words = self._WORDS.get(name, ())
        if not words:
            raise ValueError(
                f"`{name}` must be a number or (min, max). "
                f"Received: {name}={order!r}"
            )
        if order not in words:
            raise errors.unknown_value(name, order, words)
        before = self.orders.get(name, order)
        if before != order:
            raise ValueError(
                f"`{name}` cannot be {order!r} in {self!r}, where it is "
                f"{before!r}: restrictions contradict each other. "
                f"Received: {name}={order!r}"
            )
        if name in self.orders:
            return self
        between = " = " if order in self.domains else " "
        return self._with(
            f"{name}{between}{order}", orders={**self.orders, name: order}
        )

    def _with(self, words, **changes):
        return dataclasses.replace(
            self, restrictions=(*self.restrictions, words), **changes
        )

    def vary(
        self,
        *,
        stages: int | None = None,
        strides: int | tuple[int, ...] = 2,
        resolution: tuple[int, int] | Domain | None = None,
        **changes: Any,
    ) -> Self:
        """Returns the space with other ingredients.

        Args:
          stages: number of stages.
          strides: stride of each stage's first block; one serves all.
          resolution: (min, max) side of the image in pixels, to sample
            it in multiples of 32, log-uniformly (the paper does not say how);
            or a `Domain` of sides.
          **changes: a field of the template, such as stem="cifar",
            stem_width=16 or activation="silu"; or a parameter with a `Domain`
            or the values that it may have, equally likely, such as
            group_width=(16, 32).

        Returns:
          A space whose restrictions still hold, but for the values of
          parameters that were given new ones.

        Raises:
          ValueError: if a name is unknown or a value is not allowed.

        Example:
        >>> from keras_regnet.design_space import space
        >>> space("RegNetX").vary(stages=5, stem="cifar").stages
        5
        """
        count = self.stages if stages is None else stages
        sampling.check_counts(stages=count)
        fields, new = {}, dict(self.domains)
        for name, value in changes.items():
            if name in _TEMPLATE_FIELDS:
                fields[name] = value
            elif name in self.domains:
                new[name] = _new_domain(value)
            else:
                allowed = [*_TEMPLATE_FIELDS, *self.domains]
                raise errors.unknown_value("change", name, allowed)
        varied = dataclasses.replace(
            self,
            template=dataclasses.replace(self.template, **fields),
            domains=new,
            stages=count,
            strides=self._strides(strides, count, stages),
            resolutions=_resolutions(resolution) or self.resolutions,
            restrictions=(
                *_about_others(self.restrictions, changes),
                *_changed(stages, resolution, changes),
            ),
        )
        varied._check()
        return varied

    def _strides(self, strides, count, stages):
        if strides == 2 and stages is None:
            return self.strides
        strides = strides if isinstance(strides, tuple) else (strides,) * count
        if len(strides) != count:
            raise ValueError(
                f"`strides` must have one value per stage, {count}. "
                f"Received: strides={strides}"
            )
        return strides

    def _check(self):
        """Raises what a configuration of the space would raise."""
        if self.template.expand_from != "output":
            raise ValueError(
                "`expand_from` must be 'output' in a design space, whose "
                "groups fit the width of a block's output. "
                f"Received: expand_from={self.template.expand_from!r}"
            )
        grouped = any("group" in name for name in self.domains)
        ratio = any("bottleneck" in name for name in self.domains)
        AnyNetConfig(
            (1,) * self.stages,
            (64,) * self.stages,
            self.strides,
            2 if ratio else 1,
            1 if grouped else None,
            **self.template_fields(),
        )

    def template_fields(self) -> dict[str, Any]:
        """Returns the template's fields, as configurations take them."""
        return {name: getattr(self.template, name) for name in _TEMPLATE_FIELDS}

    # --- Membership ---------------------------------------------------------

    def contains(
        self,
        config: RegNetConfig | AnyNetConfig,
        input_shape: tuple[int, int, int] = (224, 224, 3),
    ) -> bool:
        """Returns whether the space has a sample that builds the network.

        Stem, activation and padding are not part of a space.

        Args:
          config: the network; for a RegNet space a `RegNetConfig`.
          input_shape: (height, width, channels) at which a lean space counts.

        Returns:
          Whether it is there. Between the ends of their ranges, w_0, w_a and
          w_m may be any numbers.

        Raises:
          ValueError: if a RegNet space is given an `AnyNetConfig`: its
            parameters have to be fitted first (`fit.fit_regnet`).
        """
        same_blocks = all(
            getattr(config, name) == getattr(self.template, name)
            for name in _STRUCTURE
        )
        if not same_blocks or not self._generates(config):
            return False
        return not self.lean or limits.is_lean(config, input_shape)

    # --- Sampling -----------------------------------------------------------

    @functools.cached_property
    def samplers(self) -> Mapping[str, Sampler]:
        """The sampler of each parameter, in the order of sampling."""
        samplers = self._parameter_samplers()
        if self.resolutions is not None:
            samplers["resolution"] = Sampler(self.resolutions, 1, "free")
        return samplers

    @property
    def numbers(self) -> int:
        """How many random numbers one candidate takes."""
        return sum(sampler.numbers for sampler in self.samplers.values())

    def candidates(self, uniforms: np.ndarray) -> Candidates:
        """Returns the candidates of uniform numbers, [self.numbers, n]."""
        parameters, row = {}, 0
        for name, sampler in self.samplers.items():
            rows = uniforms[row : row + sampler.numbers]
            parameters[name] = sampler.sample(rows)
            row += sampler.numbers
        return self._build(parameters)

    def sample(
        self,
        rng: np.random.Generator,
        n: int = 500,
        flops: tuple[float, float] | None = None,
        params: tuple[float, float] | None = None,
        activations: tuple[float, float] | None = None,
        input_shape: tuple[int, int, int] = (224, 224, 3),
        stem: str | None = None,
        classes: int = 1000,
        max_candidates: int = 20_000_000,
    ) -> "sampling.Sample":
        """Samples different networks until there are enough in a budget.

        Args:
          rng: gives the seed. The same seed gives the same networks on any
            machine.
          n: how many networks.
          flops: (min, max) number of multiply-adds, both allowed.
          params: (min, max) number of parameters.
          activations: (min, max) number of activations.
          input_shape: (height, width, channels) at which they are counted;
            where the space has free resolution, only its channels.
          stem: another stem than the space's.
          classes: number of classes of the classifier.
          max_candidates: after how many to give up.

        Returns:
          A `Sample`: a sequence of configurations, all different once widths
          and group widths fit, with their complexity and how many candidates
          it took.

        Raises:
          ValueError: if a range is impossible, or too few candidates lie in
            the ranges; says how near the nearest came.

        Example:
        >>> from keras_regnet.design_space import space
        >>> rng = np.random.default_rng(0)
        >>> sample = space("RegNetX").sample(rng, n=3, flops=(360e6, 400e6))
        >>> len(sample), bool((sample.flops <= 400e6).all())
        (3, True)
        """
        space = self if stem is None else self.vary(stem=stem)
        ranges = {"flops": flops, "params": params, "activations": activations}
        return sampling.sample(
            space, rng, n, ranges, input_shape, classes, max_candidates
        )


def _narrow(name, domain, value):
    """Returns the narrowed domain, empty if contradictory, and its words."""
    if not isinstance(value, numbers.Real):
        low, high = sampling.check_range(name, value)
        words = f"{name} in [{low:g}, {high:g}]"
        return domain.within(low, high), words
    kept = domain.within(value, value)
    inside = domain.values[0] <= value <= domain.values[-1]
    if not kept.values and name in _CONTINUOUS and inside:
        kept = Domain((float(value),), (1.0,))
    return kept, f"{name} = {value:g}"


def _new_domain(value):
    if isinstance(value, Domain):
        return value
    return uniform(value if np.iterable(value) else (value,))


def _describe(domain):
    if len(domain.values) <= 8:
        return f"the values {', '.join(f'{v:g}' for v in domain.values)}"
    return f"values from {domain.values[0]:g} to {domain.values[-1]:g}"


def _resolutions(ends):
    if ends is None or isinstance(ends, Domain):
        return ends
    low, high = sampling.check_range("resolution", ends)
    low = math.ceil(low / _RESOLUTION_STEP) * _RESOLUTION_STEP
    if not 0 < low <= high:
        raise ValueError(
            "`resolution` must be two numbers of pixels with a multiple of "
            f"{_RESOLUTION_STEP} between them. Received: resolution={ends}"
        )
    return log_uniform(low, int(high), _RESOLUTION_STEP)


def _about_others(restrictions, changes):
    """Leaves out what restricted the values of parameters that changed."""
    for words in restrictions:
        name, _, rest = words.partition(" ")
        is_range = rest.startswith("in [") or rest[:3] in _EQUALS_DIGIT
        if not (is_range and name in changes):
            yield words


def _changed(stages, resolution, changes):
    if stages is not None:
        yield f"{stages} stages"
    if isinstance(resolution, Domain):
        yield f"resolution {_describe(resolution)}"
    elif resolution is not None:
        yield "resolution in [{:g}, {:g}]".format(*resolution)
    for name, value in changes.items():
        if isinstance(value, Domain):
            value = _describe(value)
        yield f"{name} {value}"
