"""Arrays as JAX's programs take them."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np

from spark_keras.executor.aligned import aligned


def tensor(array: np.ndarray) -> np.ndarray | jax.Array:
    """An array of a type that JAX has, on JAX's device. It must not change any more.

    On a CPU a program takes it as it lies in memory, in a small part of the time that `jax.device_put` needs.
    """
    narrow, dtype = array, dtype_of(array.dtype)
    if dtype != array.dtype:
        narrow = aligned(array.shape, dtype)
        narrow[...] = array
        # JAX itself would take large integers modulo 2**32.
        if array.dtype.kind in "iu" and not np.array_equal(narrow, array):
            raise OverflowError(
                f"An integer does not fit into JAX's {dtype}. Received: values from {array.min()} to {array.max()}. "
                "Expected: 32-bit integers on the JAX backend."
            )
    return narrow if jax.default_backend() == "cpu" else jax.device_put(narrow)


def limits_of(dtype: Any) -> tuple[int, int]:
    """The smallest and the largest integer of a type."""
    return (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def dtype_of(dtype: Any) -> Any:
    """The type that JAX makes of another: without its 64-bit mode, which Keras leaves off, float32 of float64."""
    return jax.dtypes.canonicalize_dtype(keras.backend.standardize_dtype(dtype))
