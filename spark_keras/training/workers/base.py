"""The seam between the training loop and those who train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from spark_keras.keras_model.state import State
from spark_keras.telemetry.phases import NOTHING


class Update(NamedTuple):
    """A worker's answer: the state after the round (None for an evaluation or no rows), metric states, rows.

    The state is the worker's own memory, or still with the worker: valid until the next request. Where a variable has
    become NaN or infinite, `non_finite` is its name. `phases` are the worker's seconds by phase.
    """

    shard: int
    state: State | None
    metrics: np.ndarray | None
    rows: int
    kernel: str | None
    seconds: float
    non_finite: str | None = None
    phases: Sequence[float] = NOTHING


class Workers(Protocol):
    """The seam between the training loop and the way in which rounds reach the rows.

    Attributes:
        kernel: how rounds are compiled.
    """

    kernel: str

    def train(self, epoch: int, start: int, stop: int, states: Callable[[int], State]) -> Iterator[Update]:
        """Trains minibatches `start` to `stop` of an epoch; yields the updates in shard order."""

    def evaluate(self, state: State) -> Iterator[Update]:
        """Evaluates the validation rows; yields the updates in shard order."""

    def measure(self, state: State, kernels: Sequence[str]) -> dict[str, float]:
        """Seconds that a stack of minibatches takes with each of the kernels, once it is compiled."""

    def yielding_slots(self) -> contextlib.AbstractContextManager[None]:
        """Inside, a Spark job that finds no free slot gets the workers'."""


class ShardInfo(NamedTuple):
    """What a worker tells of its shard when it joins."""

    rows: int
    validation_rows: int
    skipped: dict[str, int]
    storage: str
    bytes: int
    digest: str
    seconds: dict[str, float]
