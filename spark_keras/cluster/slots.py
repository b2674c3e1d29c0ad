"""Slots: how many tasks an application can run at the same time, and which fits may have them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pyspark.sql import SparkSession

from spark_keras.cluster.kinds import kind_of
from spark_keras.cluster.session import setting


def slots(spark: SparkSession) -> int | None:
    """Tasks that the application can run at the same time now, once its configured executors have registered; None on
    Spark Connect, which does not tell.
    """
    return kind_of(spark).slots()


def hosts(spark: SparkSession) -> int:
    """Machines on which the application has executors now; 1 where nobody tells."""
    return kind_of(spark).hosts()


def task_cpus(spark: SparkSession) -> int:
    return int(setting(spark, "spark.task.cpus", "1"))


class _Gate:
    """Admits fits, first come first served, while their workers fit into the slots.

    Without it two fits could each hold half of the slots and wait for the other half for ever, because resident
    workers keep theirs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[object] = []
        self._held = 0

    @contextlib.contextmanager
    def admit(self, workers: int, total: Callable[[], int]) -> Iterator[None]:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(
                    lambda: self._queue[0] is ticket and (self._held == 0 or self._held + workers <= total())
                )
                self._held += workers
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held -= workers
                self._changed.notify_all()


_gates: dict[str, _Gate] = {}


_gates_lock = threading.Lock()


def admit(spark: SparkSession, workers: int) -> contextlib.AbstractContextManager[None]:
    """Waits until this fit's workers have slots, and holds these until the block is left."""
    kind = kind_of(spark)
    with _gates_lock:
        gate = _gates.setdefault(kind.application, _Gate())
    return gate.admit(workers, lambda: kind.slots() or workers)
