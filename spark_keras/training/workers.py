"""Resident workers, as the driver sees them: start, ask, replace a dead one, give up the slots for a while, stop.

The training loop knows only `Workers`; how a round reaches the rows is settled here.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from spark_keras import cluster
from spark_keras.training import wire
from spark_keras.training import worker as worker_side
from spark_keras.training.shared_memory import SharedMemory
from spark_keras.training.state import State

logger = logging.getLogger(__name__)


class WorkerError(RuntimeError):
    """An exception on a worker, with the worker's own traceback."""


class ShardInfo(NamedTuple):
    """What a worker tells of its shard when it joins."""

    rows: int
    validation_rows: int
    skipped: dict[str, int]
    storage: str
    bytes: int
    seconds: dict[str, float]


class Update(NamedTuple):
    """A worker's answer: the state after the round (None for an evaluation or no rows), metric states, rows.

    The state is the worker's own memory, or still with the worker: valid until the next request.
    """

    shard: int
    state: State | None
    metrics: np.ndarray | None
    rows: int
    kernel: str | None
    seconds: float


class Workers(Protocol):
    """The seam between the training loop and the way in which rounds reach the rows."""

    def train(self, epoch: int, start: int, stop: int, states: Callable[[int], State]) -> Iterator[Update]:
        """Trains minibatches `start` to `stop` of an epoch; yields the updates in shard order."""

    def evaluate(self, state: State) -> Iterator[Update]:
        """Evaluates the validation rows; yields the updates in shard order."""

    def measure(self, state: State, kernels: Sequence[str]) -> dict[str, float]:
        """Seconds that a stack of minibatches takes with each of the kernels, once it is compiled."""

    def yielding_slots(self) -> contextlib.AbstractContextManager[None]:
        """Inside, a Spark job that finds no free slot gets the workers'."""


class Member(NamedTuple):
    """The worker of a shard: its address, Spark's number of its attempt, the memory that it shares with the driver."""

    peer: wire.Peer
    attempt: int
    memory: SharedMemory | None


class HeldValues:
    """The values of a state that is too large for one message: slices are fetched from the worker that holds them."""

    def __init__(self, size: int, fetch: Callable[[int, int], np.ndarray]):
        self._size, self._fetch = size, fetch

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._size)
        return self._fetch(start, stop)


class ResidentWorkers:
    """One Spark job for the whole fit: a task for each shard, all of them talking to the driver.

    Args:
        dataset: the columns that `task.columns` names, with one partition per worker.
        task: for the closure; its endpoint is filled in here.
        frequency: minibatches between two averagings.

    Attributes:
        kernel: how rounds are compiled; set when the number of rows is known.
    """

    # As Spark's own spark.task.maxFailures.
    MAX_FAILURES = 4
    STOP_SECONDS = 10.0

    def __init__(self, dataset: Any, task: worker_side.WorkerTask, count: int, frequency: int, description: str):
        self._dataset, self._task, self._count = dataset, task, count
        self._frequency = frequency
        self._description = description
        self._spark = dataset.sparkSession
        self._name = uuid.uuid4().hex[:12]
        self._members: dict[int, Member] = {}
        self._infos: dict[int, ShardInfo] = {}
        self._pending: dict[int, tuple[dict[str, Any], State]] = {}
        self._answers: dict[int, tuple[dict[str, Any], list[np.ndarray]]] = {}
        # Pieces of held states, by shard and start; None: asked for.
        self._pieces: dict[tuple[int, int], np.ndarray | None] = {}
        self._ticket = 0
        self._failures = 0
        self._warned: set[str] = set()
        self._suspended = False
        self._job: cluster.Job | None = None
        self.kernel = "graph"

    def __enter__(self) -> ResidentWorkers:
        with contextlib.ExitStack() as stack:
            bind, host, ports = cluster.listening_address(self._spark)
            stack.enter_context(cluster.fit_group(self._name))
            self._server = wire.Server(bind, host, ports, cluster.encrypted(self._spark))
            stack.callback(self._server.close)
            stack.push(self._leave)
            self._submit()
            self._wait_for(lambda: len(self._members) == self._count)
            self._on_exit = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._on_exit.__exit__(*exception)

    @property
    def infos(self) -> list[ShardInfo]:
        """One for each shard."""
        return [self._infos[shard] for shard in range(self._count)]

    # --- requests ---

    def train(self, epoch: int, start: int, stop: int, states: Callable[[int], State]) -> Iterator[Update]:
        header = {"type": "train", "epoch": epoch, "start": start, "stop": stop, "frequency": self._frequency}
        yield from self._updates(header, states, range(self._count))

    def evaluate(self, state: State) -> Iterator[Update]:
        shards = [shard for shard in range(self._count) if self._infos[shard].validation_rows]
        yield from self._updates({"type": "evaluate"}, lambda shard: state, shards)

    def measure(self, state: State, kernels: Sequence[str]) -> dict[str, float]:
        # One worker measures while the others wait; which one is a matter of the rows.
        largest = max(range(self._count), key=lambda shard: self._infos[shard].rows)
        header = {"type": "measure", "kernels": list(kernels), "frequency": self._frequency}
        ((_, answer, _),) = self._ask(header, lambda shard: state, [largest])
        return answer["kernels"]

    def _updates(self, header: dict[str, Any], states: Callable[[int], State], shards: Any) -> Iterator[Update]:
        for shard, answer, arrays in self._ask(header, states, shards):
            yield Update(
                shard,
                self._state(shard, answer.get("held", 0), arrays[:-1]),
                np.array(arrays[-1]) if arrays else None,
                answer["rows"],
                answer.get("kernel"),
                answer["seconds"],
            )

    def _ask(self, header: dict[str, Any], states: Callable[[int], State], shards: Any) -> Iterator[Any]:
        """(shard, answer, its arrays), in the order of the shards."""
        self._ticket += 1
        header = {**header, "ticket": self._ticket, "kernel": self.kernel}
        self._answers, self._pieces = {}, {}
        self._pending = {shard: (header, states(shard)) for shard in shards}
        for shard in shards:
            self._send_request(shard)
        for shard in shards:
            self._wait_for(lambda: shard in self._answers)  # noqa: B023
            answer, arrays = self._answers[shard]
            self._warn(answer.get("warning"))
            if "held" not in answer:
                # From now on the worker is not needed for this answer.
                del self._pending[shard]
            yield shard, answer, arrays

    def _state(self, shard: int, held: int, arrays: list[np.ndarray]) -> State | None:
        if held:
            # The pieces come where the integers lie.
            return State(HeldValues(held, functools.partial(self._fetch, shard, held)), np.array(arrays[0]))
        return State(*arrays) if arrays else None

    def _send_request(self, shard: int) -> None:
        header, state = self._pending[shard]
        member = self._members.get(shard)
        shared = member is not None and member.memory is not None and member.memory.fits(state)
        if shared or state.values.nbytes <= self._task.inline_bytes:
            self._send(shard, header, state)
        else:
            # The worker pulls it, piece by piece.
            self._send(shard, {**header, "pull": [str(state.values.dtype), len(state.values)]}, [state.integers])

    def _fetch(self, shard: int, size: int, start: int, stop: int) -> np.ndarray:
        """A piece of the state that a worker holds.

        Over a network the next one is asked for before this one is used. Shared memory has room for one.
        """
        while self._pieces.get((shard, start)) is None:
            # A replacement must have repeated the round first.
            self._wait_for(lambda: shard in self._answers)
            self._request_piece(shard, start, stop)
            self._wait_for(lambda: self._pieces.get((shard, start)) is not None or shard not in self._answers)
        if stop < size and self._members[shard].memory is None:
            self._request_piece(shard, stop, min(2 * stop - start, size))
        return self._pieces.pop((shard, start))

    def _request_piece(self, shard: int, start: int, stop: int) -> None:
        if (shard, start) not in self._pieces:
            self._pieces[shard, start] = None
            self._send(shard, {"type": "fetch", "ticket": self._ticket, "start": start, "stop": stop})

    # --- messages ---

    def _send(self, shard: int, header: dict[str, Any], arrays: Any = ()) -> None:
        if shard in self._members:
            member = self._members[shard]
            frames = wire.encode(header, arrays, member.memory)
            self._server.send(member.peer, frames)

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._server.wait(50):
                self._receive()
            elif self._job is not None and not self._job.running:
                self._job_has_ended()

    def _receive(self) -> None:
        message = self._server.receive()
        if message is None:
            return
        peer, header, buffers = message
        kind = header["type"]
        if kind == "error":
            self._raise(header)
        if kind == "join":
            self._join(peer, header)
            return
        shard = next((shard for shard, member in self._members.items() if member.peer == peer), None)
        if shard is None or header["ticket"] != self._ticket or shard not in self._pending:
            return  # late message of a worker that was replaced
        arrays = wire.arrays_of(header, buffers, self._members[shard].memory)
        if kind == "done":
            self._answers[shard] = (header, arrays)
        elif kind == "payload":
            self._pieces[shard, header["start"]] = arrays[0]
        elif kind == "pull":
            values = self._pending[shard][1].values[header["start"] : header["stop"]]
            self._send(shard, {"type": "piece"}, [values])

    def _join(self, peer: wire.Peer, header: dict[str, Any]) -> None:
        shard, attempt = header["shard"], header["attempt"]
        if shard in self._members and self._members[shard].attempt > attempt:
            return
        if shard in self._members:
            logger.warning("%s: worker %d was replaced by attempt %d", self._description, shard, attempt)
        name = header["memory"]
        memory = SharedMemory.open(self._server.endpoint.folder, name) if name else None
        self._members[shard] = Member(peer, attempt, memory)
        self._infos[shard] = ShardInfo(**{name: header[name] for name in ShardInfo._fields})
        logger.info("%s: shard %d of %d bytes in %s", self._description, shard, header["bytes"], header["storage"])
        self._warn(header.get("warning"))
        if shard in self._pending:
            # The replacement repeats the round from the same state, to the same bits.
            self._answers.pop(shard, None)
            self._pieces = {key: piece for key, piece in self._pieces.items() if key[0] != shard}
            self._send_request(shard)

    def _raise(self, header: dict[str, Any]) -> None:
        if header["invalid_data"]:
            raise ValueError(header["message"])
        raise WorkerError(
            f"{self._description}: worker {header['shard']} failed. Its traceback:\n\n{header['traceback']}"
        )

    def _warn(self, message: str | None) -> None:
        if message and message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    # --- the job ---

    def _submit(self) -> None:
        self._members.clear()
        task = self._task._replace(endpoint=self._server.endpoint)
        result = self._dataset.mapInArrow(functools.partial(worker_side.run, task), worker_side.RESULT_SCHEMA)
        self._job = cluster.Job(self._spark, self._name, self._description, result.collect)

    def _job_has_ended(self) -> None:
        """Spark announces a death as the job's exception, where it does not retry the task itself (`local[N]`)."""
        while self._server.wait(500):
            self._receive()  # a worker's own error says more than the job's
        error = self._job.error
        if error is None and not self._members:
            # Spark leaves out a shuffle without rows, and then there is no partition to start a worker for.
            raise ValueError("The DataFrame has no rows. Expected: at least one.")
        if error is None:
            raise WorkerError(f"{self._description}: the Spark job ended before the fit did.")
        if "ModuleNotFoundError" in str(error):
            raise WorkerError(
                f"{self._description}: the executors' Python lacks a module: {error}\n"
                f"The driver runs {sys.executable}. Expected: the same packages on the executors. Set PYSPARK_PYTHON "
                "to an interpreter that has them, before the Spark session starts."
            ) from error
        crashed = "Python worker exited unexpectedly" in str(error) or "PYTHON_WORKER_EXITED" in str(error)
        self._failures += 1
        if not crashed or self._failures >= self.MAX_FAILURES:
            raise WorkerError(f"{self._description}: the Spark job failed: {error}") from error
        logger.warning("%s: a worker died; the job is submitted again", self._description)
        self._submit()

    def _leave(self, *exception: Any) -> None:
        """Ends the tasks: at once by message when they wait for one, else by cancelling the job."""
        if self._job is None:
            return
        self._stop()
        self._job.join(1.0 if any(exception) else self.STOP_SECONDS)
        if self._job.running:
            self._job.cancel()
            self._job.join(self.STOP_SECONDS)

    def _stop(self) -> None:
        for shard in list(self._members):
            self._send(shard, {"type": "stop"})

    @contextlib.contextmanager
    def yielding_slots(self) -> Iterator[None]:
        done = threading.Event()
        watch = threading.Thread(target=self._watch_for_waiting_jobs, args=(done,), daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()
            if self._suspended:
                self._suspended = False
                self._submit()
                self._wait_for(lambda: len(self._members) == self._count)

    def _watch_for_waiting_jobs(self, done: threading.Event) -> None:
        # The fit's own thread is busy with callbacks and does not touch the socket meanwhile.
        while not done.wait(0.5):
            if not self._suspended and cluster.jobs_waiting_for_slots(self._spark):
                logger.info("%s: the workers give up their slots for another job", self._description)
                self._suspended = True
                self._stop()
                self._job.join(self.STOP_SECONDS)
                if self._job.running:
                    self._job.cancel()
