"""A benchmark case that prints, for `python -m benchmarks.harness.worker`."""

import os

from benchmarks.harness import worker


def prepare(job):
    del job
    print("noise")

    def turn():
        os.system("echo noise")
        return {"cores": len(os.sched_getaffinity(0))}

    return worker.Prepared(turn)
