"""The step of an outer optimizer: takes what a period has changed for a gradient.

S. J. Reddi et al., "Adaptive Federated Optimization" (2021), algorithm 1; A. Douillard et al., "DiLoCo" (2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from spark_keras.keras_model import state as states
from spark_keras.keras_model.state import Entry, State

# Those that treat each number by itself: no norms, no shapes.
_ELEMENTWISE = ("SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion")


def is_elementwise(optimizer: keras.optimizers.Optimizer) -> bool:
    """Tells if the bits of its step are the same with any number of threads."""
    return (
        any(type(optimizer) is getattr(keras.optimizers, name, None) for name in _ELEMENTWISE)
        and optimizer.clipnorm is None
        and optimizer.global_clipnorm is None
    )


class OuterStep:
    """Steps from an old state to a new one. Only what the model trains is stepped; all else is as in the new state.

    Args:
        optimizer: any Keras optimizer; its gradient is the old state minus the new one. A learning rate of 1 without
            momentum leaves the new state as it is, to the bit.
        trained: the entries of the model's trainable weights.
        dtype: of the states' values.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, trained: tuple[Entry, ...], dtype: str):
        self._optimizer, self._trained, self._dtype = optimizer, trained, dtype
        # Of the weights' names and shapes, which some optimizers go by.
        self._variables = [
            keras.Variable(np.zeros(each.shape, dtype), dtype=dtype, name=each.path.rpartition("/")[2])
            for each in trained
        ]
        optimizer.build(self._variables)

    def __call__(self, old: State, new: State) -> State:
        gradients: list[Any] = []
        for variable, each in zip(self._variables, self._trained):
            variable.assign(_part(old, each))
            gradients.append(keras.ops.convert_to_tensor(_part(old, each) - _part(new, each)))
        self._optimizer.apply(gradients, self._variables)
        values = new.values.copy()
        for variable, each in zip(self._variables, self._trained):
            before, after = _part(old, each), _part(new, each)
            # By as much as it differs from a step to the new state: where that is nothing, no rounding is left.
            other = states.to_numpy(variable.value) - (before - (before - after))
            values[each.start : each.stop] = (after + other).reshape(-1)
        return State(values, new.integers)

    def read(self) -> list[np.ndarray]:
        """The optimizer's variables."""
        return [np.array(states.to_numpy(each.value)) for each in self._optimizer.variables]

    def write(self, arrays: Iterable[np.ndarray]) -> None:
        for variable, array in zip(self._optimizer.variables, arrays):
            variable.assign(array)

    def state(self) -> State:
        """The optimizer's variables as a state: those that are floating-point numbers, and the integers."""
        arrays = [array.reshape(-1) for array in self.read()]
        floats = [array for array in arrays if array.dtype.kind == "f"]
        others = [array.astype("int64") for array in arrays if array.dtype.kind != "f"]
        values = np.concatenate([np.empty(0, self._dtype), *floats], dtype=self._dtype)
        return State(values, np.concatenate([np.empty(0, "int64"), *others]))

    def assign(self, state: State) -> None:
        """Takes over what `state` gave."""
        taken, arrays = [0, 0], []
        for variable in self._optimizer.variables:
            dtype = keras.backend.standardize_dtype(variable.dtype)
            integer, size = "float" not in dtype, math.prod(variable.shape)
            start = taken[integer]
            taken[integer] += size
            arrays.append(state[integer][start : taken[integer]].reshape(variable.shape).astype(dtype))
        self.write(arrays)


def _part(state: State, entry: Entry) -> np.ndarray:
    return state.values[entry.start : entry.stop].reshape(entry.shape)
