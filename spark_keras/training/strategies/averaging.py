"""Synchronous averaging: each worker trains some minibatches, and the mean of their states is the next state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.telemetry.timeline import WorkerReport
from spark_keras.training.requests import Train
from spark_keras.training.rules.mean import start_state, weighted_mean
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.workers.base import Answer, Question, Workers


class Averaging:
    """A period is one round of all workers.

    Args:
        layout: of the states.
        schedule: says how rounds are compiled, what becomes of the optimizers' states, and of updates that are NaN or
            infinite.
    """

    state: State

    def __init__(self, layout: Layout, schedule: Schedule):
        self.layout, self._schedule = layout, schedule
        self._workers: Workers
        self._initial_state: State | None = None
        # What each worker has for itself. Kept here, not on the worker, so that a replacement finds it.
        self._local_states: dict[int, State] = {}
        self._keeps_local_states = schedule.optimizer_state == "local" or bool(layout.local)

    def begin(self, state: State, workers: Workers) -> None:
        self.state, self._workers = state, workers
        # A state is as large as the model: kept only where rounds go back to it.
        self._initial_state = state if self._schedule.optimizer_state == "reset" else None

    def assign(self, state: State) -> None:
        self.state = state

    def period(self, span: Span) -> PeriodResult:
        began = time.perf_counter()
        round_ = _Round(self._workers.ask(self._questions(span)), span, self._schedule.non_finite)
        updates = []
        for answer in round_:
            state = answer.state
            if self._keeps_local_states and state is not None:
                state = State(np.array(state.values[:]), np.array(state.integers))
                self._local_states[answer.shard] = state
            updates.append((state, answer.rows))
        waited = time.perf_counter() - began
        self.state = weighted_mean(updates, self.layout, self.state)
        return round_.result(waited)

    def _questions(self, span: Span) -> Iterator[Question]:
        request = Train(span.epoch, span.start, span.stop, self._schedule.largest_round, self._schedule.kernel)
        for shard in range(len(self._workers.shards)):
            own = self._local_states.get(shard)
            start = start_state(self.state, own, self._initial_state, self.layout, self._schedule.optimizer_state)
            yield Question(shard, request, start)

    def save(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for shard, state in self._local_states.items():
            arrays |= {f"values {shard}": state.values, f"integers {shard}": state.integers}
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        shards = [int(name.removeprefix("values ")) for name in arrays if name.startswith("values ")]
        self._local_states = {each: State(arrays[f"values {each}"], arrays[f"integers {each}"]) for each in shards}


class _Round:
    """The answers of a round, passed on one at a time; adds up their metric states and rows.

    Leaves out and notes updates that have become NaN or infinite; or refuses them.
    """

    def __init__(self, answers: Iterator[Answer], span: Span, non_finite: str):
        self._answers, self._span, self._non_finite = answers, span, non_finite
        self._metrics: np.ndarray | None = None
        self._rows, self._seconds = 0, 0.0
        self._kernel: str | None = None
        self._reports: list[WorkerReport] = []
        self._skipped: list[int] = []

    def __iter__(self) -> Iterator[Answer]:
        for answer in self._answers:
            if answer.non_finite is not None and self._non_finite != "keep":
                answer = self._without_update(answer)
            if answer.metrics is not None:
                self._metrics = answer.metrics if self._metrics is None else self._metrics + answer.metrics
            self._rows += answer.rows
            self._seconds = max(self._seconds, answer.seconds)
            self._reports.append((answer.shard, answer.rows if answer.state is not None else 0, answer.phases))
            # A worker without full minibatches in this round tells none.
            self._kernel = answer.kernel or self._kernel
            yield answer

    def result(self, waited: float) -> PeriodResult:
        metrics = self._metrics if self._rows else None
        return PeriodResult(
            self._rows, metrics, self._kernel, self._reports, self._seconds, waited, self._skipped
        )  # fmt: skip

    def _without_update(self, answer: Answer) -> Answer:
        epoch, start, stop, number = self._span
        if self._non_finite == "error":
            raise FloatingPointError(
                f"Worker {answer.shard} made {answer.non_finite!r} NaN or infinite in round {number} "
                f"(epoch {epoch + 1}, minibatches {start} to {stop - 1}). Expected: finite numbers. Lower the "
                "learning rate, clip gradients (clipnorm of the optimizer), or look for extreme values in the "
                'columns; nonFinite="skip" leaves such updates out and counts them.'
            )
        self._skipped.append(answer.shard)
        return answer._replace(state=None, metrics=None, rows=0)
