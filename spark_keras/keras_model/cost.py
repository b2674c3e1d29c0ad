"""Parameters and FLOPs of a model's layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras

from spark_keras.keras_model.state import layout_of

# Forward, gradient by the inputs, gradient by the weights: each multiplies every weight once.
TRAINING_PASSES = 3


CONVOLUTIONS = tuple(
    getattr(keras.layers, name)
    for name in "Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D".split()
)


TRANSPOSED_CONVOLUTIONS = keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose


class LayerCost(NamedTuple):
    """One layer: its name and class, its parameters, its FLOPs for a row in the forward pass."""

    name: str
    type: str
    parameters: int
    flops: int


class ModelCost(NamedTuple):
    """Figures that the cost of a model's training follows from.

    Args:
        layers: those that have no layers inside.
        parameters: of the model.
        state_bytes: weights and the optimizer's variables, as they travel in each round.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    state_bytes: int

    @property
    def flops_per_row(self) -> int:
        """FLOPs to train a row, forward and backward."""
        return TRAINING_PASSES * sum(layer.flops for layer in self.layers)


def model_cost(model: keras.Model) -> ModelCost:
    """Reads a built model."""
    layout = layout_of(model)
    values, integers = layout.sizes
    layers = tuple(
        LayerCost(layer.name, type(layer).__name__, _weights(layer), times * _flops(layer))
        for layer, times in _leaves(model)
    )
    state_bytes = values * (8 if layout.dtype == "float64" else 4) + 8 * integers
    return ModelCost(layers, _weights(model), state_bytes)


def _leaves(layer: keras.layers.Layer, times: int = 1) -> Iterator[tuple[keras.layers.Layer, int]]:
    """The layers that have none inside, and how often a layer around them applies them."""
    inner = layer._flatten_layers(include_self=False, recursive=False)
    inner = [] if isinstance(layer, keras.layers.RNN) else list(inner)
    if not inner and not isinstance(layer, keras.Model):
        yield layer, times
    if isinstance(layer, keras.layers.TimeDistributed):
        times *= _size(_input_shape(layer)[1:2])
    for each in inner:
        yield from _leaves(each, times)


def _flops(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Embedding):
        return 0
    if isinstance(layer, keras.layers.Dense):
        return 2 * _kernels(layer) * _size(_input_shape(layer)[1:-1])
    if isinstance(layer, keras.layers.RNN):
        return 2 * _kernels(layer) * _size(_input_shape(layer)[1:2])
    if isinstance(layer, CONVOLUTIONS + TRANSPOSED_CONVOLUTIONS):
        shape = _input_shape(layer)
        if isinstance(layer, CONVOLUTIONS):
            shape = layer.compute_output_shape(shape)
        return 2 * _kernels(layer) * _size(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])
    return 2 * _weights(layer)


def _weights(layer: keras.layers.Layer) -> int:
    return sum(math.prod(weight.shape) for weight in layer.weights)


def _kernels(layer: keras.layers.Layer) -> int:
    """Number of weights that are multiplied: those of all kernels, not the biases."""
    return sum(math.prod(weight.shape) for weight in layer.weights if weight.name.endswith("kernel"))


def _input_shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    return tuple((layer.get_build_config() or {}).get("input_shape") or ())


def _size(shape: Sequence[int | None]) -> int:
    return math.prod(dimension or 1 for dimension in shape)
