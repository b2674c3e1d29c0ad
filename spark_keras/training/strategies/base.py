"""The seam between the training loop and the ways of training: how many states become one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from spark_keras.keras_model.state import State
from spark_keras.telemetry.timeline import WorkerReport
from spark_keras.training.requests import Evaluate
from spark_keras.training.workers.base import Answer, Workers


class Span(NamedTuple):
    """Minibatches of an epoch, from one look of the callbacks to the next.

    Args:
        epoch: from 0 on.
        start: the first minibatch.
        stop: the one after the last.
        number: of the period, counted from 1 on over the whole fit.
    """

    epoch: int
    start: int
    stop: int
    number: int


class PeriodResult(NamedTuple):
    """The result of a period.

    Args:
        rows: how many were trained.
        metrics: sums of their metric states; None where no row counts.
        kernel: how its rounds were compiled; None where no row was trained.
        reports: of each worker.
        seconds: of the slowest worker.
        waited: seconds in which the driver waited for the workers.
        skipped: workers whose update was left out, because it was NaN or infinite.
        bytes: of all messages with changes, where they are compressed; 0: states have travelled, whose size is known.
    """

    rows: int
    metrics: np.ndarray | None
    kernel: str | None
    reports: Sequence[WorkerReport]
    seconds: float
    waited: float
    skipped: Sequence[int] = ()
    bytes: int = 0


class Strategy(Protocol):
    """A way of training.

    Attributes:
        state: what callbacks, validations and checkpoints see.
    """

    @property
    def state(self) -> State: ...

    def begin(self, state: State, workers: Workers) -> None:
        """Before the first period: the state of the driver's model, and those who train it."""

    def period(self, span: Span) -> PeriodResult:
        """Trains a span of minibatches."""

    def assign(self, state: State) -> None:
        """A callback has changed the model, or a checkpoint is taken up: training goes on from this state."""

    def settle(self) -> None:
        """Ends what is under way: before a validation, before `save`, and when the fit ends."""

    def evaluate(self, request: Evaluate, shards: Sequence[int]) -> Iterator[Answer]:
        """Answers of the workers of these shards, which evaluate the state."""

    def save(self) -> dict[str, np.ndarray]:
        """Gives all that is needed beside the state to go on to the same bits, for checkpoints."""

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes up what `save` gave."""
