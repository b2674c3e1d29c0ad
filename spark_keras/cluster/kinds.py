"""The two kinds of sessions, and all that differs between them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

import pyspark
from pyspark.sql import DataFrame, SparkSession

from spark_keras.cluster.session import is_connect


class Kind(Protocol):
    """A session's means beside DataFrames, with the JVM at hand or without it.

    What only fits need is not here: they run on classic sessions.
    """

    @property
    def application(self) -> str:
        """Name of what broadcasts, sent files and jobs belong to."""

    @property
    def master(self) -> str:
        """Master of the application, such as "local[4]"; "" where the driver is not this process."""

    @property
    def python(self) -> str:
        """Command that starts the executors' Python."""

    def slots(self) -> int | None:
        """Tasks that can run at the same time, once the configured executors have registered; None: nobody tells."""

    def hosts(self) -> int:
        """Machines on which the application has executors now, as far as they are known."""

    def row_statistics(self, dataset: DataFrame) -> tuple[int | None, int | None]:
        """(number of rows, bytes) of a DataFrame, as `statistics.row_statistics` tells."""

    def send(self, data: bytes, digest: str) -> Any:
        """Makes bytes known to executors, whose functions find them as the attribute `value` of what this gives.

        Args:
            digest: tells them from all others.
        """

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        """A thread that ends with the process, for jobs that belong to those of this one."""

    def begin_jobs(self, group: str, description: str) -> None:
        """Gives the jobs that this thread will start a group, by which they can be cancelled."""

    def cancel_jobs(self, group: str) -> None:
        """Cancels the jobs of a group."""

    def described(self, description: str) -> contextlib.AbstractContextManager[None]:
        """Gives the jobs of this thread a description, where Spark's pages can show it."""

    def on_executor(self, function: Callable[[Any], Any]) -> Any:
        """Calls a function with anything in one task; its result, plain JSON."""

    def fetch(self, path: str, local: str) -> bool:
        """Copies a file, or a folder with all in it, to this machine; False if there is none."""

    def write(self, path: str, data: bytes) -> None:
        """Writes a file; where the session cannot name one, a folder of this name with the file's pieces."""

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder with all in it, if there is one."""


def kind_of(spark: SparkSession) -> Kind:
    """The means of a session."""
    if is_connect(spark):
        if int(pyspark.__version__.split(".")[0]) < 4:
            raise NotImplementedError(
                f"Spark ML does not work on Spark Connect before Spark 4.0. Received: {pyspark.__version__} and a "
                "session of Spark Connect. Expected: Spark 4.0 or newer, or a classic session."
            )
        from spark_keras.cluster.connect import Connect

        return Connect(spark)
    from spark_keras.cluster.classic import Classic

    return Classic(spark)
