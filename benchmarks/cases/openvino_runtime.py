"""An ONNX file in OpenVINO."""

from typing import Any

import openvino

from benchmarks.cases import file_checks
from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a file.

    Args:
      job: path, images, threads; precision ("f32", or "" for OpenVINO's choice,
        which is bfloat16 where the processor has it), and what
        `file_checks.prepared` takes.
    """
    options = {
        "INFERENCE_NUM_THREADS": job["threads"],
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if job["precision"]:
        options["INFERENCE_PRECISION_HINT"] = job["precision"]
    compiled = openvino.compile_model(job["path"], "CPU", options)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(file_checks.images(job)))

    def step():
        request.infer()
        return request.get_output_tensor().data

    return file_checks.prepared(job, step, ("openvino",))
