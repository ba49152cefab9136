"""What suites have in common."""

import re

from benchmarks.harness import host
from benchmarks.harness import spec

QUICK_NETWORK = "RegNetX-200MF"
SIZE = 224
QUICK_SIZE = 32
OURS = "keras_regnet"


def size(options: spec.Options) -> int:
    """Returns the side of the images in pixels."""
    return QUICK_SIZE if options.quick else SIZE


def networks(options: spec.Options, *defaults: str) -> tuple[str, ...]:
    """Returns the networks to measure."""
    quick = (QUICK_NETWORK,) if options.quick else ()
    return options.networks or quick or defaults


def threads(options: spec.Options, *defaults: int) -> tuple[int, ...]:
    """Returns the numbers of threads to measure with; by default all."""
    return options.threads or defaults or (host.cores(),)


def machine(options: spec.Options) -> spec.Case:
    """Returns the case that measures the machine's limits."""
    job = {"turn_seconds": min(1.0, options.turn_seconds)}
    return spec.Case(spec.MACHINE, "machine", job)


def library_names(network: str) -> dict[str, str]:
    """Returns a variant's name in other libraries, by library.

    Raises:
      ValueError: if it is not a RegNetX or RegNetY by its printed name.

    Example:
    >>> library_names("RegNetX-4.0GF")["torchvision"]
    'regnet_x_4gf'
    """
    match = re.fullmatch(r"RegNet([XY])-([\d.]+)([MG]F)", network)
    if match is None:
        raise ValueError(
            "`networks` must be printed names of RegNetX or RegNetY, such as "
            f"RegNetX-400MF. Received: {network!r}"
        )
    family, number, unit = match.groups()
    code = float(number) * (10 if unit == "GF" else 0.01)
    written = f"{number.removesuffix('.0')}{unit}".lower().replace(".", "_")
    return {
        "timm": f"regnet{family.lower()}_{round(code):03}",
        "torchvision": f"regnet_{family.lower()}_{written}",
        "tf_keras": f"RegNet{family}{round(code):03}",
    }
