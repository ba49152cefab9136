"""An ONNX file in ONNX Runtime."""

from typing import Any

import onnxruntime

from benchmarks.cases import file_checks
from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a file.

    Args:
      job: path, images, threads, and what `file_checks.prepared` takes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    session = onnxruntime.InferenceSession(
        job["path"], options, ["CPUExecutionProvider"]
    )
    feed = {session.get_inputs()[0].name: file_checks.images(job)}
    return file_checks.prepared(
        job, lambda: session.run(None, feed)[0], ("onnxruntime",)
    )
