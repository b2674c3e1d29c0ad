"""Conditions that end a training: small objects, asked after each epoch and some between rounds, that combine."""

from __future__ import annotations

import dataclasses
import json
import math
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Progress(NamedTuple):
    """Progress of a training.

    Attributes:
        epoch: epochs that are complete, 0 before the first one ends.
        seconds: since training began; a resumed training goes on counting.
        scores: score of each evaluated epoch, by its number from 1 on; NaN and infinite ones included.
        largerIsBetter: whether scores are maximised.
        bestEpoch: of the best score, None before the first finite one.
        bestScore: None before the first finite one.
    """

    epoch: int
    seconds: float
    scores: Mapping[int, float]
    largerIsBetter: bool
    bestEpoch: int | None
    bestScore: float | None

    @property
    def score(self) -> float | None:
        """The newest score; None before the first one."""
        return next(reversed([*self.scores.values()]), None)


class Condition:
    """Ends the training when `check` says why.

    A condition of one's own is a subclass with `check`; and, to be saved with the estimator, `get_config` with the
    keyword arguments of its constructor, at the top level of a module. Conditions hold no state of a training: all
    that is known comes with the progress, so that one object serves several fits at once. `a | b` ends when one of them
    does, `a & b` when both do.

    Attributes:
        everyRound: whether it is asked between rounds, too, where an epoch may last long; it must be quick then.

    Example:
        >>> class Plateau(Condition):
        ...     def check(self, progress):
        ...         last = list(progress.scores.values())[-3:]
        ...         if len(last) == 3 and max(last) - min(last) < 1e-3:
        ...             return "three scores within 0.001"
    """

    everyRound = False

    @property
    def reason(self) -> str:
        """Reason that the result names: the name of the class, beginning with a small letter."""
        name = type(self).__name__
        return name[0].lower() + name[1:]

    def check(self, progress: Progress) -> str | None:
        """A sentence that says why training ends now, or None."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Keyword arguments of the constructor, as JSON can hold them (conditions may be among them); by default the
        fields of a dataclass.
        """
        fields: Iterable[Any] = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        return {field.name: getattr(self, field.name) for field in fields}

    def __or__(self, other: Condition) -> AnyOf:
        return AnyOf([self, other])

    def __and__(self, other: Condition) -> AllOf:
        return AllOf([self, other])

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@dataclasses.dataclass(eq=False, repr=False)
class MaxEpochs(Condition):
    """So many epochs were trained."""

    epochs: int

    def check(self, progress: Progress) -> str | None:
        return f"{progress.epoch} epochs were trained" if progress.epoch >= self.epochs else None


@dataclasses.dataclass(eq=False, repr=False)
class MaxSeconds(Condition):
    """Training has taken so many seconds of wall-clock time; looked at between rounds, too."""

    everyRound = True

    seconds: float

    def check(self, progress: Progress) -> str | None:
        if progress.seconds < self.seconds:
            return None
        return f"training took {progress.seconds:.1f} s, the limit is {self.seconds:g} s"


@dataclasses.dataclass(eq=False, repr=False)
class TargetScore(Condition):
    """The newest score is as good as a target, or better."""

    score: float

    def check(self, progress: Progress) -> str | None:
        score = progress.score
        if score is None or not (score >= self.score if progress.largerIsBetter else score <= self.score):
            return None
        return f"score {score:g} has reached the target {self.score:g}"


@dataclasses.dataclass(eq=False, repr=False)
class WorstScore(Condition):
    """The newest score is worse than a bound."""

    score: float

    def check(self, progress: Progress) -> str | None:
        score = progress.score
        if score is None or not (score < self.score if progress.largerIsBetter else score > self.score):
            return None
        return f"score {score:g} is worse than the bound {self.score:g}"


class NonFiniteScore(Condition):
    """The newest score is NaN or infinite."""

    def check(self, progress: Progress) -> str | None:
        score = progress.score
        return None if score is None or math.isfinite(score) else f"score is {score}"


class _Combined(Condition):
    def __init__(self, conditions: Sequence[Condition]):
        self.conditions = list(conditions)
        self.everyRound = any(condition.everyRound for condition in self.conditions)

    def _checked(self, progress: Progress) -> list[tuple[Condition, str]]:
        found = [(condition, condition.check(progress)) for condition in self.conditions]
        return [(condition, why) for condition, why in found if why]

    def get_config(self) -> dict[str, Any]:
        return {"conditions": self.conditions}


class AnyOf(_Combined):
    """One of several conditions, `a | b`."""

    def check(self, progress: Progress) -> str | None:
        return next((why for _, why in self._checked(progress)), None)


class AllOf(_Combined):
    """All of several conditions, `a & b`."""

    def check(self, progress: Progress) -> str | None:
        found = self._checked(progress)
        return " and ".join(why for _, why in found) if len(found) == len(self.conditions) else None


# --- saved and loaded ----------------------------------------------------------------------------------------------


def to_json(condition: Condition) -> dict[str, Any]:
    """A condition as JSON can hold it: its class by name, and its config."""
    return json.loads(json.dumps(condition, default=_described))


def from_json(saved: Mapping[str, Any]) -> Condition:
    return json.loads(json.dumps(saved), object_hook=_made)


def _described(condition: Condition) -> dict[str, Any]:
    kind = type(condition)
    if kind.__module__ == "__main__" or "<" in kind.__qualname__:
        raise ValueError(
            f"Condition {condition!r} cannot be saved. Received: a class that cannot be imported by name. Expected: a "
            "class at the top level of a module that is on the path where the estimator will be loaded."
        )
    return {"condition": f"{kind.__module__}:{kind.__qualname__}", "config": condition.get_config()}


def _made(parts: dict[str, Any]) -> Any:
    if set(parts) != {"condition", "config"}:
        return parts
    kind = pkgutil.resolve_name(parts["condition"])
    if not (isinstance(kind, type) and issubclass(kind, Condition)):
        raise ValueError(f"{parts['condition']} is not a Condition.")
    return kind(**parts["config"])
