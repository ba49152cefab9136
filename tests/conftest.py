"""The tiers of the tests: a test belongs to the tier that its folder names.

unit: trains nothing, converts nothing, starts no process; the default.
integration: runs, exports, backends and documentation.
system: whole processes, faults and sweeps.
cluster: on a Ray cluster; needs the extra [cluster].
"""

import pathlib

import hypothesis
import pytest

TIERS = ("unit", "integration", "system", "cluster")
_TESTS = pathlib.Path(__file__).parent

# A machine that others use too is slow for reasons that are not the test's.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption(
        "--max_seconds",
        type=float,
        help="fail a unit test that takes longer; for .ci/run",
    )


def pytest_collection_modifyitems(items):
    for item in items:
        tier = item.path.relative_to(_TESTS).parts[0]
        item.add_marker(getattr(pytest.mark, tier))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    limit = item.config.getoption("--max_seconds")
    is_unit_call = report.when == "call" and item.get_closest_marker("unit")
    if limit and is_unit_call and report.passed and call.duration > limit:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {call.duration:.1f} s, and a unit test may "
            f"take {limit:g} s: make it smaller, or move it to integration"
        )
    return report
