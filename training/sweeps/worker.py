"""A worker process of a sweep: trains one trial after another.

Started by `workers.py`. Jobs come as lines of JSON on stdin, records go as
lines of JSON to what was stdout; everything printed goes to stderr.
"""

import dataclasses
import json
import os
import pathlib
import queue
import sys
import threading

# Run by path, Python looks for modules in this folder first. What has to be
# found is the checkout, with or without an installed keras_regnet.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Several workers share a GPU: none may take all of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def _read_jobs(jobs: queue.SimpleQueue) -> None:
    """Passes on the driver's lines; when the driver is gone, so are we.

    The end of stdin comes with the driver's death, however it died, and
    no training step may outlive it.
    """
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def _serve(results, folder: str, regime_name: str, threads: int) -> None:
    jobs = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()

    from training.sweeps import regimes
    from training.sweeps import trial
    from training.sweeps import trial_data

    if threads:
        trial.step_module().limit_threads(threads)
    arrays = trial_data.load(regimes.get(regime_name), folder)
    _say(results, {"ready": True})
    while True:
        job = jobs.get()
        record = trial.run(trial.Trial(**job["trial"]), arrays, job["attempt"])
        _say(results, dataclasses.asdict(record))


def _say(results, message):
    results.write(json.dumps(message) + "\n")
    results.flush()


if __name__ == "__main__":
    # Whatever libraries print must not come between the records.
    _results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _folder, _regime, _threads = sys.argv[1:]
    _serve(_results, _folder, _regime, int(_threads))
