"""A worker process of a sweep: trains one trial after another.

Started by `local_pool.py`. Jobs come as lines on stdin, results go as lines
to what was stdout; everything printed goes to stderr.
"""

import gc
import os
import pathlib
import queue
import sys
import threading

# Run by path, Python looks for modules in this folder first.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Several workers share a GPU: none may take all of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def _read_jobs(lines: queue.SimpleQueue) -> None:
    """Passes on the driver's lines, and ends the process with the driver.

    The end of stdin comes with the driver's death, however it died, and
    no training step may outlive it.
    """
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _serve(results, folder: str, threads: int) -> None:
    lines = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(lines,), daemon=True).start()

    # Imported while the driver may already end, see above.
    from training.sweeps import arrays as arrays_lib
    from training.sweeps import messages
    from training.sweeps import spec
    from training.sweeps import trial

    if threads:
        trial.steps_module().limit_threads(threads)
    regime = spec.load_spec(folder).regime
    arrays = arrays_lib.load(regime, folder)
    # What is imported stays: no collection of garbage looks at it again.
    gc.freeze()
    _send(results, messages.Ready())
    while True:
        job = messages.Job.from_json(lines.get())
        record = trial.run_job(job, regime, arrays)
        _send(results, messages.Outcome(record))


def _send(results, message):
    results.write(message.to_json() + "\n")
    results.flush()


if __name__ == "__main__":
    # Whatever libraries print must not come between the results.
    _results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _folder, _threads = sys.argv[1:]
    _serve(_results, _folder, int(_threads))
