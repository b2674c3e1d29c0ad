"""The change of a state, as it travels: that of the trained weights coded, and beside it what travels whole.

Whole travel the weights that are not trained but change (moving statistics, what layers remember) and all integers.
The optimizers' variables stay where they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.rules import coding as codings


def trained_size(layout: Layout, weights: int) -> int:
    """Numbers of the model's first weights, so many of them: those that are trained come first."""
    return layout.entries[weights - 1].stop if weights else 0


class Changes:
    """Codes and decodes changes.

    Args:
        coding: one of `coding.CODINGS`.
        layout: of the states.
        trained: numbers of the trained weights, with which a state begins.

    Attributes:
        beside: layout of what travels whole.
        sizes: (most bytes of the coded part, numbers of what travels whole).
        usual_bytes: that a change has as a rule.
    """

    def __init__(self, coding: str, layout: Layout, trained: int):
        self._coding, self._layout, self._trained = coding, layout, trained
        self._end = layout.weight_sizes[0]
        self.beside = layout._replace(
            sizes=(self._end - trained, layout.sizes[1]),
            moments=tuple((self._moved(mean), self._moved(variance)) for mean, variance in layout.moments),
            local=tuple(map(self._moved, layout.local)),
        )
        whole = sum(self.beside.sizes)
        self.sizes = codings.bytes_at_most(coding, trained), whole
        self.usual_bytes = codings.usual_bytes(coding, trained) + 8 * whole

    @property
    def mean(self) -> Layout:
        """The layout of decoded changes, for their mean."""
        return self._layout._replace(sizes=(self._trained, 0), moments=(), local=())

    def encode(self, change: np.ndarray, beside: State) -> tuple[State, np.ndarray]:
        """A message, and what of the change it does not hold.

        Args:
            change: of the trained weights, with what the last message has left over.
            beside: what travels whole.
        """
        coded, left = codings.split(self._coding, change)
        # float64 holds all of them; the message has room for bytes and integers.
        return State(coded, np.concatenate([beside.integers, beside.values.astype("float64").view("int64")])), left

    def decode(self, message: State) -> tuple[Any, State]:
        """The change, of which slices are taken, and what came whole."""
        change = codings.decoded(self._coding, message.values, self._trained, self._layout.dtype)
        integers, values = np.split(message.integers, [self._layout.sizes[1]])
        return change, State(values.view("float64").astype(self._layout.dtype), integers.copy())

    def beside_of(self, state: State) -> State:
        """The part of a state that travels whole."""
        return State(state.values[self._trained : self._end], state.integers)

    def changed(self, state: State, message: State) -> State:
        """The state after the change."""
        change, beside = self.decode(message)
        values = state.values.copy()
        values[: self._trained] += change[:]
        values[self._trained : self._end] = beside.values
        return State(values, beside.integers)

    def _moved(self, part: slice) -> slice:
        return slice(part.start - self._trained, part.stop - self._trained)
