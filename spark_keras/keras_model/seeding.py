"""The seed of everything random while a model is made."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np

# Python's own random state is what Keras draws default initializer seeds from, and it belongs to the
# whole process, so only one thread at a time may draw from it.
DRAWING = threading.RLock()


class Seeding:
    """Makes the initial weights a function of `seed`: entered wherever some of them may be drawn, it goes on where it
    was left, and leaves the caller's random state as that was.

    Keras draws the seed of an initializer that has none from Python's `random`.
    """

    def __init__(self, seed: int):
        python, legacy = random.Random(seed), np.random.RandomState(seed % 2**32)
        self._states = python.getstate(), legacy.get_state()

    def __enter__(self) -> None:
        DRAWING.acquire()
        self._states = self._exchanged(self._states)

    def __exit__(self, *exception: Any) -> None:
        self._states = self._exchanged(self._states)
        DRAWING.release()

    @staticmethod
    def _exchanged(states: tuple[Any, Any]) -> tuple[Any, Any]:
        before = random.getstate(), np.random.get_state()
        random.setstate(states[0])
        np.random.set_state(states[1])
        return before
