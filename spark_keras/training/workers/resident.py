"""Resident workers: one Spark job for a whole fit, whose tasks answer requests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame

from spark_keras.keras_model.state import FrozenWeights
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.workers.attempts import Limits
from spark_keras.training.workers.base import Answer, Question, ShardInfo
from spark_keras.training.workers.request_book import RequestBook
from spark_keras.training.workers.supervision import Supervisor

if TYPE_CHECKING:
    from typing_extensions import Self


class ResidentWorkers:
    """One Spark job for the whole fit: a task for each shard, all of them talking to the driver.

    Args:
        dataset: the columns that `task.columns` names, with one partition per worker.
        task: for the closure; its endpoint is filled in later.
        count: of workers.
        description: of the job, for Spark's UI and the log.
        limits: after which the fit fails.
        watch: as of the `Supervisor`.
    """

    def __init__(
        self,
        dataset: DataFrame,
        task: WorkerTask,
        count: int,
        description: str,
        limits: Limits | None = None,
        watch: Callable[[int, int, int], None] | None = None,
    ):
        self._book = RequestBook(task.inline_bytes)
        self.supervisor = Supervisor(dataset, task, count, description, limits or Limits(), self._book, watch)
        self._book.supervisor = self.supervisor

    def __enter__(self) -> Self:
        self.supervisor.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.supervisor.__exit__(*exception)

    @property
    def shards(self) -> list[ShardInfo]:
        """The shard of each worker."""
        return self.supervisor.shards

    def ask(self, questions: Iterable[Question]) -> Iterator[Answer]:
        return self._book.ask(questions)

    def post(self, question: Question) -> None:
        self._book.post(question)

    def first_answer(self) -> Answer:
        return self._book.first_answer()

    def freeze(self, weights: FrozenWeights | None) -> None:
        self._book.frozen = weights

    def yielding_slots(self) -> contextlib.AbstractContextManager[None]:
        return self.supervisor.yielding_slots()
