"""The table of docs/export.md: which runtime on which processor."""

from typing import Any

from benchmarks import evaluated
from benchmarks import markdown
from benchmarks.harness import results
from benchmarks.harness import spec

# One for each processor.
_RESULTS = ("onnx_avx512_core_bf16",)
# Above it, a file is quantized, or rounds to fewer bits.
_MAX_ERROR = 1e-3
_NONE = "-"


def runtimes() -> str:
    """Returns the milliseconds of a batch, the fastest of float32 in bold."""
    header: list[str] = []
    rows = []
    for name in _RESULTS:
        result = results.read(evaluated.RESULTS / f"{name}.json")
        for network in _networks(result):
            settings = [
                setting
                for setting in result["settings"]
                if setting["labels"]["network"] == network
            ]
            header = ["processor", "network", "runtime", *map(_title, settings)]
            header.append("error")
            rows += _rows(result["machine"], network, settings)
    return markdown.table(header, rows)


def _networks(result):
    return dict.fromkeys(s["labels"]["network"] for s in result["settings"])


def _title(setting):
    threads, batch = (setting["labels"][key] for key in ("threads", "batch"))
    return f"{threads} thread{'s' * (threads > 1)}, batch {batch}"


def _rows(machine, network, settings):
    fastest = [_fastest(setting) for setting in settings]
    processor = f"{machine['cpu']}, {machine['instructions_of_machine']}"
    for name in settings[0]["cases"]:
        if name == spec.MACHINE:
            continue
        cells = [
            _cell(setting["cases"][name], name == best)
            for setting, best in zip(settings, fastest, strict=True)
        ]
        error = _error(settings[0]["cases"][name])
        last = "" if error is None else f"{error:.0e}"
        yield [processor, network, name, *cells, last]


def _milliseconds(case: dict[str, Any]) -> float | None:
    if not case["rounds"]:
        return None
    return 1e3 * results.median(case)


def _error(case):
    return case.get("facts", {}).get("max_relative_error")


def _fastest(setting):
    """Returns the name of the fastest case that computes in float32."""
    times = {
        name: _milliseconds(case)
        for name, case in setting["cases"].items()
        if (_error(case) or 0) < _MAX_ERROR and name != spec.MACHINE
    }
    ran = {name: time for name, time in times.items() if time is not None}
    return min(ran, key=ran.get, default=None)


def _cell(case, fastest):
    time = _milliseconds(case)
    if time is None:
        return _NONE
    return f"**{time:.1f}**" if fastest else f"{time:.1f}"


TABLES = (runtimes,)
