"""Several states as one that can travel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from spark_keras.keras_model.state import State


def put_together(parts: Mapping[str, State]) -> tuple[State, tuple[tuple[str, int, int], ...]]:
    """Several states as one that can travel, and where each of them lies in it."""
    described = tuple((role, len(state.values), len(state.integers)) for role, state in parts.items())
    if len(parts) == 1:
        return next(iter(parts.values())), described
    return State(*(np.concatenate(vectors) for vectors in zip(*parts.values()))), described


def taken_apart(state: State, parts: Iterable[Sequence[Any]]) -> dict[str, State]:
    """The states that were put together, as copies."""
    taken, value, integer = {}, 0, 0
    for role, values, integers in parts:
        taken[role] = State(
            np.array(state.values[value : value + values]), np.array(state.integers[integer : integer + integers])
        )
        value, integer = value + values, integer + integers
    return taken
