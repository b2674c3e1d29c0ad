"""What the driver asks of a worker. A request travels as its fields and the state that it begins with."""

from __future__ import annotations

from typing import Any, NamedTuple


class Train(NamedTuple):
    """Train some minibatches of an epoch.

    Args:
        epoch: from 0 on.
        start: the first minibatch.
        stop: the one after the last.
        frequency: minibatches of a full round, by which a worker sizes what it prepares.
        kernel: how rounds are compiled.
    """

    epoch: int
    start: int
    stop: int
    frequency: int
    kernel: str


class Evaluate(NamedTuple):
    """Evaluate the rows held out."""

    kernel: str


class Measure(NamedTuple):
    """Time a stack of minibatches with each of some kernels."""

    kernels: tuple[str, ...]
    frequency: int


Request = Train | Evaluate | Measure

KINDS: dict[str, type[Request]] = {"train": Train, "evaluate": Evaluate, "measure": Measure}
_NAMES = {kind: name for name, kind in KINDS.items()}


def kind_of(request: Request) -> str:
    """The type of the message that carries a request."""
    return _NAMES[type(request)]


def of_message(header: dict[str, Any]) -> Request:
    """The request that a message carries."""
    kind = KINDS[header["type"]]
    return kind(**{name: header[name] for name in kind._fields})
