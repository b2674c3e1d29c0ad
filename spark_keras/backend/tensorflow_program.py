"""TensorFlow programs of arrays, with and without XLA: what training rounds and forward passes are compiled to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from spark_keras.executor.aligned import ALIGNMENT, aligned


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
        return tensor_of(array, copy=not self._xla)

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


def tensor_of(array: np.ndarray, copy: bool = False) -> Any:
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
