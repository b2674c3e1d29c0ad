"""The seam between strategies and those who train: who has which rows, and how requests reach them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from spark_keras.keras_model.state import FrozenWeights, State
from spark_keras.telemetry.phases import NOTHING
from spark_keras.training.requests import Request


class ShardInfo(NamedTuple):
    """A shard, as its worker tells of it when it joins."""

    rows: int
    validation_rows: int
    skipped: dict[str, int]
    storage: str
    bytes: int
    digest: str
    seconds: dict[str, float]


class Question(NamedTuple):
    """A request to the worker of a shard, and the state that it begins with; None: one that it holds, or none."""

    shard: int
    request: Request
    state: State | None


class Answer(NamedTuple):
    """The answer to a request.

    The state is the worker's own memory, or still with the worker: it is valid until the next request.

    Args:
        state: after what was trained; None where nothing was.
        metrics: metric states of the rows; None where there were none.
        rows: how many were trained or evaluated.
        kernel: how full minibatches were compiled in fact; None where there were none among others.
        seconds: that the worker took.
        non_finite: a variable that has become NaN or infinite.
        phases: the worker's seconds by phase.
        kernels: seconds by kernel, where they were measured.
        lost: whether nothing was done, because the worker is a new one that does not hold a state that it should, or
            another one has gone.
    """

    shard: int
    state: State | None
    metrics: np.ndarray | None
    rows: int
    kernel: str | None
    seconds: float
    non_finite: str | None = None
    phases: Sequence[float] = NOTHING
    kernels: dict[str, float] | None = None
    lost: bool = False


class StateLostError(Exception):
    """A worker has gone, and with it a state that was being fetched."""


class Workers(Protocol):
    """Those who train: one for each shard.

    Attributes:
        shards: what each of them has.
    """

    @property
    def shards(self) -> Sequence[ShardInfo]: ...

    def ask(self, questions: Iterable[Question]) -> Iterator[Answer]:
        """Asks several workers at the same time; yields their answers in the order of the questions. One call at a
        time: its answers are used up before the next one, and no posted question is open. An `Average` is asked of all
        of them.
        """

    def post(self, question: Question) -> None:
        """Asks a worker that has no open question, and does not wait for it."""

    def first_answer(self) -> Answer:
        """Waits for the first answer to a posted question, whichever it is."""

    def freeze(self, weights: FrozenWeights | None) -> None:
        """Before the first questions, and between two where a callback has changed them: those of the driver's model,
        which reach each worker once.
        """

    def yielding_slots(self) -> contextlib.AbstractContextManager[None]:
        """Inside, a Spark job that finds no free slot gets the workers'."""
