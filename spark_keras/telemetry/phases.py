"""Where a worker's time goes, between two answers to the driver."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

# What a worker does, in the order in which its answers tell it.
PHASES = ("waiting", "wire", "loading", "compiling", "computing", "evaluating")

# Seconds by phase where nothing is known.
NOTHING = (0.0,) * len(PHASES)


class Phases:
    """A stopwatch whose every second belongs to a phase."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """The time since the last lap was spent in this phase."""
        now = time.perf_counter()
        self._seconds[phase] += now - self._last
        self._last = now

    def taken(self) -> list[float]:
        """Seconds by phase since this was asked last."""
        seconds = list(self._seconds.values())
        self._seconds = dict.fromkeys(PHASES, 0.0)
        return seconds


def checked(told: Any) -> Sequence[float]:
    """What a worker told, or zeros where it told nothing that can be understood."""
    if isinstance(told, list) and len(told) == len(PHASES) and all(isinstance(each, (int, float)) for each in told):
        return told
    return NOTHING
