"""The suites by name."""

from benchmarks.harness import spec
from benchmarks.suites import networks
from benchmarks.suites import parts
from benchmarks.suites import runtimes

SUITES: dict[str, spec.Suite] = {
    suite.name: suite
    for suite in (*networks.SUITES, *runtimes.SUITES, *parts.SUITES)
}
