"""Injects faults into a trainer from inside, by its hooks, and records it."""

import hashlib
import json
import math
import resource
import signal
import sys

import tensorflow as tf

from training.trainer import hooks

# Fewer than a checkpoint has.
_BYTES = 1000


class FaultHooks(hooks.Hooks):
    """Does what a `faults_child.Injection` says."""

    def __init__(self, injection):
        self._injection = injection
        self._writes = 0
        self._loss_before = 0.0

    def before_export(self, state):
        del state
        return self._injection.export

    def training_batches(self, batches):
        """Appends a line for the images that this process reads of a step."""
        if not self._injection.inputs:
            return batches

        def record(images):
            digests = [hashlib.md5(i.tobytes()).hexdigest() for i in images]
            _append(self._injection.inputs, digests)
            return images

        def recorded(images, labels):
            result = tf.numpy_function(record, [images], images.dtype)
            return tf.ensure_shape(result, images.shape), labels

        return batches.map(recorded)

    def before_steps(self, state):
        position = state.position
        self._loss_before = position.sums[0] if position.sums else 0.0
        if position.step and position.step == self._injection.spoil_at_step:
            # The classifier's: after others, ReLU may hide it from the loss.
            weight = state.model.trainable_variables[-1]
            weight.assign(weight * math.nan)

    def after_steps(self, state):
        if self._injection.losses:
            position = state.position
            loss = position.sums[0] - self._loss_before
            _append(self._injection.losses, [position.step, loss])

    def before_save(self, state):
        del state
        self._writes += 1
        if self._writes == self._injection.kill_in_write:
            # The system ends the process within the write.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            _limit_files(_BYTES)
        if self._writes == self._injection.full_at_write:
            # A module imported meanwhile would leave half a .pyc behind.
            sys.dont_write_bytecode = True
            _limit_files(_BYTES)

    def after_save(self, state):
        del state
        _limit_files(None)


def _append(path, values):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def _limit_files(size):
    """Lets no file grow beyond a size; None lifts that."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = hard if size is None else size
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
