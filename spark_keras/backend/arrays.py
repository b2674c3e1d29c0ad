"""Arrays as the backend's programs take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from spark_keras.backend.tensorflow_program import tensor_of


def to_tensor() -> Callable[[np.ndarray], Any]:
    """Gives the function from an array to what a kernel of this backend takes."""
    if keras.backend.backend() == "jax":
        from spark_keras.backend import jax_arrays

        return jax_arrays.tensor
    return tensor_of if keras.backend.backend() == "tensorflow" else lambda array: array


def minibatch(batches: Any, index: Any) -> Any:
    """One of the minibatches in stacks, nested as they are."""
    # An output without a label has None.
    return keras.tree.map_structure(lambda stacked: None if stacked is None else stacked[index], batches)
