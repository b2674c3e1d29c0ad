"""An outer optimizer: takes what a period has changed for a gradient, and steps from the old state by its own rule.

S. J. Reddi et al., "Adaptive Federated Optimization" (2021), algorithm 1; A. Douillard et al., "DiLoCo" (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from spark_keras.keras_model import state as states
from spark_keras.keras_model.state import Entry, State
from spark_keras.training.strategies.base import PeriodResult, Span, Strategy
from spark_keras.training.workers.base import Workers

_ARRAY = "outer optimizer "


class OuterOptimizer:
    """Wraps another strategy. Only what the model trains is stepped; all else is as the other strategy leaves it.

    Args:
        inner: how many states become one.
        optimizer: any Keras optimizer; its gradient is the old state minus the new one. A learning rate of 1 without
            momentum leaves the new state as it is, to the bit.
        trained: the entries of the model's trainable weights.
    """

    def __init__(self, inner: Strategy, optimizer: keras.optimizers.Optimizer, trained: tuple[Entry, ...]):
        self._inner, self._optimizer, self._trained = inner, optimizer, trained
        self._variables: list[keras.Variable] = []

    @property
    def state(self) -> State:
        return self._inner.state

    def begin(self, state: State, workers: Workers) -> None:
        self._inner.begin(state, workers)
        # Of the weights' names and shapes, which some optimizers go by.
        self._variables = [
            keras.Variable(_part(state, each), dtype=state.values.dtype.name, name=each.path.rpartition("/")[2])
            for each in self._trained
        ]
        self._optimizer.build(self._variables)

    def assign(self, state: State) -> None:
        self._inner.assign(state)

    def period(self, span: Span) -> PeriodResult:
        old = self._inner.state
        result = self._inner.period(span)
        if result.rows:
            self._inner.assign(self._stepped(old, self._inner.state))
        return result

    def _stepped(self, old: State, new: State) -> State:
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

    def save(self) -> dict[str, np.ndarray]:
        variables = {f"{_ARRAY}{i}": states.to_numpy(each.value) for i, each in enumerate(self._optimizer.variables)}
        return self._inner.save() | variables

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        for index, variable in enumerate(self._optimizer.variables):
            variable.assign(arrays[f"{_ARRAY}{index}"])
        self._inner.load({name: array for name, array in arrays.items() if not name.startswith(_ARRAY)})


def _part(state: State, entry: Entry) -> np.ndarray:
    return state.values[entry.start : entry.stop].reshape(entry.shape)
