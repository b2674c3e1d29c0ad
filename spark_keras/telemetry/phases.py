"""A stopwatch, and where a worker's time goes between two answers to the driver."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

# What a worker does, in the order in which its answers tell it.
PHASES = ("waiting", "wire", "loading", "compiling", "computing", "evaluating")

# Seconds by phase where nothing is known.
NOTHING = (0.0,) * len(PHASES)


class Phases:
    """A stopwatch whose every second belongs to a phase.

    Attributes:
        seconds: by phase; one that is not among the first ones comes with its first lap.
    """

    def __init__(self, phases: Iterable[str] = PHASES) -> None:
        self.seconds = dict.fromkeys(phases, 0.0)
        self._last = time.perf_counter()

    def lap(self, phase: str) -> float:
        """Gives the time since the last lap to this phase; returns it, in seconds."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        return seconds

    def taken(self) -> list[float]:
        """Seconds by phase since this was asked last."""
        seconds = list(self.seconds.values())
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        return seconds


def checked(told: Any) -> Sequence[float]:
    """Seconds that a worker told, or zeros where it told nothing that can be understood."""
    if isinstance(told, list) and len(told) == len(PHASES) and all(isinstance(each, (int, float)) for each in told):
        return told
    return NOTHING
