"""Synchronous averaging: each worker trains some minibatches, and the mean of their states is the next state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.requests import Evaluate, Train
from spark_keras.training.rules.mean import summed, weighted_mean
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.strategies.starts import Starts
from spark_keras.training.strategies.tally import Tally
from spark_keras.training.workers.base import Answer, Question, Workers


class Averaging:
    """A period is one round of all workers.

    Args:
        layout: of the states.
        schedule: says how rounds are compiled, what becomes of the optimizers' states, and of updates that are NaN or
            infinite; and if the mean of the changes is applied, or their sum.
        trained: how many of the first values of a state are trained weights.
    """

    state: State

    def __init__(self, layout: Layout, schedule: Schedule, trained: int):
        self.layout, self._schedule, self._trained = layout, schedule, slice(trained)
        self._workers: Workers
        self._starts = Starts(layout, schedule.optimizer_state)

    def begin(self, state: State, workers: Workers) -> None:
        self.state, self._workers = state, workers
        self._starts.begin(state)

    def assign(self, state: State) -> None:
        self.state = state

    def period(self, span: Span) -> PeriodResult:
        began = time.perf_counter()
        tally, updates = Tally(span, self._schedule.non_finite), []
        for answer in self._workers.ask(self._questions(span)):
            answer = self._starts.kept(tally.counted(answer))
            updates.append((answer.state, answer.rows))
        waited = time.perf_counter() - began
        mean = weighted_mean(updates, self.layout, self.state)
        if self._schedule.combine == "sum":
            old, trained = self.state.values[self._trained], sum(rows > 0 for _, rows in updates)
            mean = State(mean.values.copy(), mean.integers)
            mean.values[self._trained] = old + summed(mean.values[self._trained] - old, trained)
        self.state = mean
        return tally.result(waited)

    def _questions(self, span: Span) -> Iterator[Question]:
        request = Train(span.epoch, span.start, span.stop, self._schedule.largest_round, self._schedule.kernel)
        for shard in range(len(self._workers.shards)):
            yield Question(shard, request, self._starts.of(self.state, shard))

    def settle(self) -> None:
        pass

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        return self._workers.ask(Question(shard, request, self.state) for shard in shards)

    def save(self) -> dict[str, np.ndarray]:
        return self._starts.save()

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._starts.load(arrays)
