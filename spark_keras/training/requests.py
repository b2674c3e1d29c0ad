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
        version: of the state that the worker holds and begins with; it keeps what it has trained, too. None: the state
            comes with the request, and the new one goes with the answer.
        following: (epoch, start, stop) of what the worker trains while its answer is averaged; None: nothing. The state
            that comes with the request is the average of the versions that all have sent then.
        change: the change of the state goes with the answer, as `Changes` codes it: of so many bytes at most, and
            so many numbers that travel whole; None: it does not.
    """

    epoch: int
    start: int
    stop: int
    frequency: int
    kernel: str
    version: int | None = None
    change: tuple[int, int] | None = None
    following: tuple[int, int, int] | None = None


class Evaluate(_Request, frozen=True):
    """Evaluate the rows held out; `version` as of `Train`."""

    kernel: str
    version: int | None = None


class Measure(_Request, frozen=True):
    """Time a stack of minibatches with each of some kernels."""

    kernels: tuple[str, ...]
    frequency: int


class Hold(_Request, frozen=True):
    """Hold a state, and no other one, for requests to come.

    Args:
        version: by which they name it.
        parts: (role, its values, its integers) of the states that are put together in the one that travels. The roles:
            "shared", the averaged state; "own", the worker's own after its last round; "initial", the one before
            training; "outer", the variables of the outer optimizer; "left", what the worker's last change has left
            over.
    """

    version: int
    parts: tuple[tuple[str, int, int], ...]


class Fetch(_Request, frozen=True):
    """Send what you hold, put together in the order of these roles. What a worker has not come to have is left out.

    Args:
        sizes: of all values and all integers together.
    """

    version: int
    roles: tuple[str, ...]
    sizes: tuple[int, int]


class Average(_Request, frozen=True):
    """Average what all workers have trained, among the workers, and hold it as the next version.

    Args:
        version: with which the round began.
        weights: of each shard; 0 leaves it out.
    """

    version: int
    weights: tuple[int, ...]


class Apply(_Request, frozen=True):
    """Apply this change, in which all workers' are combined, and hold what follows as the next version.

    Args:
        version: with which the round began.
        weights: of each shard; where it is 0, what its worker has trained in the round is left out.
    """

    version: int
    weights: tuple[int, ...]


Request = Train | Evaluate | Measure | Hold | Fetch | Average | Apply


def name_of(request: Request) -> str:
    """The kind of a request, in one word."""
    return type(request).__name__.lower()
