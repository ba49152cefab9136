"""A LiteRT file in LiteRT, by its default delegate XNNPACK."""

from typing import Any

from ai_edge_litert import interpreter as litert

from benchmarks.cases import file_checks
from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a file.

    Args:
      job: path, images, threads, and what `file_checks.prepared` takes.
    """
    interpreter = litert.Interpreter(job["path"], num_threads=job["threads"])
    interpreter.allocate_tensors()
    (image_details,) = interpreter.get_input_details()
    (output_details,) = interpreter.get_output_details()
    interpreter.set_tensor(image_details["index"], file_checks.images(job))
    read = interpreter.get_tensor

    def step():
        interpreter.invoke()
        return read(output_details["index"])

    operations = interpreter._get_ops_details()
    taken = any(op["op_name"] == "DELEGATE" for op in operations)
    return file_checks.prepared(
        job,
        step,
        ("ai-edge-litert",),
        delegate="XNNPACK" if taken else "built-in kernels",
    )
