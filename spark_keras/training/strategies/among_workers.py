"""Averaging among the workers: the states stay with them, and the driver says who trains what, and what counts.

The bits are those of averaging on the driver. A round ends when all workers hold the average; until then they hold the
state that it began with, from which it is repeated where a worker has gone. A new worker gets that state from one of
those that hold it, by way of the driver. Where nobody holds it, the driver goes back to the last state that it has had
itself, and repeats the rounds since then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.requests import Average, Evaluate, Fetch, Hold, Train
from spark_keras.training.rules.mean import PIECE
from spark_keras.training.rules.outer_step import OuterStep
from spark_keras.training.rules.parts import put_together, taken_apart
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.strategies.outer import ARRAY
from spark_keras.training.strategies.tally import Tally
from spark_keras.training.workers.base import Answer, Question, StateLostError, Workers

# How often in a row a round is repeated because workers lose each other.
REPEATS = 20

Asked = TypeVar("Asked", Train, Evaluate)


class AveragingAmongWorkers:
    """A period is one round of all workers.

    Args:
        layout: of the states.
        schedule: as of `Averaging`.
        step: of the outer optimizer; here only what it remembers lies. None for plain averaging.
    """

    def __init__(self, layout: Layout, schedule: Schedule, step: OuterStep | None):
        self.layout, self._schedule, self._step = layout, schedule, step
        self._workers: Workers
        self._initial_state: State | None = None
        self._keeps_own = schedule.optimizer_state == "local" or bool(layout.local)
        # The last state that the driver has had, with each worker's own; and the rounds from then on, of which so many
        # are done.
        self._base: State
        self._own: dict[int, State] = {}
        self._spans: list[Span] = []
        self._done = 0
        # The state that is now, by the name under which workers hold it; and who does, as far as is known.
        self._version = 0
        self._holders: set[int] = set()

    def begin(self, state: State, workers: Workers) -> None:
        self._workers = workers
        self._initial_state = state if self._schedule.optimizer_state == "reset" else None
        self._go_on_from(state)

    def assign(self, state: State) -> None:
        if not state.same_bits(self.state):
            self._go_on_from(state)

    @property
    def state(self) -> State:
        while self._done:
            if not self._fetched():
                self._go_back()
                self._train()
        return self._base

    def period(self, span: Span) -> PeriodResult:
        self._spans.append(span)
        return self._train()[-1]

    def settle(self) -> None:
        pass

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        while True:
            try:
                return iter(self._answers(request, shards))
            except StateLostError:
                self._go_back()
                self._train()

    def save(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        if self.state:  # with which the driver has all else
            for shard, own in self._own.items():
                arrays |= {f"values {shard}": own.values, f"integers {shard}": own.integers}
        outer = [] if self._step is None else self._step.read()
        return arrays | {f"{ARRAY}{index}": array for index, array in enumerate(outer)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        shards = [int(name.removeprefix("values ")) for name in arrays if name.startswith("values ")]
        self._own = {each: State(arrays[f"values {each}"], arrays[f"integers {each}"]) for each in shards}
        if self._step is not None:
            self._step.write(arrays[f"{ARRAY}{index}"] for index in range(len(arrays) - 2 * len(shards)))
        self._go_on_from(self._base)

    # --- rounds ---

    def _train(self) -> list[PeriodResult]:
        """Trains the rounds that are not done."""
        results: list[PeriodResult] = []
        while self._done < len(self._spans):
            try:
                results.append(self._round(self._spans[self._done]))
                self._done += 1
            except StateLostError:
                self._go_back()
        return results

    def _round(self, span: Span) -> PeriodResult:
        began = time.perf_counter()
        schedule = self._schedule
        for _ in range(REPEATS):
            request = Train(span.epoch, span.start, span.stop, schedule.largest_round, schedule.kernel)
            tally = Tally(span, schedule.non_finite)
            weights = tuple(tally.counted(answer).rows for answer in self._answers(request, self._shards))
            if not any(weights) or self._average(weights):
                return tally.result(time.perf_counter() - began)
        raise ConnectionError(
            f"The workers have lost each other {REPEATS} times in a row in round {span.number}. Expected: executors "
            'can connect to each other; averaging="driver" needs only that they reach the driver.'
        )

    def _average(self, weights: tuple[int, ...]) -> bool:
        request = Average(self._version, weights)
        answers = list(self._workers.ask(Question(shard, request, None) for shard in self._shards))
        if any(answer.lost for answer in answers):
            return False
        self._version += 1
        return True

    def _answers(self, request: Asked, shards: Sequence[int]) -> list[Answer]:
        """Answers to what is to begin with the state that is now."""
        answers: dict[int, Answer] = {}
        while missing := [shard for shard in shards if shard not in answers]:
            self._supply()
            begun = msgspec.structs.replace(request, version=self._version)
            for answer in self._workers.ask(Question(shard, begun, None) for shard in missing):
                if answer.lost:
                    self._holders.discard(answer.shard)
                else:
                    answers[answer.shard] = answer
        return [answers[shard] for shard in shards]

    # --- states ---

    @property
    def _shards(self) -> range:
        return range(len(self._workers.shards))

    def _go_on_from(self, state: State) -> None:
        self._base, self._spans = state, []
        self._go_back()

    def _go_back(self) -> None:
        """Back to the state that the driver has, which no worker holds."""
        self._done, self._holders = 0, set()
        # An averaging that broke off may have left the next version with some.
        self._version += 2

    def _supply(self) -> None:
        """Gives the state that is now to those that do not hold it.

        Raises:
            StateLostError: where nobody does.
        """
        missing = [shard for shard in self._shards if shard not in self._holders]
        if not missing:
            return
        if self._done and not self._fetched():
            raise StateLostError
        alike = None if self._own else put_together(self._parts(missing[0]))
        questions = []
        for shard in missing:
            state, parts = alike or put_together(self._parts(shard))
            questions.append(Question(shard, Hold(self._version, parts), state))
        self._holders |= {answer.shard for answer in self._workers.ask(questions)}

    def _parts(self, shard: int) -> dict[str, State]:
        parts = {"shared": self._base}
        if self._initial_state is not None:
            parts["initial"] = self._initial_state
        if self._step is not None:
            parts["outer"] = self._step.state()
        if shard in self._own:
            parts["own"] = self._own[shard]
        return parts

    def _fetched(self) -> bool:
        """Fetches the state that is now from one that holds it; False: it is lost."""
        if self._keeps_own and len(self._holders) < len(self._shards):
            return False  # nobody else has what a worker has for itself
        parts = {"shared": self.layout.sizes}
        if self._step is not None:
            outer = self._step.state()
            parts["outer"] = (len(outer.values), len(outer.integers))
        for shard in sorted(self._holders):
            try:
                state = self._fetch(shard, parts)
                with_own = self._shards if self._keeps_own else ()
                own = {each: self._fetch(each, {"own": self.layout.sizes}) for each in with_own}
            except StateLostError:
                self._holders.discard(shard)
                if self._keeps_own:
                    return False
                continue
            if state is None:
                raise ValueError(f"Worker {shard} sent no state.")
            taken = taken_apart(state, [(role, *sizes) for role, sizes in parts.items()])
            self._base = taken["shared"]
            if self._step is not None:
                self._step.assign(taken["outer"])
            self._own = {each: state for each, state in own.items() if state is not None}
            # From here on these are the rounds since.
            self._spans, self._done = self._spans[self._done :], 0
            return True
        return False

    def _fetch(self, shard: int, parts: Mapping[str, tuple[int, int]]) -> State | None:
        sizes = (sum(values for values, _ in parts.values()), sum(integers for _, integers in parts.values()))
        request = Fetch(self._version, tuple(parts), sizes)
        (answer,) = self._workers.ask([Question(shard, request, None)])
        if answer.lost:
            raise StateLostError
        return None if answer.state is None else answer.state.received(sizes[0], self.layout.dtype, PIECE)
