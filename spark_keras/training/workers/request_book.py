"""Questions to resident workers, and their answers so far."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from spark_keras.keras_model.state import FrozenWeights, State
from spark_keras.telemetry.phases import checked
from spark_keras.training.requests import Average, Evaluate, Fetch, Measure, Request, Train, name_of
from spark_keras.training.wire import protocol
from spark_keras.training.workers.attempts import Attempt
from spark_keras.training.workers.base import Answer, Question, StateLostError
from spark_keras.training.workers.supervision import Supervisor

_METRICS = np.dtype("float64").str


class HeldValues:
    """The values of a state that is too large for one message: slices are fetched from the worker that holds them."""

    def __init__(self, size: int, fetch: Callable[[int, int], np.ndarray]):
        self._size, self._fetch = size, fetch

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._size)
        return self._fetch(start, stop)


class RequestBook:
    """The questions that are open, their answers, and pieces of states that are on their way.

    Args:
        inline_bytes: states up to this size travel with the message.

    Attributes:
        frozen: weights that each worker must have; one that has not pulls them.
    """

    supervisor: Supervisor

    def __init__(self, inline_bytes: int):
        self._inline_bytes = inline_bytes
        self.frozen: FrozenWeights | None = None
        self._pending: dict[int, Question] = {}
        # The request for workers on this machine, where all begin with the same state.
        self._same: list[Any] | None = None
        self._answers: dict[int, tuple[protocol.Done, list[np.ndarray]]] = {}
        # Pieces of held states, by shard and start; None: asked for.
        self._pieces: dict[tuple[int, int], np.ndarray | None] = {}
        self._ticket = 0
        # By shard, that of its last question.
        self._tickets: dict[int, int] = {}
        # By shard, the epoch and the first minibatch of the last ones that its workers have trained.
        self._trained: dict[int, tuple[int, int]] = {}
        # Shards whose posted question has no answer yet that was given.
        self._posted: set[int] = set()

    def ask(self, questions: Iterable[Question]) -> Iterator[Answer]:
        """As of `Workers`."""
        self._ticket += 1
        self._answers, self._pieces = {}, {}
        self.supervisor.asked = self.supervisor.waited
        self._pending = {each.shard: each for each in questions}
        shards = list(self._pending)
        self._tickets = dict.fromkeys(shards, self._ticket)
        self._same = self._same_request()
        for shard in shards:
            self._send_request(shard)
        for shard in shards:
            self.supervisor.wait_for(lambda: shard in self._answers)  # noqa: B023
            yield self._answer(shard)

    def post(self, question: Question) -> None:
        """As of `Workers`."""
        shard = question.shard
        self._ticket += 1
        self._posted.add(shard)
        self._tickets[shard], self._pending[shard], self._same = self._ticket, question, None
        self._forget_answer(shard)
        if shard in self.supervisor.attempts.active:
            self.supervisor.attempts.active[shard].heard = self.supervisor.waited
        self._send_request(shard)

    def first_answer(self) -> Answer:
        """As of `Workers`."""
        self.supervisor.wait_for(lambda: not self._posted.isdisjoint(self._answers))
        shard = next(shard for shard in self._answers if shard in self._posted)
        self._posted.remove(shard)
        return self._answer(shard)

    def _answer(self, shard: int) -> Answer:
        answer, arrays = self._answers[shard]
        self.supervisor.warn(answer.warning)
        if not answer.held:
            # From now on the worker is not needed for this answer.
            del self._pending[shard]
        return Answer(
            shard,
            self._state(shard, answer.held, arrays[:-1]),
            np.array(arrays[-1]) if arrays else None,
            answer.rows,
            answer.kernel,
            answer.seconds,
            answer.non_finite,
            checked(answer.phases),
            answer.kernels,
            answer.lost,
        )

    def _state(self, shard: int, held: int, arrays: list[np.ndarray]) -> State | None:
        if held:
            # The pieces come where the integers lie.
            values = HeldValues(held, functools.partial(self._fetch, shard, held))
            return State(values, np.array(arrays[0]))  # type: ignore[arg-type]  # of values only slices are taken
        return State(*arrays) if arrays else None

    def _same_request(self) -> list[Any] | None:
        """Frames for several workers on this machine, of a state that fits into shared memory as a whole."""
        if len(self._pending) < 2:
            return None
        first, *others = self._pending.values()
        if first.state is None or any(
            each.state is not first.state or each.request != first.request for each in others
        ):
            return None
        if sum(self._shares(shard, first.state) for shard in self._pending) < 2:
            return None
        return self.supervisor.server.encode_for_all(self._message(first), first.state)

    def _message(self, question: Question) -> protocol.Ask:
        message = protocol.Ask(ticket=self._tickets[question.shard], request=question.request)
        if self.frozen is not None:
            digest, values = self.frozen
            message.frozen = (digest, *_kind(values))
        if isinstance(question.request, Average):
            message.addresses = self.supervisor.attempts.addresses()
        return message

    def _shares(self, shard: int, state: State) -> bool:
        memory = self.supervisor.attempts.memory(shard)
        return memory is not None and memory.fits(state)

    def _send_request(self, shard: int) -> None:
        state, message = self._pending[shard].state, self._message(self._pending[shard])
        if state is None:
            self.supervisor.send(shard, message)
            return
        shared = self._shares(shard, state)
        if shared and self._same is not None:
            self.supervisor.server.send(self.supervisor.attempts.active[shard].peer, self._same)
        elif shared or state.values.nbytes <= self._inline_bytes:
            self.supervisor.send(shard, message, state)
        else:
            # The worker pulls it, piece by piece.
            message.pull = (str(state.values.dtype), len(state.values))
            self.supervisor.send(shard, message, [state.integers])

    def _fetch(self, shard: int, size: int, start: int, stop: int) -> np.ndarray:
        """A piece of the state that a worker holds.

        Over a network the next one is asked for before this one is used. Shared memory has room for one.
        """
        while (piece := self._pieces.get((shard, start))) is None:
            # A replacement must have repeated the round first.
            self.supervisor.wait_for(lambda: shard in self._answers)
            if self._answers[shard][0].lost:
                raise StateLostError
            self._request_piece(shard, start, stop)
            self.supervisor.wait_for(lambda: self._pieces.get((shard, start)) is not None or shard not in self._answers)
        if stop < size and self.supervisor.attempts.memory(shard) is None:
            self._request_piece(shard, stop, min(2 * stop - start, size))
        if stop == size:
            # The worker is not needed any more, and neither is the state from which a replacement would begin.
            del self._pending[shard]
        del self._pieces[shard, start]
        return piece

    def _request_piece(self, shard: int, start: int, stop: int) -> None:
        if (shard, start) not in self._pieces:
            self._pieces[shard, start] = None
            self.supervisor.send(shard, protocol.Fetch(ticket=self._tickets[shard], start=start, stop=stop))

    # --- answers ---

    def answered(self, worker: Attempt, message: Any, buffers: list[Any]) -> None:
        """Takes what a shard's worker said."""
        shard = worker.shard
        if shard not in self._pending or message.ticket != self._tickets[shard]:
            return
        if isinstance(message, protocol.Done):
            arrays = protocol.arrays_of(message, buffers, worker.memory)
            self._check_answer(shard, message, arrays)
            self._answers[shard] = (message, arrays)
            request = self._pending[shard].request
            if not message.lost and self._gets_on(shard, request):
                del self.supervisor.attempts.failures[shard]
            if message.lost and isinstance(request, Average):
                # The others wait for what this one does not have.
                for other in self._pending.keys() - self._answers.keys():
                    self.supervisor.send(other, protocol.BreakOff(ticket=self._ticket))
        elif isinstance(message, protocol.Payload) and (shard, message.start) in self._pieces:
            (piece,) = protocol.arrays_of(message, buffers, worker.memory)
            self._pieces[shard, message.start] = piece
        elif isinstance(message, protocol.Pull):
            start, source = message.start, self.frozen if message.frozen else self._pending[shard].state
            if source is None:
                raise protocol.ProtocolError("It pulls numbers that nobody has.")
            values = source.values
            announced = protocol.Piece(ticket=self._tickets[shard], start=start)
            self.supervisor.send(shard, announced, [values[start : message.stop]])

    def _gets_on(self, shard: int, request: Request) -> bool:
        """Tells if an answer shows that a shard's workers get on.

        To train again what was trained before does not: among the workers the next one may die in the same round as the
        last, and again and again.
        """
        if isinstance(request, Train):
            now, before = (request.epoch, request.start), self._trained.get(shard, (-1, -1))
            self._trained[shard] = max(now, before)
            return now > before
        return isinstance(request, (Evaluate, Measure))

    def _check_answer(self, shard: int, answer: protocol.Done, arrays: list[np.ndarray]) -> None:
        """An answer that is no state of this model, or of more rows than there are, would spoil the mean."""
        _, request, state = self._pending[shard]
        info = self.supervisor.infos[shard]
        expected: list[list[Any]] = [[]]
        if isinstance(request, Train) and answer.rows and request.change is not None:
            most, beside = request.change
            size = answer.held or (len(arrays[0]) if arrays else 0)
            coded = [] if answer.held else [("|u1", size)]
            expected = [[*coded, ("<i8", beside), _METRICS]] if size <= most else []
        elif isinstance(request, Train) and answer.rows and state is not None:
            whole = [_kind(state.values), _kind(state.integers), _METRICS]
            expected = [whole[1:]] if answer.held == len(state.values) else [whole]
        elif isinstance(request, (Train, Evaluate)) and answer.rows:
            expected = [[_METRICS]]
        elif isinstance(request, Fetch):
            size, integers = request.sizes
            expected += [[("<i8", integers), _METRICS]] if answer.held == size else _states(size, integers)
        got = [_kind(array) for array in arrays[:-1]] + [array.dtype.str for array in arrays[-1:]]
        if got not in expected or answer.rows > max(info.rows, info.validation_rows):
            raise protocol.ProtocolError(f"It answers {name_of(request)!r} with {answer.rows} rows and {got}.")

    def ready(self, shard: int) -> None:
        """Asks anew: a shard has a worker that knows nothing of what was asked before."""
        if shard in self._pending and shard in self.supervisor.attempts.active:
            # The replacement repeats the round from the same state, to the same bits.
            self._forget_answer(shard)
            self.supervisor.attempts.active[shard].heard = self.supervisor.waited
            self._send_request(shard)

    def _forget_answer(self, shard: int) -> None:
        self._answers.pop(shard, None)
        self._pieces = {key: piece for key, piece in self._pieces.items() if key[0] != shard}

    def owes(self, shard: int) -> bool:
        """Tells whether the driver waits for something from this shard's worker."""
        if shard not in self._pending:
            return False
        return shard not in self._answers or any(
            piece is None for (of, _), piece in self._pieces.items() if of == shard
        )

    def doing(self, shard: int) -> str:
        """Tells people what a shard's worker is doing."""
        if shard not in self._pending:
            return "before the first round" if self._ticket == 0 else "between two rounds"
        request = self._pending[shard].request
        if not isinstance(request, Train):
            return f"in {name_of(request)}"
        return f"training minibatches {request.start} to {request.stop - 1} of epoch {request.epoch + 1}"


def _states(size: int, integers: int) -> list[list[Any]]:
    return [[(values, size), ("<i8", integers), _METRICS] for values in ("<f4", "<f8")]


def _kind(array: np.ndarray) -> tuple[str, int]:
    return array.dtype.str, len(array)
