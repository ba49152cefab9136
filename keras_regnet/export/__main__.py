"""Exports a network: python -m keras_regnet.export MODEL --format=litert ...

MODEL is a variant such as RegNetY-400MF (with --weights), a .keras file, a run
folder of the trainer, or a file of weights that tells its published network.
The file is compared with the model; the exit status is 1 if it is beyond the
tolerance, or if anything went wrong.
"""

import os
import sys
from typing import Any

from absl import flags

from keras_regnet.export import command
from keras_regnet.export import spec

# Not the global ones: other modules have flags of the same names.
_FLAGS = flags.FlagValues()


def _define(kind, name, default, text, **options):
    getattr(flags, f"DEFINE_{kind}")(
        name, default, help=text, flag_values=_FLAGS, **options
    )


_define("bool", "help", False, "Show this help.")
_define(
    "enum",
    "format",
    "litert",
    "What to write.",
    enum_values=spec.FORMATS,
)
_define(
    "enum",
    "quantize",
    "none",
    "LiteRT: weights in half precision, int8 weights, or int8 throughout.",
    enum_values=spec.QUANTIZATIONS,
)
_define(
    "string",
    "representative",
    None,
    "int8: a folder of images, searched "
    "recursively, a set of tensorflow-datasets, or 'random' for noise.",
)
_define("string", "data_dir", None, "Where tensorflow-datasets keeps its sets.")
_define(
    "enum",
    "input",
    "uint8",
    "Type of the pixels; int8 ones are 128 less.",
    enum_values=list(spec.PIXEL_DTYPES),
)
_define("string", "batch", "1", "Images in a batch, or 'dynamic'.")
_define(
    "string",
    "image_size",
    None,
    "Side of the images in pixels, "
    "HEIGHTxWIDTH, or 'dynamic'; by default the model's own, or 224.",
)
_define(
    "integer",
    "group_width",
    None,
    "LiteRT: merge groups of convolutions up to this width, zeros between "
    "them, whatever --target would choose.",
    lower_bound=1,
)
_define(
    "enum",
    "target",
    None,
    "LiteRT: processors that the file is to be fast on: by a rule for x86 or "
    "arm, or auto: whichever of a few forms is fastest on this machine.",
    enum_values=spec.TARGETS,
)
_define(
    "integer",
    "opset",
    None,
    "ONNX: version of its operators; by default tf2onnx's own.",
    lower_bound=spec.OPSETS[0],
    upper_bound=spec.OPSETS[-1],
)
_define("string", "labels", None, "File with one class name per line.")
_define(
    "string",
    "weights",
    "none",
    "Of a variant: 'none', or what `weights=` takes: 'default', a tag, a file, "
    "a run folder or hf:owner/name.",
)
_define(
    "bool",
    "fold_batch_norm",
    False,
    "SavedModel: batch norm becomes a "
    "part of the convolutions, as in the other formats.",
)
_define("bool", "bfloat16", False, "SavedModel: compute in bfloat16.")
_define(
    "bool",
    "verify",
    True,
    "Compare what was exported with the model before it is written.",
)
_define(
    "string",
    "images",
    None,
    "Folder or set to compare on; by default --representative, or noise.",
)
_define(
    "integer",
    "num_images",
    256,
    "At most so many images of a folder or set are compared; at most 256 of "
    "them are representative.",
    lower_bound=1,
)
_define(
    "integer",
    "threads",
    1,
    "Threads of the runtime that is timed.",
    lower_bound=1,
)
_define(
    "float",
    "time_limit",
    900.0,
    "LiteRT: seconds that TensorFlow's converter may take, in a process of its "
    "own; 0 to convert in this process, without a limit.",
    lower_bound=0.0,
)
_define(
    "float",
    "tolerance",
    None,
    "Max absolute error of an output allowed; "
    "by default by format and quantization.",
    lower_bound=0.0,
)
_define("string", "out", None, "File or folder to write.")
_define("string", "existing", None, "Write nothing; compare this file.")
_define(
    "string",
    "results",
    None,
    "CSV to which the accuracy is added, as the trainer's validate.py does.",
)
_define("string", "report", None, "File for the comparison as JSON.")


def main(argv: list[str]) -> int:
    """Exports what the command line names, and returns the exit status."""
    try:
        positional = _FLAGS(argv)[1:]
        if _FLAGS.help:
            print(__doc__)
            print(_FLAGS.get_help())
            return 0
        if len(positional) != 1:
            raise ValueError(
                "One MODEL is needed: a variant, a .keras file or a run "
                f"folder. Received: {positional}"
            )
        # A shell leaves "~" in "--out=~/model.tflite" as it is.
        values: dict[str, Any] = {
            name: os.path.expanduser(value) if isinstance(value, str) else value
            for name, value in _FLAGS.flag_values_dict().items()
        }
        del values["help"]
        return command.run(command.Request(model=positional[0], **values))
    except (ValueError, OSError, ImportError, flags.Error) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
