"""The suites by name."""

from benchmarks.harness import spec
from benchmarks.suites import families
from benchmarks.suites import networks
from benchmarks.suites import parts
from benchmarks.suites import runtimes

SUITES: dict[str, spec.Suite] = {
    suite.name: suite
    for module in (networks, families, runtimes, parts)
    for suite in module.SUITES
}
