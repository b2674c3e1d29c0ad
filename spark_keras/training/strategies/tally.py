"""The answers of a span of minibatches: their metric states and rows, added up."""

from __future__ import annotations

import numpy as np

from spark_keras.telemetry.timeline import WorkerReport
from spark_keras.training.strategies.base import PeriodResult, Span
from spark_keras.training.workers.base import Answer


class Tally:
    """Adds up the answers of a span, one at a time.

    Leaves out and notes updates that have become NaN or infinite; or refuses them.

    Args:
        span: of which they are.
        non_finite: "error", "skip", or "keep" where nobody looks.
    """

    def __init__(self, span: Span, non_finite: str):
        self._span, self._non_finite = span, non_finite
        self.metrics: np.ndarray | None = None
        self.rows, self._seconds = 0, 0.0
        self._kernel: str | None = None
        self._reports: list[WorkerReport] = []
        self.skipped: list[int] = []

    def counted(self, answer: Answer) -> Answer:
        """Counts an answer, and gives it back; without its update where that is left out.

        Raises:
            FloatingPointError: the update is NaN or infinite, and "error" refuses it.
        """
        if answer.non_finite is not None and self._non_finite != "keep":
            answer = self._without_update(answer)
        if answer.metrics is not None:
            self.metrics = answer.metrics if self.metrics is None else self.metrics + answer.metrics
        self.rows += answer.rows
        self._seconds = max(self._seconds, answer.seconds)
        self._reports.append((answer.shard, answer.rows, answer.phases))
        # A worker without full minibatches in this round tells none.
        self._kernel = answer.kernel or self._kernel
        return answer

    def result(self, waited: float) -> PeriodResult:
        """The period that the answers make."""
        metrics = self.metrics if self.rows else None
        return PeriodResult(self.rows, metrics, self._kernel, self._reports, self._seconds, waited, self.skipped)

    def _without_update(self, answer: Answer) -> Answer:
        epoch, start, stop, number = self._span
        if self._non_finite == "error":
            raise FloatingPointError(
                f"Worker {answer.shard} made {answer.non_finite!r} NaN or infinite in round {number} "
                f"(epoch {epoch + 1}, minibatches {start} to {stop - 1}). Expected: finite numbers. Lower the "
                "learning rate, clip gradients (clipnorm of the optimizer), or look for extreme values in the "
                'columns; nonFinite="skip" leaves such updates out and counts them.'
            )
        self.skipped.append(answer.shard)
        return answer._replace(state=None, metrics=None, rows=0)
