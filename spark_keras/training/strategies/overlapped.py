"""Averaging while the workers train on: each takes the average into account when it comes, one round late.

A worker sends its state and trains its next minibatches from it. The average of what all have sent comes meanwhile. The
worker adds it to what it has trained by then, less what it had sent, sends the sum, and so on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.requests import Evaluate, Hold, Train
from spark_keras.training.rules.ahead import unchanged
from spark_keras.training.rules.mean import PIECE, weighted_mean
from spark_keras.training.rules.parts import put_together
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.strategies.tally import Tally
from spark_keras.training.workers.base import Answer, Question, Workers


class Overlapped:
    """A period is one round of all workers.

    Args:
        layout: of the states.
        schedule: as of `Averaging`.
        trained: how many of the first values of a state are trained weights.

    Attributes:
        state: the average of what the workers have sent last.
    """

    state: State

    def __init__(self, layout: Layout, schedule: Schedule, trained: int):
        self._layout, self._schedule, self._trained = layout, schedule, trained
        self._workers: Workers
        # What each worker has sent last, for one that takes its place.
        self._sent: dict[int, State] = {}
        # Its name, and who knows it under that name.
        self._version = 0
        self._holders: set[int] = set()

    def begin(self, state: State, workers: Workers) -> None:
        self.state, self._workers = state, workers
        self._sent = dict.fromkeys(range(len(workers.shards)), state)

    def assign(self, state: State) -> None:
        # What differs from what was sent is what workers are told of, whoever has changed it.
        self.state = state

    def period(self, span: Span) -> PeriodResult:
        began = time.perf_counter()
        tally, updates = Tally(span, self._schedule.non_finite), []
        answers = self._answers(span)
        waited = time.perf_counter() - began
        self._holders = set(answers)
        for shard in sorted(answers):
            answer = tally.counted(answers[shard])
            state = answer.state
            if state is None:
                state = unchanged(self._sent[shard], self.state, self._layout, self._trained)
            if shard in tally.skipped:
                self._holders.discard(shard)  # it has gone on from numbers that do not count
            self._sent[shard] = state
            updates.append((state, answer.rows))
        self._version += 1
        self.state = weighted_mean(updates, self._layout, self.state)
        return tally.result(waited)

    def _answers(self, span: Span) -> dict[int, Answer]:
        request = Train(
            span.epoch, span.start, span.stop, self._schedule.largest_round, self._schedule.kernel, self._version,
            following=self._following(span),
        )  # fmt: skip
        answers: dict[int, Answer] = {}
        while missing := [shard for shard in self._sent if shard not in answers]:
            unknowing = [shard for shard in missing if shard not in self._holders]
            if unknowing:
                self._holders |= {answer.shard for answer in self._workers.ask(map(self._supply, unknowing))}
            for answer in self._workers.ask([Question(shard, request, self.state) for shard in missing]):
                if answer.lost:
                    self._holders.discard(answer.shard)
                    continue
                if answer.state is not None:
                    state = answer.state.received(self._layout.sizes[0], self._layout.dtype, PIECE)
                    answer = answer._replace(state=state)
                answers[answer.shard] = answer
        return answers

    def _supply(self, shard: int) -> Question:
        state, parts = put_together({"own": self._sent[shard]})
        return Question(shard, Hold(self._version, parts), state)

    def _following(self, span: Span) -> tuple[int, int, int] | None:
        """The span after this one; None: there is none."""
        later = itertools.dropwhile(lambda each: each[0] <= span.start, self._schedule.rounds())
        if (following := next(later, None)) is not None:
            return (span.epoch, *following)
        first = next(iter(self._schedule.rounds()))
        return (span.epoch + 1, *first) if span.epoch + 1 < self._schedule.epochs else None

    def settle(self) -> None:
        pass

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        return self._workers.ask(Question(shard, request, self.state) for shard in shards)

    def save(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for shard, state in self._sent.items():
            arrays |= {f"values {shard}": state.values, f"integers {shard}": state.integers}
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._sent = {shard: State(arrays[f"values {shard}"], arrays[f"integers {shard}"]) for shard in self._sent}
        self._holders = set()
