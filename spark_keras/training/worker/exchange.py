"""The averaging of states among the workers: each owns some chunks of the state, and averages those of all workers.

A worker sends what it has trained of a chunk to the chunk's owner, and the owner gives the mean to all (a
reduce-scatter, then an all-gather). The owner adds in the order of the shards, by the rule by which the driver would:
the same bits. Nothing here knows how parcels travel. Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from spark_keras.keras_model.state import Layout, State

# Numbers of a chunk: so many that a message is worth its while, and so few that one is averaged while others travel.
SMALLEST, LARGEST = 2**10, 2**20


class Parcel(NamedTuple):
    """A part of a state on its way.

    Args:
        to: the shard of its receiver.
        chunk: its number.
        averaged: whether it is the mean; else what the sender has trained.
        arrays: values, and integers, all of which go with the first chunk.
    """

    to: int
    chunk: int
    averaged: bool
    arrays: Sequence[np.ndarray]


class Exchange:
    """A worker's part in an averaging.

    Args:
        shard: the worker's.
        weights: of all shards, at least one of them above 0.
        trained: what this worker has trained; may be None where its weight is 0.
        layout: of the states.
    """

    def __init__(self, shard: int, weights: Sequence[int], trained: State | None, layout: Layout):
        from spark_keras.keras_model.state import State

        self._shard, self._weights, self._trained, self._layout = shard, weights, trained, layout
        self._senders = [each for each, weight in enumerate(weights) if weight]
        self._chunks = chunks(layout, len(weights))
        self._parts: dict[int, dict[int, State]] = {number: {} for number in self._owned()}
        self._missing = set(range(len(self._chunks)))
        self.mean = State(np.empty(layout.sizes[0], layout.dtype), np.empty(layout.sizes[1], "int64"))

    @property
    def complete(self) -> bool:
        """Tells if the whole mean is here, and all that others need from this worker is on its way."""
        return not self._missing

    def begin(self) -> Iterator[Parcel]:
        """The parcels that this worker sends first."""
        if self._trained is None or not self._weights[self._shard]:
            return
        count = len(self._chunks)
        # Each begins with another one, so that not all send to the same owner.
        for number in ((self._shard + offset) % count for offset in range(count)):
            arrays = self._cut(self._trained, number)
            owner = self._owner(number)
            if owner == self._shard:
                yield from self._part(self._shard, number, arrays)
            else:
                yield Parcel(owner, number, False, arrays)

    def receive(self, sender: int, number: int, averaged: bool, arrays: Sequence[np.ndarray]) -> Iterator[Parcel]:
        """Takes a parcel; the parcels that follow from it.

        Raises:
            ValueError: for one that nobody sends.
        """
        kinds = [(array.dtype, len(array)) for array in arrays]
        if not self._expects(sender, number, averaged) or kinds != self._kinds(number):
            raise ValueError(f"Worker {sender} sent what no worker sends: chunk {number} with {kinds}.")
        if averaged:
            self._take(number, arrays)
        else:
            yield from self._part(sender, number, arrays)

    def _expects(self, sender: int, number: int, averaged: bool) -> bool:
        if sender == self._shard or not (0 <= number < len(self._chunks) and 0 <= sender < len(self._weights)):
            return False
        owner = self._owner(number)
        return sender == owner if averaged else owner == self._shard and self._weights[sender] > 0

    def _part(self, sender: int, number: int, arrays: Sequence[np.ndarray]) -> Iterator[Parcel]:
        from spark_keras.keras_model.state import State
        from spark_keras.training.rules.mean import weighted_mean

        parts = self._parts[number]
        parts[sender] = State(*arrays)
        if len(parts) < len(self._senders):
            return
        in_order = [(parts[each], self._weights[each]) for each in self._senders]
        mean = weighted_mean(in_order, self._part_of_layout(number), in_order[0][0])
        parts.clear()
        self._take(number, mean)
        for shard in range(len(self._weights)):
            if shard != self._shard:
                yield Parcel(shard, number, True, mean)

    def _take(self, number: int, arrays: Sequence[np.ndarray]) -> None:
        for own, array in zip(self._cut(self.mean, number), arrays):
            own[:] = array
        self._missing.discard(number)

    # --- who has which part of a state ---

    def _owner(self, number: int) -> int:
        return number % len(self._weights)

    def _owned(self) -> range:
        return range(self._shard, len(self._chunks), len(self._weights))

    def _cut(self, state: State, number: int) -> list[np.ndarray]:
        start, stop = self._chunks[number]
        return [state.values[start:stop], state.integers[: self._integers(number)]]

    def _integers(self, number: int) -> int:
        return 0 if number else self._layout.sizes[1]

    def _kinds(self, number: int) -> list[tuple[np.dtype, int]]:
        start, stop = self._chunks[number]
        return [(np.dtype(self._layout.dtype), stop - start), (np.dtype("int64"), self._integers(number))]

    def _part_of_layout(self, number: int) -> Layout:
        start, stop = self._chunks[number]

        def inside(part: slice) -> slice:
            return slice(max(part.start, start) - start, min(part.stop, stop) - start)

        return self._layout._replace(
            sizes=(stop - start, self._integers(number)),
            moments=tuple((inside(m), inside(v)) for m, v in self._layout.moments if start <= m.start < stop),
            local=tuple(inside(each) for each in self._layout.local if each.start < stop and each.stop > start),
        )


def chunks(layout: Layout, workers: int) -> list[tuple[int, int]]:
    """(start, stop) of each chunk of the values. A moving mean and its variance, pooled together, are in one."""
    size = layout.sizes[0]
    step = min(max(-(-size // workers), SMALLEST), LARGEST)
    together = sorted((min(m.start, v.start), max(m.stop, v.stop)) for m, v in layout.moments)
    cut: list[tuple[int, int]] = []
    start = 0
    while start < size or not cut:
        stop = min(start + step, size)
        for first, last in together:
            if first < stop < last:
                stop = last
        cut.append((start, stop))
        start = stop
    return cut


def in_process(exchanges: Sequence[Exchange]) -> None:
    """Carries the parcels of workers that are all in this process."""
    underway: deque[tuple[int, Parcel]] = deque()

    def send(shard: int, parcels: Iterable[Parcel]) -> None:
        underway.extend((shard, parcel) for parcel in parcels)

    for shard, exchange in enumerate(exchanges):
        send(shard, exchange.begin())
    while underway:
        sender, parcel = underway.popleft()
        send(parcel.to, exchanges[parcel.to].receive(sender, parcel.chunk, parcel.averaged, parcel.arrays))
