"""Reading `.safetensors` files: no PyTorch, no pickle."""

import os

import safetensors

from keras_regnet.weights.readers.tensors import Tensors

# Of weights, and of the counters that PyTorch keeps beside them.
_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32")


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a file; the file stays mapped, not read."""
    try:
        file = safetensors.safe_open(path, framework="numpy")
        names = file.keys()
        slices = {name: file.get_slice(name) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{os.fspath(path)!r} is not a safetensors file, or is damaged: "
            f"{str(error).splitlines()[0]}."
        ) from error
    for name, part in slices.items():
        kind = part.get_dtype()
        if kind not in _TYPES:
            raise ValueError(
                f"The tensor {name!r} of {os.fspath(path)!r} is of type "
                f"{kind}. Allowed: {', '.join(_TYPES)}."
            )
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    return Tensors(shapes, file.get_tensor)
