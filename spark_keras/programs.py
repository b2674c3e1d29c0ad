"""TensorFlow programs of arrays, with and without XLA: what training rounds and forward passes are compiled to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Layers for which one XLA program per round wins on a CPU. XLA runs convolutions inside a loop some twenty times
# slower than TensorFlow's own kernels, and gains nothing on recurrent layers; a layer that was never measured counts
# as one of those.
XLA_LAYERS = (
    "InputLayer Dense Activation ReLU LeakyReLU PReLU ELU Softmax Dropout GaussianNoise GaussianDropout AlphaDropout "
    "BatchNormalization LayerNormalization UnitNormalization Normalization Rescaling Flatten Reshape Permute "
    "Concatenate Add Subtract Multiply Average Maximum Minimum Dot ActivityRegularization Identity"
).split()


def without_gain(model: keras.Model) -> keras.layers.Layer | None:
    """A layer that is not known to run faster on a CPU when XLA compiles it, compiling aside; None if there is none."""
    for layer in model._flatten_layers():
        known = type(layer).__module__.startswith("keras.") and type(layer).__name__ in XLA_LAYERS
        if not known and not isinstance(layer, keras.Model):
            return layer
    return None


class Program:
    """A TensorFlow function of arrays, compiled once for each set of shapes.

    Calls the compiled function itself: `tf.function` checks every argument and every captured variable in Python
    before each call, which takes longer than ten minibatches of a small model.
    """

    def __init__(self, function: Callable[..., Any], xla: bool):
        import tensorflow as tf

        self._flatten = tf.nest.flatten
        self._function = tf.function(function, jit_compile=xla, autograph=False)
        self._compiled: dict[Any, tuple[Callable[..., Any], list[Any]]] = {}

    def __call__(self, *arguments: Any) -> list[np.ndarray]:
        arguments = tensors(arguments)
        flat = self._flatten(arguments)
        shapes = tuple((tensor.dtype, *tensor.shape) for tensor in flat)
        if shapes not in self._compiled:
            program = self._function.get_concrete_function(*arguments)
            self._compiled[shapes] = program.inference_fn.call_flat, list(program.captured_inputs)
        call, captured = self._compiled[shapes]
        return [output.numpy() for output in call(*flat, *captured)]


def tensors(arrays: Any) -> Any:
    """Nested numpy arrays as a kernel of this backend takes them; it converts those that are not."""
    if keras.backend.backend() != "tensorflow":
        return arrays
    import tensorflow as tf

    return tf.nest.map_structure(lambda array: array if tf.is_tensor(array) else tf.constant(array), arrays)
