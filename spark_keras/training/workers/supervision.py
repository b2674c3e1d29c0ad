"""The Spark job of a fit and its tasks: start, replace what dies or hangs, give up the slots for a while, end.

Spark announces a death: by a new attempt that joins, or by the job's exception on `local[N]`. A connection only tells
that a process is there.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pyspark.sql import DataFrame

from spark_keras.cluster import addresses, jobs, session
from spark_keras.training.wire import protocol, server
from spark_keras.training.wire.shared_memory import SharedMemory
from spark_keras.training.worker import task as worker
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.workers.attempts import Attempt, Attempts, Limits
from spark_keras.training.workers.base import ShardInfo
from spark_keras.training.workers.errors import WorkerError

logger = logging.getLogger(__name__)


class Book(Protocol):
    """Questions to the workers, for which the supervisor sees to it that there are any."""

    def answered(self, worker: Attempt, message: Any, buffers: list[Any]) -> None:
        """The worker of a shard said something."""

    def ready(self, shard: int) -> None:
        """A shard has a worker that knows nothing of what was asked before."""

    def owes(self, shard: int) -> bool:
        """Tells whether something is awaited from a shard's worker."""

    def doing(self, shard: int) -> str:
        """Tells people what a shard's worker is doing."""


class Supervisor:
    """One Spark job with a task for each shard; it has a worker for each of them while it is entered.

    Args:
        watch: told, until all workers are ready, how many tasks have started, how many of them are ready, and how many
            rows these have.

    Attributes:
        server: the connections of the workers.
        attempts: the job's tasks.
        infos: what each worker has, by shard.
        waited: seconds spent waiting for workers. What keeps the driver itself from looking is not their fault.
        asked: of these, those that had gone by when the workers were asked last.
    """

    STOP_SECONDS = 10.0
    # Between two looks at the workers, and at those that a message is needed for.
    LOOK_SECONDS = 0.1
    PROBE_SECONDS = 5.0
    # A slot is needed for a shard that has no worker, and another shard has two.
    SLOT_SECONDS = 3.0
    # A worker with something to do says nothing: then the log tells, and again after a while.
    STALL_SECONDS = 30.0
    STALL_AGAIN_SECONDS = 60.0
    # A job waits for slots while the fit does without its workers: then it gets them.
    YIELD_SECONDS = 0.5

    def __init__(
        self,
        dataset: DataFrame,
        task: WorkerTask,
        count: int,
        description: str,
        limits: Limits,
        book: Book,
        watch: Callable[[int, int, int], None] | None = None,
    ):
        self._dataset, self._task, self._count, self._limits = dataset, task, count, limits
        self._description, self._book, self._starting = description, book, watch
        self._spark = dataset.sparkSession
        self._name = uuid.uuid4().hex[:12]
        self.attempts = Attempts(count)
        self.infos: dict[int, ShardInfo] = {}
        self._submissions = 0
        self.waited = 0.0
        self._looked = time.monotonic()
        self._probed = self.asked = self._complete = self._inquired = 0.0
        self._activity = (0, 0, 0)
        self._stalled: dict[int, float] = {}
        self._warned: set[str] = set()
        # Since when the fit does without its workers; None: it needs them. The lock is held while they are taken away.
        self._unneeded_since: float | None = None
        self._yielding = threading.Lock()
        self._suspended = False

    def __enter__(self) -> Any:
        with contextlib.ExitStack() as stack:
            bind, host, ports = addresses.listening_address(self._spark)
            stack.enter_context(jobs.fit_group(self._name))
            self.server = server.Server(bind, host, ports, addresses.encrypted(self._spark))
            stack.callback(self.server.close)
            self._submit()
            stack.push(self._leave)
            self.wait_for(self._all_there)
            stack.enter_context(self._watch_for_waiting_jobs())
            self._on_exit = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._on_exit.__exit__(*exception)

    @property
    def shards(self) -> list[ShardInfo]:
        """The shard of each worker."""
        return [self.infos[shard] for shard in range(self._count)]

    def _all_there(self) -> bool:
        """Asked again and again before the first round."""
        ready = len(self.attempts.active)
        if self._starting is not None:
            rows = sum(info.rows + info.validation_rows for info in self.infos.values())
            self._starting(len({attempt.shard for attempt in self.attempts}), ready, rows)
        return ready == self._count

    # --- messages ---

    def send(self, shard: int, message: protocol.Message, arrays: Any = ()) -> None:
        if shard in self.attempts.active:
            attempt = self.attempts.active[shard]
            self.server.send(attempt.peer, protocol.encode(message, arrays, attempt.memory))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self.server.wait(50):
                self._receive()
            now = time.monotonic()
            if now - self._looked > self.LOOK_SECONDS:
                self.waited += min(now - self._looked, 1.0)
                self._looked = now
                self._look_after_workers()

    def _receive(self) -> None:
        received = self.server.receive()
        if received is None:
            return
        peer, message, buffers = received
        try:
            self._handle(peer, message, buffers)
        except protocol.ProtocolError as error:
            self.server.refuse(peer, error)
            sender = self.attempts.by_peer(peer)
            if sender is not None:
                self._give_up(sender, f"sent what no worker sends: {error}")

    def _handle(self, peer: server.Peer, message: Any, buffers: list[Any]) -> None:
        if isinstance(message, protocol.Unexpected):
            raise protocol.ProtocolError(f"Workers send no such message of type {message.type[:20]!r}: {message.error}")
        if isinstance(message, protocol.FromTask):
            if message.submission != self._submissions or message.shard >= self._count:
                return  # a task of a job that was given up
            handle: dict[type, Callable[..., None]] = {
                protocol.Start: self._start,
                protocol.Join: self._join,
                protocol.Error: self._fail,
            }
            handle[type(message)](peer, message)
            return
        sender = self.attempts.by_peer(peer)
        if sender is None:
            return  # late message of a worker that was replaced
        sender.heard = self.waited
        if not isinstance(message, protocol.Loading) and self.attempts.active.get(sender.shard) is sender:
            self._book.answered(sender, message, buffers)

    def _start(self, peer: server.Peer, message: protocol.Start) -> None:
        where = f"process {message.pid} on {message.host}"
        logger.info("%s: worker %d starts as %s", self._description, message.shard, where)
        attempt = self.attempts.find(message.shard, message.attempt) or self._begin(peer, message)
        if attempt is not None:
            attempt.where = where

    def _begin(self, peer: server.Peer, message: protocol.FromTask) -> Attempt | None:
        if message.attempt in self.attempts.ended:
            # Given up, or thought dead because its first connection broke: Spark starts another one in its place.
            jobs.end_task(self._spark, message.attempt, "it was given up")
            return None
        attempt = Attempt(message.shard, message.attempt, peer, heard=self.waited)
        self._complete = self.waited
        if self.attempts.started(attempt):
            logger.warning("%s: worker %d died and starts again", self._description, attempt.shard)
            self._count_failure(attempt.shard, "its process died")
        return attempt

    def _join(self, peer: server.Peer, message: protocol.Join) -> None:
        # Over a network, what a task said first may come second.
        attempt = self.attempts.find(message.shard, message.attempt) or self._begin(peer, message)
        if attempt is None:
            return
        shard, name = attempt.shard, message.memory
        try:
            attempt.memory = SharedMemory.open(self.server.endpoint.folder, name) if name else None
        except (OSError, ValueError) as error:
            raise protocol.ProtocolError(f"It names a shared memory that cannot be opened: {error}") from error
        attempt.peer, attempt.joined, attempt.heard = peer, True, self.waited
        attempt.address = message.address
        info = ShardInfo(**{name: getattr(message, name) for name in ShardInfo._fields})
        if shard in self.infos and self.infos[shard].digest != info.digest:
            raise WorkerError(
                f"{self._description}: worker {shard} found other rows when they were loaded again. Received: "
                f"{info.rows} and {info.validation_rows} rows to train and validate on, before "
                f"{self.infos[shard].rows} and {self.infos[shard].validation_rows}, or others of them. Expected: a "
                "DataFrame that gives the same rows each time. Write it to a file or a table before the fit, and read "
                "that, where its query draws random numbers or depends on an order that Spark does not keep."
            )
        self.infos[shard] = info
        logger.info("%s: shard %d of %d bytes in %s", self._description, shard, message.bytes, message.storage)
        self.warn(message.warning)
        if shard in self.attempts.active:
            logger.info("%s: a duplicate of worker %d stands by", self._description, shard)
            return
        self.attempts.active[shard] = attempt
        self._book.ready(shard)

    # --- failures ---

    def _look_after_workers(self) -> None:
        """Called again and again while the driver waits."""
        if not self._job.running:
            self._job_has_ended()
        # Last words are read before it is asked whether anybody is there.
        probing = self.waited - self._probed > self.PROBE_SECONDS and not self.server.wait(0)
        if probing:
            self._probed = self.waited
        for attempt in self.attempts:
            if (probing or not isinstance(attempt.peer, bytes)) and not self.server.alive(attempt.peer):
                self._forget(attempt, died=True)
        for attempt in self.attempts:
            self._check_silence(attempt)
        self._check_slots()

    def _check_silence(self, attempt: Attempt) -> None:
        limit, doing = self._limits.join_seconds, "importing Keras and loading its rows"
        since = attempt.heard
        if attempt.joined:
            if attempt is not self.attempts.active.get(attempt.shard) or not self._book.owes(attempt.shard):
                return
            limit, doing = self._limits.worker_seconds, self._book.doing(attempt.shard)
            since = max(since, self.asked)
        silent = self.waited - since
        if silent > limit:
            self._give_up(attempt, f"gave no sign of life for {silent:.0f} s while {doing}")
        elif silent > self.STALL_SECONDS and self.waited > self._stalled.get(attempt.number, 0.0):
            self._stalled[attempt.number] = self.waited + self.STALL_AGAIN_SECONDS
            began = time.strftime("%H:%M:%S", time.localtime(time.time() - silent))
            logger.warning(
                "%s: worker %d (%s) has been silent since %s (%.0f s) while %s",
                *(self._description, attempt.shard, attempt.where, began, silent, doing),
            )

    def _check_slots(self) -> None:
        missing = self.attempts.missing()
        if not missing:
            self._complete = self.waited
            return
        without = self.waited - self._complete
        superfluous = self.attempts.superfluous()
        if superfluous is not None and without > self.SLOT_SECONDS:
            logger.warning("%s: a duplicate of worker %d gives up its slot", self._description, superfluous.shard)
            self._complete = self.waited
            self._forget(superfluous, died=False)
            jobs.end_task(self._spark, superfluous.number, "its slot is needed")
        if self.waited - self._inquired > 1.0:
            self._inquired, before = self.waited, self._activity
            self._activity = self._job.activity()
            waiting, running, ended = self._activity
            # Before the workers, Spark plans and computes their rows, which may take its time.
            if not waiting or ended != before[2] or running > self._count - len(missing):
                self._complete = self.waited
        if self.waited - self._complete > self._limits.join_seconds:
            raise WorkerError(self._no_slot(missing))

    def _no_slot(self, missing: list[int]) -> str:
        return (
            f"{self._description}: no slot came free within {self._limits.join_seconds:g} s for {len(missing)} of "
            f"{self._count} workers ({', '.join(map(str, missing))}), {self._book.doing(missing[0])}. Received: "
            f"numWorkers={self._count}. Expected: as many free slots (cores / spark.task.cpus). End what holds the "
            "slots, set fewer numWorkers, or raise Param `joinTimeout` where executors take longer to come."
        )

    def _give_up(self, attempt: Attempt, reason: str) -> None:
        """Ends a worker that is there, and of no use."""
        told = f"{self._description}: worker {attempt.shard} ({attempt.where})"
        logger.warning("%s %s; it is replaced", told, reason)
        self.server.drop(attempt.peer)
        self._forget(attempt, died=False)
        self._count_failure(attempt.shard, f"it {reason}")
        jobs.end_task(self._spark, attempt.number, reason)

    def _forget(self, attempt: Attempt, died: bool) -> None:
        shard = attempt.shard
        stood_by = self.attempts.active.get(shard, attempt) is not attempt
        replacement = self.attempts.removed(attempt, died)
        if died:
            logger.info("%s: worker %d is gone", self._description, shard)
        if died and not stood_by and self.attempts.of(shard):
            # Else it counts when Spark starts another one, for Spark also ends tasks that others have brought down.
            self._count_failure(shard, "its process died")
        if replacement is not None:
            self._book.ready(shard)

    def _count_failure(self, shard: int, reason: str) -> None:
        self.attempts.failures[shard] += 1
        failures = self.attempts.failures[shard]
        if failures >= self._limits.failures:
            said = self.attempts.said.get(shard)
            raise WorkerError(
                f"{self._description}: worker {shard} failed {failures} times in a row, the last time because "
                f"{reason}, {self._book.doing(shard)}. Param `maxFailures` allows {self._limits.failures - 1}. "
                + (f"Its last traceback:\n\n{said}" if said else "It left no traceback, as when it is killed.")
            )

    def _fail(self, peer: server.Peer, message: protocol.Error) -> None:
        """A worker's own account of its failure."""
        shard = message.shard
        attempt = self.attempts.find(shard, message.attempt) or self._begin(peer, message)
        if attempt is None or (shard in self.attempts.active and self.attempts.active[shard] is not attempt):
            return  # one that was given up, or a duplicate
        self.attempts.said[shard] = message.traceback
        if message.invalid_data:
            raise ValueError(message.message)
        if not message.transient:
            raise WorkerError(
                f"{self._description}: worker {shard} failed {self._book.doing(shard)}. Its traceback:\n\n"
                f"{message.traceback}"
            )
        logger.warning("%s: worker %d failed: %s", self._description, shard, message.message)

    def warn(self, message: str | None) -> None:
        if message and message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    # --- the job ---

    def _submit(self) -> None:
        self.attempts.clear()
        self._submissions += 1
        self._complete = self.waited
        task = self._task._replace(endpoint=self.server.endpoint, submission=self._submissions)
        result = self._dataset.mapInArrow(functools.partial(worker.run, task), worker.RESULT_SCHEMA)
        self._job = jobs.Job(self._spark, self._name, self._description, result.collect)

    def _job_has_ended(self) -> None:
        """Spark announces a death as the job's exception, where it does not retry the task itself (`local[N]`)."""
        while self.server.wait(500):
            self._receive()  # a worker's own error says more than the job's
        error = self._job.error
        if session.stopped(self._spark):
            raise WorkerError(f"{self._description}: the Spark session was stopped meanwhile.") from error
        if error is None and not self.infos:
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
        failed = re.search(r"Task (\d+) in stage", str(error))
        shard = int(failed[1]) % self._count if failed else 0
        crashed = jobs.is_death(error)
        if not crashed and shard not in self.attempts.said:
            raise WorkerError(f"{self._description}: the Spark job failed: {error}") from error
        logger.warning("%s: worker %d died; the job is submitted again", self._description, shard)
        self._count_failure(shard, "its process died" if crashed else "it failed")
        self._submit()

    def _leave(self, *exception: Any) -> None:
        self._end_job(1.0 if any(exception) else self.STOP_SECONDS)
        self._job.join(self.STOP_SECONDS)

    def _end_job(self, seconds: float) -> None:
        """Ends the tasks: at once by message when they wait for one, else by cancelling the job."""
        for attempt in self.attempts:
            if attempt.joined:
                self.server.send(attempt.peer, protocol.encode(protocol.Stop()))
        self._job.join(seconds)
        if self._job.running:
            self._job.cancel()

    @contextlib.contextmanager
    def yielding_slots(self) -> Iterator[None]:
        self._unneeded_since = time.monotonic()
        try:
            yield
        finally:
            with self._yielding:
                self._unneeded_since = None
            if self._suspended:
                self._suspended = False
                self._submit()
                self.wait_for(lambda: len(self.attempts.active) == self._count)

    @contextlib.contextmanager
    def _watch_for_waiting_jobs(self) -> Iterator[None]:
        # One thread for the whole fit: to start one takes longer than most callbacks.
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended,), name="spark_keras slots", daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(self.YIELD_SECONDS):
            # The fit's own thread is busy with callbacks and does not touch the socket meanwhile.
            with self._yielding:
                since = self._unneeded_since
                if since is None or self._suspended or time.monotonic() - since < self.YIELD_SECONDS:
                    continue
                if jobs.jobs_waiting_for_slots(self._spark):
                    logger.info("%s: the workers give up their slots for another job", self._description)
                    self._suspended = True
                    self._end_job(self.STOP_SECONDS)
