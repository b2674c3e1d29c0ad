"""Stacks of minibatches, as calls of a kernel take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from spark_keras.executor.aligned import aligned
from spark_keras.training.worker.order import EpochOrder
from spark_keras.training.worker.shard import Rows


class Stack(NamedTuple):
    """Consecutive minibatches of one size, stacked for calls of the kernel.

    Args:
        batches: arrays of shape (count, size, …), by name; only `steps` of `count` are to be trained.
        first: which of them is the first to be trained.
        steps: how many.
        rows: how many rows they have together.
        start: index of the first one in the epoch.
        short: whether it is the epoch's last minibatch, of fewer rows than a full one.
    """

    batches: Any
    first: int
    steps: int
    rows: int
    start: int
    short: bool

    def part(self, start: int, stop: int) -> Stack:
        """The part of it that lies between two minibatches of the epoch, at least one of them."""
        begin = max(start, self.start)
        steps = min(stop, self.start + self.steps) - begin
        rows = self.rows // self.steps * steps
        return self._replace(first=self.first + begin - self.start, steps=steps, rows=rows, start=begin)


# A stack is a copy of its rows, and each shape of stack compiles a program of its own: hence stacks of a fixed count.
STACK_COUNT = 64


STACK_BYTES = 64 * 2**20


# Of a stack for several rounds: beyond it, what preparing one costs beside the copy does not count.
ROUNDS_BYTES = 4 * 2**20


def stack_count(rows: Rows, frequency: int, batch_size: int) -> int:
    """Number of full minibatches that a stack has room for: a round's, or as many of them as fit; those of several
    short rounds together, because preparing a stack takes longer than gathering their few rows.

    Args:
        frequency: minibatches in a round.
    """
    bytes_each, full = max(1, rows.row_bytes * batch_size), rows.count // batch_size
    rounds = min(STACK_COUNT, ROUNDS_BYTES // bytes_each, full) // frequency
    return max(1, rounds * frequency or min(frequency, STACK_COUNT, STACK_BYTES // bytes_each, full))


class Span(NamedTuple):
    """Minibatches of an epoch that a stack has: `steps` from `first` on; or the short last one."""

    first: int
    steps: int
    short: bool


def spans(rows: int, start: int, stop: int, batch_size: int, count: int) -> Iterator[Span]:
    """The stacks of minibatches `start` to `stop` of an epoch: full ones by `count`, then the short last one.

    Args:
        rows: of the shard.
    """
    full = rows // batch_size
    for first in range(start, min(stop, full), count):
        yield Span(first, min(count, stop - first, full - first), False)
    if start <= full < stop and rows % batch_size:
        yield Span(full, 1, True)


def stack(rows: Rows, order: EpochOrder, span: Span, batch_size: int, count: int) -> Stack:
    start = span.first * batch_size
    if span.short:
        left = rows.count - start
        return Stack(gather(rows, order, start, left, (1, left)), 0, 1, left, span.first, True)
    taken = span.steps * batch_size
    # Short stacks are filled up with zeros, which are not trained, so that no other program is compiled.
    arrays = gather(rows, order, start, taken, (count, batch_size))
    return Stack(arrays, 0, span.steps, taken, span.first, False)


def stacks(rows: Rows, order: EpochOrder, start: int, stop: int, batch_size: int, count: int) -> Iterator[Stack]:
    """Minibatches `start` to `stop` of an epoch."""
    for span in spans(rows.count, start, stop, batch_size, count):
        yield stack(rows, order, span, batch_size, count)


def gather(rows: Rows, order: EpochOrder, start: int, taken: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """`taken` rows of an epoch from `start` on, and zeros, as arrays of shape (*shape, …)."""
    stacked: dict[str, np.ndarray] = {}
    done = 0
    for arrays, index in rows.parts(order, start, start + taken):
        end = done + len(index)
        for name, array in arrays.items():
            if name not in stacked:
                stacked[name] = aligned((shape[0] * shape[1], *array.shape[1:]), array.dtype)
                stacked[name][taken:] = 0
            # Without mode="clip" numpy would copy twice.
            np.take(array, index, axis=0, out=stacked[name][done:end], mode="clip")
        done = end
    return {name: array.reshape(*shape, *array.shape[1:]) for name, array in stacked.items()}
