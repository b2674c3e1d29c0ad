"""Attempts at each shard: the tasks that Spark starts, those that stand by, and how often a shard's have failed.

Spark may run two tasks for one shard: by speculation, when it takes an executor for lost that is not, and when it
repeats a stage because an executor took its shuffle files along. Whichever task ends first counts for Spark, so a
duplicate neither trains nor leaves: it stands by, and takes over if the first one dies.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from spark_keras.training.wire.server import Peer
from spark_keras.training.wire.shared_memory import SharedMemory


class Limits(NamedTuple):
    """Limits of failure and waiting after which a fit ends.

    Args:
        failures: of a shard in a row, without getting on between, that end the fit.
        worker_seconds: without a sign of life from a worker that has something to do.
        join_seconds: without a worker for a shard, or without a sign of life from one that loads its rows.
    """

    failures: int = 4
    worker_seconds: float = 600.0
    join_seconds: float = 600.0


@dataclasses.dataclass
class Attempt:
    """A task that Spark has started for a shard.

    Args:
        shard: its index, which is the worker's rank.
        number: Spark's number of the task attempt.
        peer: where it is addressed; another one when it has joined.
        memory: what it shares with the driver.
        joined: whether it has loaded its rows.
        where: its process, for people.
        address: where it listens for the other workers.
        heard: when it gave its last sign of life, in seconds of waiting.
    """

    shard: int
    number: int
    peer: Peer
    memory: SharedMemory | None = None
    joined: bool = False
    where: str = "process unknown"
    heard: float = 0.0
    address: str = ""


class Attempts:
    """The tasks of a fit's job.

    Attributes:
        active: by shard, the one that trains it.
        ended: numbers of tasks that are over.
        failures: by shard, since its workers got on.
        said: by shard, the traceback of its last failure.
    """

    def __init__(self, shards: int):
        self._shards = range(shards)
        self._all: list[Attempt] = []
        self._died: set[int] = set()
        self.ended: set[int] = set()
        self.active: dict[int, Attempt] = {}
        self.failures: Counter[int] = Counter()
        self.said: dict[int, str] = {}

    def clear(self) -> None:
        """A new job begins."""
        self._all, self.active, self._died = [], {}, set()

    def of(self, shard: int) -> list[Attempt]:
        return [attempt for attempt in self._all if attempt.shard == shard]

    def find(self, shard: int, number: int) -> Attempt | None:
        return next((each for each in self.of(shard) if each.number == number), None)

    def by_peer(self, peer: Peer) -> Attempt | None:
        return next((attempt for attempt in self._all if attempt.peer == peer), None)

    def memory(self, shard: int) -> SharedMemory | None:
        """Memory that the shard's worker shares with the driver."""
        return self.active[shard].memory if shard in self.active else None

    def addresses(self) -> list[str]:
        """Addresses where the workers of all shards listen for each other; "" for one that is not there."""
        return [self.active[shard].address if shard in self.active else "" for shard in self._shards]

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._all))

    def started(self, attempt: Attempt) -> bool:
        """Notes a task; whether it replaces one that died."""
        self._all.append(attempt)
        replaces = attempt.shard in self._died
        self._died.discard(attempt.shard)
        return replaces

    def removed(self, attempt: Attempt, died: bool) -> Attempt | None:
        """Forgets a task; the one that takes over, if it was the active one and there is one."""
        self._all.remove(attempt)
        self.ended.add(attempt.number)
        if died and not self.of(attempt.shard):
            self._died.add(attempt.shard)
        if self.active.get(attempt.shard) is not attempt:
            return None
        del self.active[attempt.shard]
        ready = [each for each in self.of(attempt.shard) if each.joined]
        if ready:
            self.active[attempt.shard] = ready[-1]
        return self.active.get(attempt.shard)

    def missing(self) -> list[int]:
        """Shards that no task was started for, as far as is known."""
        return [shard for shard in self._shards if not self.of(shard)]

    def superfluous(self) -> Attempt | None:
        """The older of two tasks of one shard; the newer one is of the stage that Spark goes on with."""
        return next((self.of(shard)[0] for shard in self._shards if len(self.of(shard)) > 1), None)
