"""Arrays that TensorFlow and JAX take without a copy."""

from __future__ import annotations

import math

import numpy as np

# Bytes: a cache line, and what TensorFlow and JAX want of an array that they take without a copy.
ALIGNMENT = 64


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array, aligned as these are; its numbers are whatever was there."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, "uint8")
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
