"""pytest's options --slow and --cluster, and Hypothesis's patience."""

import pathlib

import hypothesis

# A machine that others use too is slow for reasons that are not the test's.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

_CLUSTER = pathlib.Path(__file__).parent / "cluster"


def pytest_addoption(parser):
    parser.addoption(
        "--slow", action="store_true", help="run slow tests as well"
    )
    parser.addoption(
        "--cluster",
        action="store_true",
        help="run tests/cluster, which need the extra [cluster]",
    )


def pytest_ignore_collect(collection_path, config):
    if collection_path == _CLUSTER and not config.getoption("--cluster"):
        return True
    return None


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
