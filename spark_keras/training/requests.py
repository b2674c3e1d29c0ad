"""Requests of the driver to a worker. A request travels with the state that it begins with."""

from __future__ import annotations

import msgspec


class _Request(msgspec.Struct, frozen=True, tag=str.lower):
    pass


class Train(_Request, frozen=True):
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


class Evaluate(_Request, frozen=True):
    """Evaluate the rows held out."""

    kernel: str


class Measure(_Request, frozen=True):
    """Time a stack of minibatches with each of some kernels."""

    kernels: tuple[str, ...]
    frequency: int


Request = Train | Evaluate | Measure


def name_of(request: Request) -> str:
    """The kind of a request, in one word."""
    return type(request).__name__.lower()
