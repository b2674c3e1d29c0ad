"""TensorFlow programs of arrays, with and without XLA: what training rounds and forward passes are compiled to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from spark_keras.executor.aligned import ALIGNMENT, aligned

# Layers for which one XLA program per round wins on a CPU, unless minibatches are large. XLA runs convolutions inside a
# loop some twenty times slower than TensorFlow's own kernels, and gains nothing on recurrent layers; a layer that was
# never measured counts as one of those.
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


# Multiplications and additions of a forward pass: with more, TensorFlow's own matrix products are up to 1.6 times as
# fast on the CPUs that were measured; with fewer, starting an operation costs so much that XLA is up to twice as fast.
XLA_FORWARD_OPERATIONS = 1e9


def forward_gains(model: keras.Model, rows: int) -> bool:
    """Whether XLA makes a forward pass of so many rows faster on a CPU."""
    # A weight of the layers that gain is multiplied once for each row.
    return without_gain(model) is None and 2 * rows * model.count_params() <= XLA_FORWARD_OPERATIONS


class Program:
    """A TensorFlow function of arrays, compiled once for each set of shapes.

    Calls the compiled function itself: `tf.function` checks every argument and every captured variable in Python
    before each call, which takes longer than ten minibatches of a small model.
    """

    def __init__(self, function: Callable[..., Any], xla: bool, traced: Callable[[Any], None] | None = None):
        """`traced` looks at each concrete function before it is called."""
        self._function, self._xla, self._traced = function, xla, traced
        self._compiled: dict[Any, tuple[Callable[..., Any], list[Any]]] = {}

    def __call__(self, *arguments: Any) -> list[np.ndarray]:
        """The outputs, read-only."""
        flat = [self._tensor(array) for array in keras.tree.flatten(arguments) if array is not None]
        # What `dtype` and `shape` make objects of, which take longer to compare than all else here.
        shapes = tuple([(tensor._datatype_enum(), tensor._shape_tuple()) for tensor in flat])
        if shapes not in self._compiled:
            self._compiled[shapes] = self._compile(arguments, flat)
        call, captured = self._compiled[shapes]
        return [np.asarray(output) for output in call(*flat, *captured)]

    def _tensor(self, array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        # Without XLA, a variable may keep what it is assigned, and the array may change after the call.
        return _tensor_of(array, copy=not self._xla)

    def _compile(self, arguments: Any, flat: list[Any]) -> tuple[Callable[..., Any], list[Any]]:
        import tensorflow as tf

        def function(*flat: Any) -> Any:
            given = iter(flat)
            return self._function(
                *keras.tree.map_structure(lambda each: None if each is None else next(given), arguments)
            )

        program = tf.function(function, jit_compile=self._xla, autograph=False).get_concrete_function(*flat)
        if self._traced is not None:
            self._traced(program)
        return program.inference_fn.call_flat, list(program.captured_inputs)


def to_tensor() -> Callable[[np.ndarray], Any]:
    """What makes an array into what a kernel of this backend takes."""
    if keras.backend.backend() == "jax":
        from spark_keras.training import jax_kernel

        return jax_kernel.tensor
    return _tensor_of if keras.backend.backend() == "tensorflow" else lambda array: array


def _tensor_of(array: np.ndarray, copy: bool = False) -> Any:
    """A TensorFlow tensor in the array's own memory; in that of a copy where one is asked for, or TensorFlow needs it.

    `tf.constant` would copy in any case; and what it costs beside, each time, is as much as a small minibatch.
    """
    import tensorflow as tf

    if array.dtype.kind not in "biuf":
        return tf.constant(array)
    if copy or array.ctypes.data % ALIGNMENT or not (array.flags.writeable and array.flags.c_contiguous):
        given, array = array, aligned(array.shape, array.dtype)
        array[...] = given
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
