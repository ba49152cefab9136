"""The processor, its cores, and the revision of the checkout."""

import os
import platform
import subprocess

from benchmarks.harness import child


def cpu_model() -> str:
    """Returns the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        return lines[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def cores() -> int:
    """Returns how many threads this process may run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def revision() -> str:
    """Returns the name of the checkout's commit, and whether it is changed."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(
            command, cwd=child.ROOT, capture_output=True, text=True
        )
    except OSError:
        return "unknown revision"
    return result.stdout.strip() or "unknown revision"
