"""The precision that a run computes in."""

from absl import logging

from keras_regnet import instruction_sets
from keras_regnet import processor


def policy(requested: str) -> str:
    """Returns Keras's policy: the requested one, or float32 if it is faster."""
    if requested != "mixed_bfloat16" or processor.computes_bfloat16():
        return requested
    logging.warning(
        "precision=mixed_bfloat16 takes longer than float32 here, and float32 "
        "is used: TensorFlow has no instructions for it on this processor, %s.",
        instruction_sets.best(),
    )
    return "float32"
