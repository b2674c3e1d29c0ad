"""Slots: how many tasks an application can run at the same time, and which fits may have them."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator

from pyspark.sql import SparkSession

from spark_keras.cluster.session import master, setting

# How long a starting application is given to register the executors that its configuration asks for.
_EXECUTOR_SECONDS = 30.0


def slots(spark: SparkSession) -> int:
    """Tasks that the application can run at the same time now, once its configured executors have registered."""
    deadline = time.monotonic() + _EXECUTOR_SECONDS
    while _executors(spark) < _expected_executors(spark) and time.monotonic() < deadline:
        time.sleep(0.1)
    context = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    return max(1, context.maxNumConcurrentTasks(profile))


def hosts(spark: SparkSession) -> int:
    """Machines on which the application has executors now."""
    # The driver is in this map, too; on local[N] it is the only one.
    status = spark.sparkContext._jsc.sc().getExecutorMemoryStatus()
    names = [address.rpartition(":")[0] for address in status.keys().mkString(" ").split()]
    driver = setting(spark, "spark.driver.host")
    if len(names) > 1 and driver in names:
        names.remove(driver)
    return max(1, len(set(names)))


def slots_can_grow(spark: SparkSession) -> bool:
    return setting(spark, "spark.dynamicAllocation.enabled", "false").lower() == "true"


def task_cpus(spark: SparkSession) -> int:
    return int(setting(spark, "spark.task.cpus", "1"))


def _executors(spark: SparkSession) -> int:
    # The driver is in this map, too.
    return spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1


def _expected_executors(spark: SparkSession) -> int:
    if slots_can_grow(spark):
        return 1
    where = master(spark)
    if where.startswith("local["):
        return 0
    local_cluster = re.match(r"local-cluster\[\s*(\d+)", where)
    if local_cluster:
        return int(local_cluster.group(1))
    return int(setting(spark, "spark.executor.instances", "0"))


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
    with _gates_lock:
        gate = _gates.setdefault(spark.sparkContext.applicationId, _Gate())
    return gate.admit(workers, lambda: slots(spark))
