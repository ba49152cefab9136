"""The functional model of a network: record, saving, rematerialization."""

import itertools
import re
from collections.abc import Callable
from typing import Any
from typing import Self

import keras
from keras import ops

from keras_regnet import class_names as names_lib
from keras_regnet import config as config_lib
from keras_regnet import layers
from keras_regnet import preprocessing
from keras_regnet import rows
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.model_record import ModelRecord

# In a layer's name, which may have a prefix.
_BLOCK = re.compile(r"stage\d+_block\d+")


@keras.saving.register_keras_serializable(package="keras_regnet")
class RegNetModel(keras.Model):
    """A functional model that knows what it is, and prepares its images.

    Made by the builders of `keras_regnet.models`. Saving keeps its network, its
    feature pyramid and its record; `keras.models.clone_model`, which rebuilds
    the bare graph, does not.

    Args:
      inputs: the input tensor.
      outputs: the output tensor.
      name: the model's name.
      **kwargs: further arguments of `keras.Model`.
    """

    # The signature is Functional's: by it Keras decides that the graph can be
    # saved layer by layer.
    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        self._network: RegNetConfig | AnyNetConfig | None = None
        self._pyramid_layers: tuple[tuple[str, str], ...] = ()
        # Until a record is set, as in a clone of the bare graph.
        self._record = ModelRecord(normalizes=_normalizes(self))
        self._rematerializes_blocks = self._take_over_rematerialization()

    def set_network(
        self,
        network: RegNetConfig | AnyNetConfig | None,
        pyramid: dict[str, Any],
    ) -> None:
        """Records the configuration, and the tensor of each pyramid level."""
        names = {id(layer.output): layer.name for layer in self.layers}
        self._network = network
        self._pyramid_layers = tuple(
            (level, names[id(tensor)]) for level, tensor in pyramid.items()
        )

    @property
    def network(self) -> RegNetConfig | AnyNetConfig | None:
        """The configuration of the model; None if no builder made it."""
        return self._network

    def set_record(self, record: ModelRecord) -> None:
        """Records where the model comes from and what its outputs mean.

        Raises:
          ValueError: if it has not one class name for each output.
        """
        if record.class_names is not None:
            names_lib.checked(record.class_names, self.output.shape[-1])
        self._record = record

    @property
    def record(self) -> ModelRecord:
        """Origin of the weights, class names, and how images are seen."""
        return self._record

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each output; None if they are not known."""
        return self._record.class_names

    def preprocess(self, images: Any) -> Any:
        """Returns images as the model takes them, prepared as in evaluation.

        They are resized and cropped as the source of the weights, or the
        trainer's run, evaluates, to the size of the model's input; where that
        is open, to the size of the record, or 224 pixels. The model itself
        normalizes them, or, built with `include_preprocessing=False`, gets
        them normalized. The pixels are those of `keras_regnet.preprocess_input`
        for the same weights.

        Args:
          images: the path or the bytes of an image file, a file that is open, a
            PIL image, an array or a tensor of pixels in 0..255, or a list of
            such, of any sizes.
            Arrays have the model's order of axes, (height, width, channels) or
            (channels, height, width), or are gray, (height, width); one with
            an axis more is a batch. In a tf.data pipeline, a tensor: an image
            or a batch, or what `tf.io.read_file` returned. Files and PIL
            images are turned as their Exif data say.

        Returns:
          float32 (n, height, width, channels), or channels first for a model
          that was built so: an array; of a symbolic tensor a tensor. One image
          is a batch of one, in a pipeline too: `unbatch` before `batch`.

        Raises:
          ValueError: if there are no images, or one cannot be read, or has
            other channels, or other numbers than pixels in 0..255.

        Example:
        >>> import numpy as np
        >>> import keras_regnet
        >>> model = keras_regnet.RegNetX("200MF")
        >>> photo = np.zeros((300, 400, 3), "uint8")
        >>> model.preprocess([photo, photo[:250]]).shape
        (2, 224, 224, 3)
        """
        if len(self.inputs) != 1:
            raise ValueError(
                "`preprocess` is for a model with one input of images. "
                f"Received: {len(self.inputs)} inputs"
            )
        return preprocessing.prepare(
            images, self._record, self.inputs[0].shape[1:], self._data_format
        )

    @property
    def _data_format(self):
        """The order of an image's axes, which a convolution was built with."""
        formats = (getattr(x, "data_format", None) for x in self.layers)
        return next(filter(None, formats), keras.config.image_data_format())

    @property
    def pyramid_outputs(self) -> dict[str, Any]:
        """Tensors "P1", "P2" ... where level l has 1 / 2**l of the size.

        With an `output_stride` the levels beyond it keep its size.
        """
        return {
            level: self.get_layer(name).output
            for level, name in self._pyramid_layers
        }

    def prefix_pyramid(self, prefix: str) -> None:
        """Follows layers to names that have got a prefix."""
        self._pyramid_layers = tuple(
            (level, prefix + name) for level, name in self._pyramid_layers
        )

    def _take_over_rematerialization(self):
        """Lets blocks, not layers, be computed again for the gradient.

        Keras repeats each layer by itself, which keeps every layer's input:
        all there is to save in a convolutional network. (JAX forbids the
        assignment of moving statistics inside a repeated function, so there
        it stays with the layers.)
        """
        mode = getattr(self._remat_mode, "mode", None)
        if mode != "full" or keras.backend.backend() != "tensorflow":
            return False
        for layer in self.layers:
            layer._remat_mode = None
        return True

    def rematerialized_call(
        self, layer_call: Callable, *args: Any, **kwargs: Any
    ) -> Callable:
        """Returns `layer_call`: to repeat the whole model saves nothing."""
        del args, kwargs
        return layer_call

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        mask: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Computes the outputs; a Keras model's `call`."""
        if not training and layers.folding.is_active():
            return self._folded_call(inputs)
        if not (training and self._rematerializes_blocks):
            return super().call(inputs, training=training, mask=mask, **kwargs)
        x = inputs
        for segment in self._segments():
            x = _call_rematerialized(segment, x)
        return x

    def _folded_call(self, inputs):
        """Calls layer after layer, batch norm within the convolutions."""
        return self._run_through_graph(
            self._standardize_inputs(inputs),
            operation_fn=layers.folding.joined_calls(self),
        )

    def predict_step(self, *args: Any) -> Any:
        """Predicts a batch; nobody can take a gradient of it."""
        with layers.folded_norms():
            return super().predict_step(*args)

    def test_step(self, *args: Any) -> Any:
        """Evaluates a batch; nobody can take a gradient of it."""
        with layers.folded_norms():
            return super().test_step(*args)

    def _segments(self):
        """Returns the model cut behind every block, as models in a row."""
        ends: dict[str, Any] = {}
        for layer in self.layers:
            if block := _BLOCK.search(layer.name):
                ends[block.group()] = layer.output
        # Without a top the last block's output is the model's own.
        inner = [end for end in ends.values() if end is not self.output]
        cuts = [self.input, *inner, self.output]
        return [keras.Model(*pair) for pair in itertools.pairwise(cuts)]

    def get_config(self) -> dict[str, Any]:
        """Returns the graph, the network and the pyramid."""
        network = self._network and self._network.to_json()
        return {
            **super().get_config(),
            "network": network,
            "pyramid_layers": dict(self._pyramid_layers),
            "rematerializes_blocks": self._rematerializes_blocks,
            "record": self._record.to_json(),
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
    ) -> Self:
        """Rebuilds the model from what `get_config` returned."""
        config = dict(config)
        network = config.pop("network")
        pyramid_layers = config.pop("pyramid_layers")
        # Models of before this was kept have no such entry.
        rematerializes = config.pop("rematerializes_blocks", False)
        record = config.pop("record", None)
        model = super().from_config(config, custom_objects=custom_objects)
        model._network = network and config_lib.from_json(network)
        model._pyramid_layers = tuple(pyramid_layers.items())
        model._rematerializes_blocks |= rematerializes
        # Models of before there were records have none.
        if record is not None:
            model._record = ModelRecord.from_json(record)
        return model


def _normalizes(model):
    """Whether a model normalizes images, by the names of its layers."""
    names = [layer.name for layer in model.layers]
    return any(name.endswith(rows.NORMALIZATION) for name in names)


# `.h5` files, which Keras 3 still writes, name a model's class alone.
keras.saving.get_custom_objects()[RegNetModel.__name__] = RegNetModel


def _call_rematerialized(segment, x):
    """Calls part of a model, whose activations the gradient computes again.

    The second pass must sample the dropout masks of the first: it starts from
    the random states in which the first began.
    """
    generators = [
        layer.seed_generator.state
        for layer in segment.layers
        if hasattr(layer, "seed_generator")
    ]
    first_values = [ops.copy(state.value) for state in generators]

    passes = itertools.count()

    def call(x):
        # The gradient runs outside the model's call: pass on `training`.
        if next(passes) == 0:
            return segment(x, training=True)
        # What is assigned again, moving statistics, goes with the scope.
        states = zip(generators, first_values, strict=True)
        with keras.StatelessScope(state_mapping=states):
            return segment(x, training=True)

    return keras.remat(call)(x)
