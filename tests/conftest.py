"""The tiers of the tests: a test belongs to the tier that its folder names.

unit: trains nothing, converts nothing, starts no process; the default.
integration: runs, exports, backends and documentation.
system: whole processes, faults and sweeps.
cluster: on a Ray cluster; needs the extra [cluster].
"""

import functools
import inspect
import pathlib
import random
import sys
import time
import zlib

import hypothesis
import numpy as np
import pytest

# Before a test imports Keras: on any x86 processor the tests run with oneDNN,
# as programs do, unless the environment says otherwise.
from keras_regnet import onednn as onednn

TIERS = ("unit", "integration", "system", "cluster")
_TESTS = pathlib.Path(__file__).parent
_START = time.monotonic()
_TOO_LATE = "the machine is too slow to run them within the budget"
# Seconds in which a fast processor counts to a million.
_FAST = 0.008

# A machine that others use too is slow for reasons that are not the test's.
# The same examples each time: a change must not fail for another's bug.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption(
        "--max_seconds",
        type=float,
        help="fail a unit test that takes longer on a processor that counts to "
        "a million in 8 ms, on a slower one as much longer; for .ci/run",
    )
    parser.addoption(
        "--budget",
        type=float,
        help="seconds after which no further test starts, and the rest is "
        "counted: files in a mixed order, always the same; for .ci/run",
    )
    parser.addoption(
        "--one_case",
        action="store_true",
        help="of a test with parameters run the first case, and every case of "
        "those marked versions; for .ci/run",
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        tier = item.path.relative_to(_TESTS).parts[0]
        item.add_marker(getattr(pytest.mark, tier))
    if config.getoption("--budget"):
        items.sort(key=lambda item: zlib.crc32(item.path.name.encode()))
    if config.getoption("--one_case"):
        firsts = {}
        for item in items:
            firsts.setdefault(_function(item), item)
        kept = set(firsts.values())
        kept.update(i for i in items if i.get_closest_marker("versions"))
        left_out = [item for item in items if item not in kept]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item in kept]


def _function(item):
    """Returns what the cases of a test have in common, in each of its classes.

    The cases that absl makes of a method wrap it.
    """
    code = getattr(inspect.unwrap(item.obj), "__code__", item.name)
    return item.parent.nodeid, code


@pytest.fixture(autouse=True)
def seeded():
    """Starts every test, alone or behind others, from the same numbers."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:  # Some tests hold that it is not imported.
        sys.modules["keras"].utils.set_random_seed(0)


def pytest_runtest_setup(item):
    budget = item.config.getoption("--budget")
    if budget and time.monotonic() - _START > budget:
        pytest.skip(_TOO_LATE)


def pytest_terminal_summary(terminalreporter):
    """Says how many tests a budget left out."""
    skipped = terminalreporter.getreports("skipped")
    count = sum(_TOO_LATE in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.section("not all tests ran")
        terminalreporter.line(f"{count} tests: {_TOO_LATE}")


@functools.cache
def _slowness():
    """Returns how much longer this processor takes than a fast one, above 1."""
    start = time.process_time()
    for _ in range(10**6):
        pass
    return max(1.0, (time.process_time() - start) / _FAST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fails a unit test that computes for too long."""
    start = time.process_time(), time.monotonic()
    result = yield
    # Threads take more of the processor, and a busy machine more time.
    seconds = min(time.process_time() - start[0], time.monotonic() - start[1])
    limit = (item.config.getoption("--max_seconds") or 0) * _slowness()
    if limit and item.get_closest_marker("unit") and seconds > limit:
        pytest.fail(
            f"computed for {seconds:.1f} s, and a unit test may for {limit:g}: "
            "make it smaller, or move it to tests/integration",
            pytrace=False,
        )
    return result
