"""Names of networks as tables have them."""

from typing import Any

from benchmarks.harness import worker
from benchmarks.suites import runtimes
from keras_regnet import errors
from keras_regnet import variants


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Looks names up; the facts have them as printed.

    Args:
      job: networks, in any common spelling.
    """
    facts = {"networks": [_printed(name) for name in job["networks"]]}
    return worker.Prepared(dict, facts=facts)


def _printed(name):
    others = [o for o in runtimes.TOP1 if not o.startswith("RegNet")]
    if name in others:
        return name
    try:
        return variants.variant_name(name)
    except ValueError as error:
        allowed = (*variants.list_variants(), *others)
        raise errors.unknown_value("networks", name, allowed) from error
