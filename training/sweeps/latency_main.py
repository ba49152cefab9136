"""A process that times networks on this machine, for `latencies.py`.

Each line on stdin is a JSON object of `config`, `image_size` and `classes`;
what was stdout gets a line with the milliseconds of a call for each.
"""

import json
import os
import pathlib
import sys

# Run by path, Python looks for modules in this folder first.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def milliseconds(config: str, image_size: int, classes: int) -> float:
    """Returns the median time of a call, as an int8 LiteRT file."""
    import keras

    import keras_regnet
    from keras_regnet.export import timer

    keras.backend.clear_session(free_memory=False)
    model = keras_regnet.build(
        keras_regnet.config.from_json(config),
        input_shape=(image_size, image_size, 3),
        classes=classes,
    )
    return timer.latency(model).milliseconds


def _serve(results):
    from keras_regnet.export import runners

    # Asked for before a network is built.
    runners.require_litert()
    for line in sys.stdin:
        measured = milliseconds(**json.loads(line))
        results.write(f"{measured:.6g}\n")
        results.flush()


if __name__ == "__main__":
    # Whatever libraries print must not come between the results.
    _results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        _serve(_results)
    except (ValueError, ImportError) as _error:
        sys.exit(f"error: {' '.join(str(_error).split())}")
