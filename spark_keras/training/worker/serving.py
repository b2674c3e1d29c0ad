"""A worker's connection to the driver: requests come, answers go."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras.telemetry.phases import Phases
from spark_keras.training.requests import Average, Train
from spark_keras.training.wire import connections, protocol
from spark_keras.training.wire.others import Others
from spark_keras.training.worker import among_others
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.worker.shard_worker import ShardWorker

if TYPE_CHECKING:
    from spark_keras.keras_model.state import State

# Between two signs of life of a worker that has much to do.
SIGN_SECONDS = 1.0


class Heartbeat:
    """Tells the driver now and then that a worker gets on."""

    def __init__(self, connection: connections.Connection, sign: protocol.Message):
        self._connection, self._sign, self._last = connection, sign, time.monotonic()

    def give(self) -> None:
        now = time.monotonic()
        if now - self._last > SIGN_SECONDS:
            self._last = now
            self._connection.send(self._sign)

    def among(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = iter(batches)
        while (batch := self._next(batches)) is not None:
            self.give()
            yield batch

    @staticmethod
    def _next(batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except Exception as error:
            # Nothing is computed here: the executor has died, or lost what the rows come from.
            raise ConnectionError(f"The rows of the worker broke off: {error}") from error


def serve(
    connection: connections.Connection, worker: ShardWorker, task: WorkerTask, others: Others | None = None
) -> int:
    """Answers requests until the driver says stop; returns the number of rounds.

    Args:
        others: the other workers, where they average among themselves.
    """
    rounds = 0
    held = np.empty(0, "float32")
    phases = Phases()
    coming: Future[_Asked | None] | None = None
    while True:
        asked = _asked(connection, worker.frozen, task, held, phases) if coming is None else coming.result()
        if coming is not None:
            phases.lap("waiting")
        if asked is None:
            return rounds
        message, state, frozen, started = asked
        if frozen is not None:
            worker.freeze(*frozen)
        request = message.request
        rounds += isinstance(request, Train)
        heartbeat = Heartbeat(connection, protocol.Progress(ticket=message.ticket))
        if isinstance(request, Average) and others is not None:
            averaged = among_others.average(worker, request, message, others, connection, heartbeat.give)
            if averaged is None:
                return rounds
            done = averaged
        else:
            done = worker.answer(request, state, phases, heartbeat.give)
        answer = protocol.Done(
            ticket=message.ticket,
            rows=done.rows,
            seconds=time.perf_counter() - started,
            kernel=done.kernel,
            warning=done.warning,
            non_finite=done.non_finite,
            phases=phases.taken(),
            kernels=done.kernels,
            lost=done.lost,
        )
        arrays = [*(done.state or ()), *([] if done.metrics is None else [done.metrics])]
        shared = connection.memory is not None and connection.memory.fits(arrays)
        if len(arrays) == 3 and not shared and arrays[0].nbytes > task.inline_bytes:
            held, *arrays = arrays
            answer.held = len(held)
        connection.send(answer, arrays)
        phases.lap("wire")
        if worker.trains_ahead and isinstance(request, Train):
            # What it trains and what is on its way have a thread each; Keras keeps the main one.
            coming = _received_apart(connection, worker.frozen, task, held)
            worker.look_ahead(request, phases, functools.partial(_give_sign, connection, coming))
        else:
            coming = None
            worker.look_ahead(request)
        phases.lap("loading")


class _Asked(NamedTuple):
    """A request, the state that came with it, the frozen weights where others came, and when it began to come."""

    message: protocol.Ask
    state: State | None
    frozen: tuple[str, np.ndarray] | None
    started: float


def _asked(
    connection: connections.Connection, known: str | None, task: WorkerTask, held: np.ndarray, phases: Phases
) -> _Asked | None:
    """Waits for the next request, and meanwhile sends what the driver fetches; None: there will be none.

    Args:
        known: digest of the frozen weights that the worker has.
        held: numbers of its last answer.
    """
    from spark_keras.keras_model.state import State

    while True:
        message, arrays = _next(connection)
        phases.lap("waiting")
        if isinstance(message, protocol.Stop):
            return None
        if isinstance(message, protocol.Fetch):
            connection.send(
                protocol.Payload(ticket=message.ticket, start=message.start), [held[message.start : message.stop]]
            )
            phases.lap("wire")
            continue
        if not isinstance(message, protocol.Ask):
            raise protocol.ProtocolError(f"The driver sent {type(message).__name__!r} instead of a request.")
        started = time.perf_counter()
        frozen = None
        if message.frozen is not None and message.frozen[0] != known:
            digest, *described = message.frozen
            # The pieces come where these lie.
            arrays = [np.array(array) for array in arrays]
            weights = _pull(connection, message.ticket, described, task.piece, frozen=True)
            if weights is None:
                return None
            frozen = (digest, weights)
        state = State(*arrays) if arrays and message.pull is None else None
        if message.pull is not None:
            # Likewise.
            integers = np.array(arrays[0])
            values = _pull(connection, message.ticket, message.pull, task.piece)
            if values is None:
                return None
            state = State(values, integers)
        phases.lap("wire")
        return _Asked(message, state, frozen, started)


def _received_apart(
    connection: connections.Connection, known: str | None, task: WorkerTask, held: np.ndarray
) -> Future[_Asked | None]:
    """Likewise in a thread, which alone has the connection until it is done."""
    thread = ThreadPoolExecutor(1, "requests")
    coming = thread.submit(_asked, connection, known, task, held, Phases())
    thread.shutdown(wait=False)
    return coming


def _give_sign(connection: connections.Connection, coming: Future[_Asked | None]) -> None:
    """Tells the driver that a worker gets on, if it has asked for something."""
    if coming.done() and (asked := coming.result()) is not None:
        connection.send(protocol.Progress(ticket=asked.message.ticket))


def _next(connection: connections.Connection) -> tuple[Any, list[np.ndarray]]:
    """Waits for the driver's next request."""
    parent = os.getppid()
    while True:
        # Spark's daemon, this process's parent, ends with the executor: then nobody will ever write again.
        while not connection.wait(5000):
            if os.getppid() != parent:
                raise RuntimeError("The executor has ended.")
        message, arrays = connection.receive()
        # What is over here needs not be broken off.
        if not isinstance(message, protocol.Ping | protocol.BreakOff):
            return message, arrays


def _pull(
    connection: connections.Connection, ticket: int, described: Sequence[Any], piece: int, frozen: bool = False
) -> np.ndarray | None:
    """Receives many numbers, one piece after the other; None, if the driver says stop meanwhile.

    Over a network the next one is on its way while one is copied. Shared memory has room for one.

    Args:
        described: their type and how many they are.
        frozen: whether they are the frozen weights; else a state's.
    """
    dtype, size = described
    values = np.empty(size, dtype)
    starts = list(range(0, size, piece))

    def ask(start: int) -> None:
        stop = min(start + piece, size)
        connection.send(protocol.Pull(ticket=ticket, start=start, stop=stop, frozen=frozen))

    ahead = 2 if connection.memory is None else 1
    for start in starts[:ahead]:
        ask(start)
    for index, start in enumerate(starts):
        said, arrays = _next(connection)
        if isinstance(said, protocol.Stop):
            return None
        stop = min(start + piece, size)
        if not isinstance(said, protocol.Piece) or (said.ticket, said.start) != (ticket, start):
            raise protocol.ProtocolError(
                f"The driver sent {type(said).__name__!r} instead of numbers {start} to {stop} of what was pulled."
            )
        values[start:stop] = arrays[0]
        if index + ahead < len(starts):
            ask(starts[index + ahead])
    return values
