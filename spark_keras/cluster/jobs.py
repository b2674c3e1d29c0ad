"""Spark jobs: started in a group of their own, described, watched and ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pyspark.sql import SparkSession

from spark_keras.cluster.kinds import kind_of
from spark_keras.cluster.session import stopped

_JOB_GROUP_PREFIX = "spark_keras-"


class Job:
    """A Spark job in a thread and job group of its own, so that cancelling ends exactly this one."""

    def __init__(self, spark: SparkSession, name: str, description: str, action: Callable[[], Any]):
        self._spark, self._kind = spark, kind_of(spark)
        self._group = _JOB_GROUP_PREFIX + name
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self._kind.begin_jobs(self._group, description)
                action()
            except BaseException as error:  # handed to the fit's thread, which raises it
                self.error = error

        self._thread = self._kind.thread(run)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def cancel(self) -> None:
        self._kind.cancel_jobs(self._group)

    def activity(self) -> tuple[int, int, int]:
        """(tasks that wait for a slot, that run, that have ended) of this job and those that belong to it."""
        tracker = self._spark.sparkContext.statusTracker()
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
    """Tells whether a job failed because processes ended, which is not the fault of what they did."""
    return any(death in str(error) for death in _DEATHS)


def end_task(spark: SparkSession, attempt: int, reason: str) -> None:
    """Ends a task by the number of its attempt; where its work is not done, Spark starts it again.

    Other than a death, this is no failure to Spark, and also makes it start a task again on `local[N]`.
    """
    if not stopped(spark):
        spark.sparkContext._jsc.sc().killTaskAttempt(attempt, False, reason)


def jobs_waiting_for_slots(spark: SparkSession) -> bool:
    """Tells whether a job that is not a fit's own has an active stage with no running task."""
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


def described(spark: SparkSession, description: str) -> contextlib.AbstractContextManager[None]:
    """Gives the jobs that this thread starts a description, where Spark's pages can show it."""
    return kind_of(spark).described(description)
