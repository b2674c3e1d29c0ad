"""Everything that touches Spark's JVM and `SparkContext`: slots, addresses, jobs, broadcasts and file systems."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from spark_keras import temporary

_JOB_GROUP_PREFIX = "spark_keras-"

# How long a starting application is given to register the executors that its configuration asks for.
_EXECUTOR_SECONDS = 30.0


def session_of(dataset: Any) -> Any:
    """The DataFrame's session; refuses Spark Connect, where workers cannot reach the driver's Python process."""
    if ".connect." in type(dataset).__module__:
        raise NotImplementedError(
            "Spark Connect is not supported. Received: a DataFrame of a Spark Connect session. Expected: one of a "
            "classic session, whose driver runs this Python process (spark-submit, a notebook on the driver)."
        )
    return dataset.sparkSession


# --- slots ---------------------------------------------------------------------------------------------------------


def slots(spark: Any) -> int:
    """Tasks that the application can run at the same time now, once its configured executors have registered."""
    deadline = time.monotonic() + _EXECUTOR_SECONDS
    while _executors(spark) < _expected_executors(spark) and time.monotonic() < deadline:
        time.sleep(0.1)
    context = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    return max(1, context.maxNumConcurrentTasks(profile))


def slots_can_grow(spark: Any) -> bool:
    return spark.conf.get("spark.dynamicAllocation.enabled", "false").lower() == "true"


def stopped(spark: Any) -> bool:
    return spark.sparkContext._jsc is None


def task_cpus(spark: Any) -> int:
    return int(spark.conf.get("spark.task.cpus", "1"))


def _executors(spark: Any) -> int:
    # The driver is in this map, too.
    return spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1


def _expected_executors(spark: Any) -> int:
    if slots_can_grow(spark):
        return 1
    master = spark.sparkContext.master
    if master.startswith("local["):
        return 0
    local_cluster = re.match(r"local-cluster\[\s*(\d+)", master)
    if local_cluster:
        return int(local_cluster.group(1))
    return int(spark.conf.get("spark.executor.instances", "0"))


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


def admit(spark: Any, workers: int) -> contextlib.AbstractContextManager[None]:
    """Waits until this fit's workers have slots, and holds these until the block is left."""
    with _gates_lock:
        gate = _gates.setdefault(spark.sparkContext.applicationId, _Gate())
    return gate.admit(workers, lambda: slots(spark))


# --- rows ----------------------------------------------------------------------------------------------------------

# These give out each row that they are given.
_KEEP_ALL_ROWS = ("Project", "RepartitionByExpression", "Repartition", "Sort", "SubqueryAlias")

# Where nothing is known Spark takes the size of a relation to be the largest long, so that nobody broadcasts it.
_UNKNOWN_BYTES = 2**55


def row_statistics(dataset: Any) -> tuple[int | None, int | None]:
    """(number of rows, bytes), as far as Spark's optimizer knows them; starts no job.

    The number is exact or None: that of a cached DataFrame whose rows were computed, of a range, or of a table that was
    analyzed. The bytes are the optimizer's estimate.
    """
    # A plan of its own, because a DataFrame keeps the plan that it had before it was cached.
    plan = dataset.select("*")._jdf.queryExecution().optimizedPlan()
    size = int(str(plan.stats().sizeInBytes()))
    while plan.stats().rowCount().isEmpty() and plan.nodeName() in _KEEP_ALL_ROWS:
        plan = plan.children().head()
    count = plan.stats().rowCount()
    return None if count.isEmpty() else int(str(count.get())), None if size > _UNKNOWN_BYTES else size


# --- addresses -----------------------------------------------------------------------------------------------------


def listening_address(spark: Any) -> tuple[str, str, range]:
    """(interface to listen on, name that workers use, ports to try; none: any free port).

    `spark.keras.driver.host`, `spark.keras.driver.bindAddress` and `spark.keras.driver.port` override what Spark itself
    uses for its driver.
    """
    conf = spark.conf
    host = conf.get("spark.keras.driver.host", "") or conf.get("spark.driver.host", "") or "localhost"
    bind = conf.get("spark.keras.driver.bindAddress", "") or conf.get("spark.driver.bindAddress", "") or host
    if spark.sparkContext.master.startswith("local["):
        host = bind = "127.0.0.1"
    ports = conf.get("spark.keras.driver.port", "")
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", ports) if ports else None
    if ports and (not match or not 0 < int(match[1]) <= int(match[2] or match[1]) < 65536):
        raise ValueError(
            f"Invalid value for spark.keras.driver.port. Received: {ports!r}. "
            "Expected: a port such as 40000, or a range such as 40000-40100."
        )
    return bind, host, range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)


def encrypted(spark: Any) -> bool:
    return spark.conf.get("spark.keras.encryption", "true").lower() == "true"


# --- jobs ----------------------------------------------------------------------------------------------------------


class Job:
    """A Spark job in a thread and job group of its own, so that cancelling ends exactly this one."""

    def __init__(self, spark: Any, name: str, description: str, action: Callable[[], Any]):
        from pyspark import InheritableThread

        self._context = spark.sparkContext
        self._group = _JOB_GROUP_PREFIX + name
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self._context.setJobGroup(self._group, description, interruptOnCancel=False)
                action()
            except BaseException as error:  # handed to the fit's thread, which raises it
                self.error = error

        self._thread = InheritableThread(target=run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def cancel(self) -> None:
        self._context.cancelJobGroup(self._group)

    def activity(self) -> tuple[int, int, int]:
        """(tasks that wait for a slot, that run, that have ended) of this job and those that belong to it."""
        tracker = self._context.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._group)]
        active = set(tracker.getActiveStageIds())
        ids = {stage for job in jobs if job for stage in job.stageIds}
        stages = [tracker.getStageInfo(stage) for stage in ids]
        waiting = running = ended = 0
        for stage in filter(None, stages):
            running += stage.numActiveTasks
            ended += stage.numCompletedTasks + stage.numFailedTasks
            if stage.stageId in active:
                waiting += max(0, stage.numTasks - stage.numCompletedTasks - stage.numActiveTasks)
        return waiting, running, ended


# As Spark's exceptions call the end of a process: a Python worker, an executor, and one that took shuffle files along.
_DEATHS = (
    "Python worker exited unexpectedly",
    "PYTHON_WORKER_EXITED",
    "ExecutorLostFailure",
    "has failed the maximum allowable number of times",
)


def is_death(error: BaseException) -> bool:
    """Whether a job failed because processes ended, which is not the fault of what they did."""
    return any(death in str(error) for death in _DEATHS)


def end_task(spark: Any, attempt: int, reason: str) -> None:
    """Ends a task by the number of its attempt; where its work is not done, Spark starts it again.

    Other than a death, this is no failure to Spark, and also makes it start a task again on `local[N]`.
    """
    if not stopped(spark):
        spark.sparkContext._jsc.sc().killTaskAttempt(attempt, False, reason)


def jobs_waiting_for_slots(spark: Any) -> bool:
    """Whether a job that is not a fit's own has an active stage with no running task."""
    tracker = spark.sparkContext.statusTracker()
    fits = {job for group in list(_fit_groups) for job in tracker.getJobIdsForGroup(group)}
    for job_id in set(tracker.getActiveJobsIds()) - fits:
        job = tracker.getJobInfo(job_id)
        stages = [tracker.getStageInfo(stage) for stage in job.stageIds] if job else []
        active = [stage for stage in stages if stage is not None and stage.numCompletedTasks < stage.numTasks]
        if active and not any(stage.numActiveTasks for stage in active):
            return True
    return False


_fit_groups: set[str] = set()


@contextlib.contextmanager
def fit_group(name: str) -> Iterator[None]:
    """Marks the job group of a fit, whose resident workers hold slots on purpose."""
    _fit_groups.add(_JOB_GROUP_PREFIX + name)
    try:
        yield
    finally:
        _fit_groups.discard(_JOB_GROUP_PREFIX + name)


@contextlib.contextmanager
def described(spark: Any, description: str) -> Iterator[None]:
    """Gives the jobs that this thread starts a description, as Spark's pages show it."""
    context = spark.sparkContext
    before = context.getLocalProperty("spark.job.description")
    context.setJobDescription(description)
    try:
        yield
    finally:
        context.setLocalProperty("spark.job.description", before)


# --- broadcasts and files ------------------------------------------------------------------------------------------


def broadcast(spark: Any, value: Any) -> Any:
    return spark.sparkContext.broadcast(value)


def write_file(spark: Any, path: str, data: bytes) -> None:
    """Writes a file to any file system that Spark reaches."""
    file_system, target = _hadoop_path(spark, path)
    with temporary.folder() as folder:
        local = os.path.join(folder, "file")
        with open(local, "wb") as file:
            file.write(data)
        local_path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
        file_system.copyFromLocalFile(False, True, local_path, target)


def read_file(spark: Any, path: str) -> bytes | None:
    """Reads a file from any file system that Spark reaches; None if there is none."""
    file_system, source = _hadoop_path(spark, path)
    if not file_system.exists(source):
        return None
    with temporary.folder() as folder:
        local = os.path.join(folder, "file")
        local_path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
        file_system.copyToLocalFile(False, source, local_path, True)
        with open(local, "rb") as file:
            return file.read()


def list_folder(spark: Any, path: str) -> list[str]:
    """Names of what is in a folder of any file system that Spark reaches; none if there is no such folder."""
    file_system, folder = _hadoop_path(spark, path)
    if not file_system.exists(folder):
        return []
    return [status.getPath().getName() for status in file_system.listStatus(folder)]


def place_file(spark: Any, local: str, folder: str, name: str, unfinished: str) -> None:
    """Copies a local file into a folder of any file system that Spark reaches; it gets its name when it is whole.

    Args:
        unfinished: the name until then.
    """
    file_system, target = _hadoop_path(spark, folder)
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path
    file_system.mkdirs(target)
    file_system.copyFromLocalFile(False, True, path(f"file://{local}"), path(target, unfinished))
    if not file_system.rename(path(target, unfinished), path(target, name)):
        raise OSError(f"{folder}/{unfinished} could not be renamed to {name}.")


def fetch_file(spark: Any, path: str, local: str) -> None:
    """Copies a file of any file system that Spark reaches."""
    file_system, source = _hadoop_path(spark, path)
    target = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
    file_system.copyToLocalFile(False, source, target, True)


def fetch_model(spark: Any, path: str, local: str) -> bool:
    """Copies a file, or a folder with all in it, of any file system that Spark reaches; False if there is none."""
    file_system, source = _hadoop_path(spark, path)
    if not file_system.exists(source):
        return False
    target = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
    file_system.copyToLocalFile(False, source, target, True)
    return True


def delete_file(spark: Any, path: str) -> None:
    file_system, target = _hadoop_path(spark, path)
    file_system.delete(target, False)


def _hadoop_path(spark: Any, path: str) -> tuple[Any, Any]:
    hadoop_path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(path)
    return hadoop_path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), hadoop_path
