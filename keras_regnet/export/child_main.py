"""The process that `child` starts, which does jobs of a module.

    python child_main.py MODULE

imports the module, which takes seconds, and then answers each line of stdin on
what was stdout. A line is a JSON object of `job`, which is a function of the
module, `time_limit` in seconds and the arguments; an answer has the `result` or
the `error`, and `peak_bytes` of memory. A process for the module `tensorflow`
does `convert`, of this file: it imports neither Keras nor this package.
"""

import faulthandler
import importlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

if __name__ == "__main__":
    # Run by its path: the package is where this file is.
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Nothing here is for an accelerator, which who started this may hold.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# After it the process ends itself, if who started it no longer does.
_GRACE_SECONDS = 10


def settings(quantize: str) -> dict[str, Any]:
    """Returns the attributes of TensorFlow's converter for a quantization.

    In the form in which Keras's export to LiteRT takes them.
    """
    import tensorflow as tf

    optimized = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    # No Flex operations.
    target = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    in_half = {**target, "supported_types": [tf.float16]}
    found: dict[str, dict[str, Any]] = {
        "none": {"target_spec": target},
        "float16": {**optimized, "target_spec": in_half},
        "dynamic": {**optimized, "target_spec": target},
    }
    return found[quantize]


def convert(saved_model: str, file: str, quantize: str) -> None:
    """Writes the LiteRT file of a SavedModel, as Keras's export does."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    converter.experimental_enable_resource_variables = True
    for name, value in settings(quantize).items():
        if name == "target_spec":
            for field, types in value.items():
                setattr(converter.target_spec, field, types)
        else:
            setattr(converter, name, value)
    pathlib.Path(file).write_bytes(converter.convert())


def answer(module: ModuleType, line: str) -> dict[str, Any]:
    """Does the job of a line, and returns its result or its error."""
    job = json.loads(line)
    # Ends the process whatever it is at.
    faulthandler.dump_traceback_later(
        job.pop("time_limit") + _GRACE_SECONDS, exit=True
    )
    name = job.pop("job")
    function = convert if name == "convert" else getattr(module, name)
    try:
        found = {"result": function(**job)}
    except Exception as error:
        # The converter's own class of errors is not public.
        found = {"error": str(error) or type(error).__name__}
    faulthandler.cancel_dump_traceback_later()
    return found


def _peak_bytes():
    # Where it is to be had: what `getrusage` counts begins with the memory of
    # the process that started this one.
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)
        if found:
            return 1024 * int(found[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main(argv: Sequence[str]) -> None:
    """Answers until there are no more lines."""
    # Whatever libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(argv[1])
    for line in sys.stdin:
        found = {**answer(module, line), "peak_bytes": _peak_bytes()}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv)
