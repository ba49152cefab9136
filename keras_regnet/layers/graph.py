"""The calls of the layers of a functional model, and who reads a tensor."""

import collections
from typing import Any

import keras


class Graph:
    """The calls of a model's layers (Keras's nodes), and who reads a tensor.

    No public view of the graph has them: a layer's `input` is that of its
    first call anywhere, and what `keras.ops` makes is not a layer.
    """

    def __init__(self, model: keras.Model) -> None:
        calls = [
            node
            for nodes in model._nodes_by_depth.values()
            for node in nodes
            if not node.is_input
        ]
        times = collections.Counter(id(call.operation) for call in calls)
        # The only calls of what they call.
        self.single = [call for call in calls if times[id(call.operation)] == 1]
        self._readers = collections.defaultdict(list)
        for call in calls:
            for tensor in call.input_tensors:
                self._readers[id(tensor)].append(call)
        for tensor in model.outputs:
            self._readers[id(tensor)].append(None)

    def only_reader(self, tensor: Any) -> Any:
        """Returns the call that alone uses a tensor, None if there are more.

        Nor if it is an output, or the layer is called elsewhere, too.
        """
        readers = self._readers[id(tensor)]
        is_only = len(readers) == 1 and readers[0] in self.single
        return readers[0] if is_only else None
