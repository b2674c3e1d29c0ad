"""The activation behind a symbolic tensor, followed through what keeps the meaning of numbers."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.utils.naming import to_snake_case

from spark_keras.keras_model import cost, signature
from spark_keras.keras_model.origin import of_keras

# Layers that end with the activation that they are given.
_ACTIVATED = (
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.EinsumDense,
    *cost.CONVOLUTIONS,
    *cost.TRANSPOSED_CONVOLUTIONS,
)
# Layers and operations that keep what numbers mean: when a model predicts, they pass them on, or average them.
_PASSING = (
    "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D "
    "SpatialDropout3D Flatten Identity Permute Reshape Cast Squeeze ExpandDims Average GlobalAveragePooling1D "
    "GlobalAveragePooling2D GlobalAveragePooling3D"
).split()


def activation_of(output: Any) -> str | None:
    """Keras' name of the activation that makes a symbolic tensor, such as "softmax" or "linear"; None: unknown."""
    history = getattr(output, "_keras_history", None)
    if history is None:
        return None
    made_by = history.operation
    inner = signature.graph_of(made_by)
    if inner is not None:
        return activation_of(inner.outputs[history.tensor_index])
    name = _activation_at(made_by, output)
    if _passes(made_by) or (name == "linear" and isinstance(made_by, keras.layers.Activation)):
        before = {activation_of(tensor) for tensor in made_by._inbound_nodes[history.node_index].input_tensors}
        return before.pop() if len(before) == 1 else None
    return name


def _passes(operation: Any) -> bool:
    return of_keras(type(operation)) and type(operation).__name__ in _PASSING


def _activation_at(operation: Any, output: Any) -> str | None:
    """The activation that an operation itself applies last."""
    if isinstance(operation, _ACTIVATED):
        # A subclass of the user's may go on.
        return _name_of(operation.activation, output) if of_keras(type(operation).call) else None
    if not of_keras(type(operation)):
        return None
    name = to_snake_case(type(operation).__name__)
    if name in ("softmax", "log_softmax"):
        return name if operation.axis in (-1, len(output.shape) - 1) else None
    return name if hasattr(keras.activations, name) else None


def _name_of(activation: Any, output: Any) -> str | None:
    if isinstance(activation, keras.layers.Layer):
        return _activation_at(activation, output)
    return activation.__name__ if of_keras(activation) else None
