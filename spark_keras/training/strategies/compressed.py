"""Averaging of changes instead of states: they are compressed on their way to the driver and back.

A worker sends what its round has changed in the trained weights, with what its last message has left over. The driver
combines all changes and sends theirs in the same way, with what its own last message has left over (H. Tang et al.,
"DoubleSqueeze", 2019). All apply what the driver has sent, so all hold the same state.

What a worker has for itself (the optimizer's variables, what is left over) stays with it, and the driver fetches it at
the end of each epoch. Where a worker has gone, all go back to there and repeat the rounds since: the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.requests import Apply, Evaluate, Fetch, Hold, Train
from spark_keras.training.rules.change import Changes
from spark_keras.training.rules.mean import PIECE, summed, weighted_mean
from spark_keras.training.rules.parts import put_together, taken_apart
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.strategies.tally import Tally
from spark_keras.training.workers.base import Answer, Question, StateLostError, Workers


class _Base(NamedTuple):
    """All that rounds begin with: the state, what the driver's last message has left over, and by shard what a worker
    has for itself.
    """

    state: State
    left: np.ndarray
    own: Mapping[int, dict[str, State]]


class Compressed:
    """A period is one round of all workers.

    Args:
        layout: of the states.
        schedule: as of `Averaging`; says how changes are compressed and combined, too.
        trained: how many of the first values of a state are trained weights.

    Attributes:
        state: that of all workers; but the optimizers' variables are the mean of the workers' at the end of the last
            epoch.
    """

    state: State

    def __init__(self, layout: Layout, schedule: Schedule, trained: int):
        if schedule.compression is None:
            raise ValueError("No compression. Expected: the coding of changes.")
        self._layout, self._schedule, self._trained = layout, schedule, trained
        self._changes = Changes(schedule.compression, layout, trained)
        self._workers: Workers
        self._initial_state: State | None = None
        self._base: _Base
        # What this driver's last message has left over.
        self._left = np.zeros(trained, layout.dtype)
        # The rounds since the base, of which so many are done, and the weights of the last one.
        self._spans: list[Span] = []
        self._done = 0
        self._weights: tuple[int, ...] = ()
        # The name under which workers hold the state, and who does.
        self._version = 0
        self._holders: set[int] = set()

    def begin(self, state: State, workers: Workers) -> None:
        self._workers = workers
        self._initial_state = state if self._schedule.optimizer_state == "reset" else None
        self._go_on_from(_Base(state, self._left, {}))

    def assign(self, state: State) -> None:
        if not state.same_bits(self.state):
            self.settle()
            self._go_on_from(self._base._replace(state=state))

    def period(self, span: Span) -> PeriodResult:
        self._spans.append(span)
        result = self._train()
        if span.stop >= self._schedule.minibatches:
            self.settle()
        return result

    def settle(self) -> None:
        """Fetches what the workers have for themselves."""
        while self._done:
            try:
                own = self._fetch()
            except StateLostError:
                self._go_back()
                self._train()
                continue
            self.state = self._with_optimizers(own)
            self._base, self._spans, self._done = _Base(self.state, self._left, own), [], 0

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        return self._workers.ask(Question(shard, request, self.state) for shard in shards)

    def save(self) -> dict[str, np.ndarray]:
        arrays = {"left": self._base.left, "weights": np.array(self._weights, "int64")}
        for shard, parts in self._base.own.items():
            for role, state in parts.items():
                arrays |= {f"{role} values {shard}": state.values, f"{role} integers {shard}": state.integers}
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        own: dict[int, dict[str, State]] = {}
        for name, values in arrays.items():
            role, kind, shard = [*name.split(), "", ""][:3]
            if kind == "values":
                own.setdefault(int(shard), {})[role] = State(values, arrays[f"{role} integers {shard}"])
        self._weights = tuple(arrays["weights"].tolist())
        self._go_on_from(_Base(self.state, arrays["left"], own))

    # --- rounds ---

    def _train(self) -> PeriodResult:
        """Trains the rounds that are not done; the result of the last."""
        while True:
            try:
                result = self._round(self._spans[self._done])
                self._done += 1
            except StateLostError:
                self._go_back()
                continue
            if self._done == len(self._spans):
                return result

    def _round(self, span: Span) -> PeriodResult:
        began = time.perf_counter()
        self._supply()
        schedule, sizes = self._schedule, self._changes.sizes
        request = Train(
            span.epoch, span.start, span.stop, schedule.largest_round, schedule.kernel, self._version, sizes
        )
        tally = Tally(span, schedule.non_finite)
        answers = self._ask(Question(shard, request, None) for shard in self._shards)
        waited = time.perf_counter() - began
        sent = sum(_bytes(answer.state) for answer in answers)
        answers = [tally.counted(answer) for answer in answers]
        weights = tuple(answer.rows for answer in answers)
        if any(weights):
            message = self._combined(answers)
            began = time.perf_counter()
            apply = Apply(self._version, weights)
            applied = self._workers.ask([Question(shard, apply, message) for shard in self._shards])
            self._holders = {answer.shard for answer in applied if not answer.lost}
            self._version, self._weights = self._version + 1, weights
            self.state = self._changes.changed(self.state, message)
            waited += time.perf_counter() - began
            sent += len(self._shards) * _bytes(message)
        return tally.result(waited)._replace(bytes=sent)

    def _ask(self, questions: Iterator[Question]) -> list[Answer]:
        """Answers of workers that hold what they need.

        Raises:
            StateLostError: one does not.
        """
        answers = list(self._workers.ask(questions))
        if any(answer.lost for answer in answers):
            raise StateLostError
        return answers

    def _combined(self, answers: Sequence[Answer]) -> State:
        """The message that tells all workers what has changed."""
        changes, besides = [], []
        for answer in answers:
            if answer.state is not None and answer.rows:
                change, beside = self._changes.decode(answer.state)
                changes.append((State(change, beside.integers[:0]), answer.rows))
                besides.append((beside, answer.rows))
        nothing = State(np.zeros(self._trained, self._layout.dtype), besides[0][0].integers[:0])
        change = weighted_mean(changes, self._changes.mean, nothing).values
        if self._schedule.combine == "sum":
            change = summed(change, len(changes))
        beside = weighted_mean(besides, self._changes.beside, besides[0][0])
        message, self._left = self._changes.encode(change + self._left, beside)
        return message

    # --- states ---

    @property
    def _shards(self) -> range:
        return range(len(self._workers.shards))

    def _go_on_from(self, base: _Base) -> None:
        self._base, self._spans = base, []
        self._go_back()

    def _go_back(self) -> None:
        """Back to the base, which no worker holds."""
        self.state, self._left = self._base.state, self._base.left
        self._done, self._holders = 0, set()
        self._version += 1

    def _supply(self) -> None:
        """Gives the state that is now to those that do not hold it.

        Raises:
            StateLostError: a worker has gone, and with it what it had for itself.
        """
        missing = [shard for shard in self._shards if shard not in self._holders]
        if missing and self._done:
            raise StateLostError
        if missing:
            self._holders |= {answer.shard for answer in self._workers.ask(self._supplies(missing))}

    def _supplies(self, shards: Sequence[int]) -> Iterator[Question]:
        for shard in shards:
            parts = {"shared": self.state}
            if self._initial_state is not None:
                parts["initial"] = self._initial_state
            state, described = put_together(parts | self._base.own.get(shard, {}))
            yield Question(shard, Hold(self._version, described), state)

    def _fetch(self) -> dict[int, dict[str, State]]:
        """By shard what its worker has for itself; where it has anything.

        Raises:
            StateLostError: a worker has gone.
        """
        sizes = {"own": self._layout.sizes, "left": (self._trained, 0)}
        total = (self._layout.sizes[0] + self._trained, self._layout.sizes[1])
        request, own = Fetch(self._version, tuple(sizes), total), {}
        for answer in self._ask(Question(shard, request, None) for shard in self._shards):
            if answer.state is not None:
                state = answer.state.received(total[0], self._layout.dtype, PIECE)
                own[answer.shard] = taken_apart(state, [(role, *size) for role, size in sizes.items()])
        return own

    def _with_optimizers(self, own: Mapping[int, dict[str, State]]) -> State:
        """The state with the mean of the workers' optimizers; the learning rates are the driver's."""
        updates = [(own[shard]["own"], weight) for shard, weight in enumerate(self._weights) if shard in own]
        mean = weighted_mean(updates, self._layout, self.state)
        start = self._layout.weight_sizes[0]
        return State(np.concatenate([self.state.values[:start], mean.values[start:]]), self.state.integers)


def _bytes(message: State | None) -> int:
    return 0 if message is None else len(message.values) + message.integers.nbytes
