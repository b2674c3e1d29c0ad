"""A fit between two rounds, and the arrays and JSON that it is written as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras.keras_model.state import State
from spark_keras.training.checkpoints import callback_state

_OF_CALLBACKS = "callbacks "
_LOCAL = ("values", "integers")


class Position(NamedTuple):
    """Progress of a fit: `minibatch` is the first one of the next round; `finished`: nothing is left to train."""

    epoch: int
    minibatch: int
    finished: bool = False


class Snapshot(NamedTuple):
    """A fit between two rounds.

    Args:
        position: what comes next.
        state: averaged.
        frozen: weights that are no part of it, where they are no longer those that the fit began with.
        strategy: what the way of training must know beside.
        metrics: sums of the epoch that has begun.
        rounds: averagings so far.
        non_finite: updates left out so far, for each worker.
        kernel: how rounds are compiled, as it was chosen.
        ran: how they were compiled in fact.
        callbacks: the callbacks' attributes, those of the history included.
        arrays: what these refer to.
    """

    position: Position
    state: State
    strategy: dict[str, np.ndarray]
    metrics: np.ndarray
    rounds: int
    non_finite: list[int]
    kernel: str
    ran: str
    callbacks: list[dict[str, Any]]
    arrays: callback_state.Arrays
    frozen: np.ndarray | None = None

    def without_frozen(self, taken_apart: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Snapshot:
        """The same of one whose states are whole, as version 0.1.0 writes them.

        Args:
            taken_apart: (what training changes, frozen weights) of the values of a whole state.
        """
        values, frozen = taken_apart(self.state.values)
        strategy = {
            name: taken_apart(array)[0] if name.startswith("values ") else array
            for name, array in self.strategy.items()
        }
        return self._replace(state=State(values, self.state.integers), strategy=strategy, frozen=frozen)


def _described(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "position": list(snapshot.position),
        "rounds": snapshot.rounds,
        "non_finite": snapshot.non_finite,
        "kernel": snapshot.kernel,
        "ran": snapshot.ran,
        "strategy": list(snapshot.strategy),
        "callbacks": snapshot.callbacks,
        "keras": keras.__version__,
    }


def _arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    arrays = {f"{_OF_CALLBACKS}{key}": array for key, array in snapshot.arrays.items()}
    arrays |= {"values": snapshot.state.values, "integers": snapshot.state.integers, "metrics": snapshot.metrics}
    arrays |= {} if snapshot.frozen is None else {"frozen": snapshot.frozen}
    return arrays | snapshot.strategy


def _snapshot(described: dict[str, Any], arrays: dict[str, np.ndarray]) -> Snapshot:
    # Version 0.1.0 names the workers that have states of their own.
    names = described.get("strategy") or [
        f"{of} {each}" for each in described.get("own", ()) for of in ("values", "integers")
    ]
    of_callbacks = {name: array for name, array in arrays.items() if name.startswith(_OF_CALLBACKS)}
    return Snapshot(
        position=Position(*described["position"]),
        state=State(arrays["values"], arrays["integers"]),
        strategy={name: arrays[name] for name in names},
        metrics=arrays["metrics"],
        rounds=described["rounds"],
        non_finite=described["non_finite"],
        kernel=described["kernel"],
        ran=described["ran"],
        callbacks=described["callbacks"],
        frozen=arrays.get("frozen"),
        arrays={name.removeprefix(_OF_CALLBACKS): array for name, array in of_callbacks.items()},
    )
