"""Asynchronous training: the driver adds each worker's update when it comes, and no worker waits for another.

J. Dean et al., "Large Scale Distributed Deep Networks" (2012), section 4.1: Downpour SGD, with the driver as parameter
server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.requests import Evaluate, Train
from spark_keras.training.rules.mean import weighted_mean
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.strategies.starts import Starts
from spark_keras.training.strategies.tally import Tally
from spark_keras.training.workers.base import Answer, Question, Workers


class _Pull(NamedTuple):
    """Work of a worker: the number of its span, the driver's state then, and that with which it begins."""

    span: int
    shared: State
    start: State


class Asynchronous:
    """A period ends when each worker has trained its minibatches; others may be ahead by then, also in later epochs.

    An update counts by its share of the rows that all workers have in the same minibatches of an epoch, as in the
    synchronous mode. By that share, what the worker has changed in the trained weights is added to the driver's, and
    all else (the optimizer's variables, moving statistics) is averaged with the driver's: so a variance stays positive,
    however old the state is that the worker began with.

    Args:
        layout: of the states.
        schedule: says what is trained, how it is compiled, what becomes of the optimizers' states, and of updates that
            are NaN or infinite.
        trained: how many of the first values of a state are trained weights.
    """

    state: State

    def __init__(self, layout: Layout, schedule: Schedule, trained: int):
        self._layout, self._schedule, self._trained = layout, schedule, trained
        self._workers: Workers
        self._starts = Starts(layout, schedule.optimizer_state)
        # Spans are numbered through all epochs.
        self._of_epoch = list(schedule.rounds())
        self._end = schedule.epochs * len(self._of_epoch)
        size = schedule.batch_size * (self._of_epoch[0][1] if self._of_epoch else 1)
        # By shard: spans of an epoch in which it has rows.
        self._busy = [-(-rows // size) for rows in schedule.rows]
        # By shard: the first span that it has not trained; empty before the first period.
        self._positions: list[int] = []
        self._open: dict[int, _Pull] = {}
        self._tallies: dict[int, Tally] = {}
        optimizers = (layout.iterations, layout.learning_rate), *layout.further
        self._counters = [counter for counter, _ in optimizers if counter is not None]
        self._rates = [rate for _, rate in optimizers if rate is not None]
        # Steps of the optimizers, by counter, before they are rounded.
        self._steps = np.zeros(len(self._counters))
        self._before_first, self._waited = 0, 0.0

    def begin(self, state: State, workers: Workers) -> None:
        self.state, self._workers = state, workers
        self._starts.begin(state)

    def assign(self, state: State) -> None:
        self.state = state

    def period(self, span: Span) -> PeriodResult:
        number = span.epoch * len(self._of_epoch) + self._of_epoch.index((span.start, span.stop))
        self._before_first, self._waited = span.number - number, 0.0
        self._positions = self._positions or [self._following(shard, number) for shard in range(len(self._busy))]
        for shard in range(len(self._positions)):
            self._post(shard)
        while min(self._positions) <= number:
            shard = self._take_answer()
            # Whoever ends the period is last, and goes on when callbacks have looked.
            if min(self._positions) <= number:
                self._post(shard)
        return self._tally(number, pop=True).result(self._waited)

    def settle(self) -> None:
        while self._open:
            self._take_answer()

    # --- spans ---

    def _span(self, number: int) -> Span:
        epoch, index = divmod(number, len(self._of_epoch))
        return Span(epoch, *self._of_epoch[index], number + self._before_first)

    def _following(self, shard: int, number: int) -> int:
        """The first span from this one on in which a shard has rows."""
        epoch, index = divmod(number, len(self._of_epoch))
        if index >= self._busy[shard]:
            number = (epoch + 1) * len(self._of_epoch)
        return min(number, self._end) if self._busy[shard] else self._end

    def _rows_of_all(self, span: Span) -> int:
        size = self._schedule.batch_size
        first, last = span.start * size, span.stop * size
        return sum(max(0, min(rows, last) - first) for rows in self._schedule.rows)

    def _tally(self, number: int, pop: bool = False) -> Tally:
        tally = self._tallies.get(number) or Tally(self._span(number), self._schedule.non_finite)
        self._tallies[number] = tally
        return self._tallies.pop(number) if pop else tally

    # --- updates ---

    def _post(self, shard: int) -> None:
        """Lets a worker train its next minibatches, unless it has something to do or has trained all."""
        number = self._positions[shard]
        if shard in self._open or number >= self._end:
            return
        span = self._span(number)
        request = Train(span.epoch, span.start, span.stop, self._schedule.largest_round, self._schedule.kernel)
        pull = _Pull(number, self.state, self._starts.of(self.state, shard))
        self._open[shard] = pull
        self._workers.post(Question(shard, request, pull.start))

    def _take_answer(self) -> int:
        """Waits for an update and adds it; the shard whose it is."""
        began = time.perf_counter()
        answer = self._workers.first_answer()
        self._waited += time.perf_counter() - began
        shard = answer.shard
        pull = self._open.pop(shard)
        answer = self._starts.kept(self._tally(pull.span).counted(answer))
        if answer.state is not None:
            self.state = self._with_update(answer, answer.state, pull)
        self._positions[shard] = self._following(shard, pull.span + 1)
        return shard

    def _with_update(self, answer: Answer, update: State, pull: _Pull) -> State:
        old, rows = self.state, self._rows_of_all(self._span(pull.span))
        share = answer.rows / rows
        states = [(update, answer.rows), (old, rows - answer.rows)]
        # What stateful layers remember is that of the first of them: the first worker's.
        values, integers = weighted_mean(states if answer.shard == 0 else states[::-1], self._layout, old)
        if old is not pull.shared:
            trained = slice(self._trained)
            values[trained] += share * (old.values[trained] - pull.shared.values[trained])
            values[self._rates] = old.values[self._rates]
        for index, counter in enumerate(self._counters):
            # Callbacks may have set it.
            if np.rint(self._steps[index]) != old.integers[counter]:
                self._steps[index] = old.integers[counter]
            self._steps[index] += share * (update.integers[counter] - pull.start.integers[counter])
            integers[counter] = np.rint(self._steps[index])
        return State(values, integers)

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        return self._workers.ask(Question(shard, request, self.state) for shard in shards)

    # --- checkpoints ---

    def save(self) -> dict[str, np.ndarray]:
        # Of spans that some workers have trained, and others not.
        ahead = [(number, tally.rows) for number, tally in self._tallies.items() if tally.metrics is not None]
        metrics = [tally.metrics for tally in self._tallies.values() if tally.metrics is not None]
        return self._starts.save() | {
            "positions": np.array(self._positions, "int64"),
            "steps": self._steps,
            "ahead": np.array(ahead, "int64").reshape(-1, 2),
            "ahead metrics": np.stack(metrics) if metrics else np.zeros((0, 0)),
            "ahead skipped": np.array(list(self._skipped()), "int64").reshape(-1, 2),
        }

    def _skipped(self) -> Iterator[tuple[int, int]]:
        return ((number, shard) for number, tally in self._tallies.items() for shard in tally.skipped)

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._starts.load(arrays)
        self._positions, self._steps = arrays["positions"].tolist(), arrays["steps"].copy()
        for (number, rows), metrics in zip(arrays["ahead"].tolist(), arrays["ahead metrics"]):
            tally = self._tally(number)
            tally.rows, tally.metrics = rows, metrics
        for number, shard in arrays["ahead skipped"].tolist():
            self._tally(number).skipped.append(shard)
