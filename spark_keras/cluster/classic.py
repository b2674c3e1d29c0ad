"""A classic session, whose driver is this process, with the JVM beside it."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyspark import InheritableThread
from pyspark.sql import DataFrame, SparkSession

from spark_keras import temporary
from spark_keras.cluster import session

# How long a starting application is given to register the executors that its configuration asks for.
_EXECUTOR_SECONDS = 30.0

# These give out each row that they are given.
_KEEP_ALL_ROWS = ("Project", "RepartitionByExpression", "Repartition", "Sort", "SubqueryAlias")
# Where nothing is known Spark takes the size of a relation to be the largest long, so that nobody broadcasts it.
_UNKNOWN_BYTES = 2**55


class Classic:
    """The means of `kinds.Kind` by way of the JVM."""

    def __init__(self, spark: SparkSession):
        self._spark, self._context = spark, spark.sparkContext

    @property
    def application(self) -> str:
        return self._context.applicationId

    @property
    def master(self) -> str:
        return session.master(self._spark)

    @property
    def python(self) -> str:
        return self._context.pythonExec

    # --- executors ---

    def slots(self) -> int | None:
        deadline = time.monotonic() + _EXECUTOR_SECONDS
        while self._executors() < self._expected_executors() and time.monotonic() < deadline:
            time.sleep(0.1)
        context = self._context._jsc.sc()
        profile = context.resourceProfileManager().defaultResourceProfile()
        return max(1, context.maxNumConcurrentTasks(profile))

    def hosts(self) -> int:
        # The driver is in this map, too; on local[N] it is the only one.
        status = self._context._jsc.sc().getExecutorMemoryStatus()
        names = [address.rpartition(":")[0] for address in status.keys().mkString(" ").split()]
        driver = session.setting(self._spark, "spark.driver.host")
        if len(names) > 1 and driver in names:
            names.remove(driver)
        return max(1, len(set(names)))

    def _executors(self) -> int:
        # The driver is in this map, too.
        return self._context._jsc.sc().getExecutorMemoryStatus().size() - 1

    def _expected_executors(self) -> int:
        if session.slots_can_grow(self._spark):
            return 1
        if self.master.startswith("local["):
            return 0
        local_cluster = re.match(r"local-cluster\[\s*(\d+)", self.master)
        if local_cluster:
            return int(local_cluster.group(1))
        return int(session.setting(self._spark, "spark.executor.instances", "0"))

    # --- jobs ---

    def row_statistics(self, dataset: DataFrame) -> tuple[int | None, int | None]:
        # A plan of its own, because a DataFrame keeps the plan that it had before it was cached.
        plan = dataset.select("*")._jdf.queryExecution().optimizedPlan()
        size = int(str(plan.stats().sizeInBytes()))
        while plan.stats().rowCount().isEmpty() and plan.nodeName() in _KEEP_ALL_ROWS:
            plan = plan.children().head()
        count = plan.stats().rowCount()
        return None if count.isEmpty() else int(str(count.get())), None if size > _UNKNOWN_BYTES else size

    def send(self, data: bytes, digest: str) -> Any:
        return self._context.broadcast(data)

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        return InheritableThread(target=target, daemon=True)

    def begin_jobs(self, group: str, description: str) -> None:
        self._context.setJobGroup(group, description, interruptOnCancel=False)

    def cancel_jobs(self, group: str) -> None:
        self._context.cancelJobGroup(group)

    @contextlib.contextmanager
    def described(self, description: str) -> Iterator[None]:
        before = self._context.getLocalProperty("spark.job.description")
        self._context.setJobDescription(description)
        try:
            yield
        finally:
            self._context.setLocalProperty("spark.job.description", before)  # type: ignore[arg-type]  # None removes it

    def on_executor(self, function: Callable[[Any], Any]) -> Any:
        return self._context.parallelize([0], 1).map(function).first()

    # --- files ---

    def fetch(self, path: str, local: str) -> bool:
        file_system, source = self.hadoop_path(path)
        if not file_system.exists(source):
            return False
        file_system.copyToLocalFile(False, source, self.path_class(f"file://{local}"), True)
        return True

    def write(self, path: str, data: bytes) -> None:
        file_system, target = self.hadoop_path(path)
        with temporary.folder() as folder:
            local = Path(folder, "file")
            local.write_bytes(data)
            file_system.copyFromLocalFile(False, True, self.path_class(f"file://{local}"), target)

    def delete(self, path: str) -> None:
        file_system, target = self.hadoop_path(path)
        file_system.delete(target, True)

    @property
    def path_class(self) -> Any:
        """Hadoop's class of paths."""
        jvm: Any = self._context._jvm
        return jvm.org.apache.hadoop.fs.Path

    def hadoop_path(self, path: str) -> tuple[Any, Any]:
        """(file system, path) of Hadoop."""
        hadoop_path = self.path_class(path)
        return hadoop_path.getFileSystem(self._context._jsc.hadoopConfiguration()), hadoop_path
