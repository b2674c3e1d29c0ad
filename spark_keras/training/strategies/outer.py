"""An outer optimizer: steps from the state before a period to the one after it, by its own rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from spark_keras.keras_model.state import State
from spark_keras.training.requests import Evaluate
from spark_keras.training.rules.outer_step import OuterStep
from spark_keras.training.strategies.base import PeriodResult, Span, Strategy
from spark_keras.training.workers.base import Answer, Workers

ARRAY = "outer optimizer "


class OuterOptimizer:
    """Wraps another strategy.

    Args:
        inner: how many states become one.
        step: of the outer optimizer.
    """

    def __init__(self, inner: Strategy, step: OuterStep):
        self._inner, self._step = inner, step

    @property
    def state(self) -> State:
        return self._inner.state

    def begin(self, state: State, workers: Workers) -> None:
        self._inner.begin(state, workers)

    def assign(self, state: State) -> None:
        self._inner.assign(state)

    def period(self, span: Span) -> PeriodResult:
        old = self._inner.state
        result = self._inner.period(span)
        if result.rows:
            self._inner.assign(self._step(old, self._inner.state))
        return result

    def settle(self) -> None:
        self._inner.settle()

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        return self._inner.evaluate(request, shards)

    def save(self) -> dict[str, np.ndarray]:
        return self._inner.save() | {f"{ARRAY}{index}": array for index, array in enumerate(self._step.read())}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        count = sum(name.startswith(ARRAY) for name in arrays)
        self._step.write(arrays[f"{ARRAY}{index}"] for index in range(count))
        self._inner.load({name: array for name, array in arrays.items() if not name.startswith(ARRAY)})
