"""The minibatches of a worker's rounds, prepared ahead."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from spark_keras.training import shard as shards
from spark_keras.training.order import EpochOrder
from spark_keras.training.shard import Rows, Span, Stack


class Minibatches:
    """A shard's minibatches, stacked, round by round. What a round gets does not depend on what was prepared.

    Args:
        rows: the shard's training rows.
        task: the worker's; its batch size, shuffling, seed and `prefetch` count here.
        shard: index of the shard.
        prepare: makes what the kernel takes out of a stack's arrays.
    """

    def __init__(self, rows: Rows, task: Any, shard: int, prepare: Callable[[dict[str, np.ndarray]], Any]):
        self._rows, self._task, self._shard, self._prepare = rows, task, shard, prepare
        self._order: tuple[int, EpochOrder | None] = (-1, None)
        self._ready: dict[tuple[int, Span], Stack | Future[Stack]] = {}
        # What follows the stack that was used last.
        self._coming: Iterator[tuple[int, Span]] = iter(())
        # One thread, which alone reads the rows. A worker with one core has none for it unless the thread waits for a
        # disk; there the worker itself prepares what comes next, while it would only wait for the driver.
        apart = task.prefetch and (rows.storage == "file" or task.settings.threads > 1)
        self._thread = ThreadPoolExecutor(1, "minibatches") if apart else None

    def of_round(self, epoch: int, start: int, stop: int, frequency: int) -> Iterator[Stack]:
        """Minibatches `start` to `stop` of an epoch.

        Args:
            frequency: minibatches in a full round, from which the size of stacks and the next rounds follow.
        """
        for span in self._spans(start, stop, frequency):
            ready = self._ready.pop((epoch, span), None)
            if ready is None:
                # Not foreseen: the worker's first round, or one that it repeats for another.
                self._ready.clear()
                following = self._from(epoch, start, frequency)
                self._coming = itertools.islice(itertools.dropwhile(lambda each: each[1] != span, following), 1, None)  # noqa: B023
                ready = self._begin(epoch, span, frequency)
            yield ready.result() if isinstance(ready, Future) else ready
            if span.first + span.steps < stop:
                self.look_ahead(frequency)

    def look_ahead(self, frequency: int) -> None:
        """Prepares what comes next; called when the driver has its answer and the worker would only wait."""
        if self._rows.count == 0:
            return
        while len(self._ready) < self._task.prefetch:
            epoch, span = next(self._coming)
            self._ready[epoch, span] = self._begin(epoch, span, frequency)

    def seeds(self, epoch: int, first: int, count: int) -> np.ndarray:
        """States of `count` random number generators, shape (count, 2), for the stack that begins at `first`."""
        if count == 0:
            return np.empty((0, 2), "int32")
        random = np.random.default_rng([self._task.seed % 2**64, self._shard, epoch, first])
        return random.integers(0, 2**31, (count, 2), dtype="int64").astype("int32")

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _spans(self, start: int, stop: int, frequency: int) -> Iterator[Span]:
        count = shards.stack_count(self._rows, frequency, self._task.batch_size)
        return shards.spans(self._rows.count, start, stop, self._task.batch_size, count)

    def _from(self, epoch: int, start: int, frequency: int) -> Iterator[tuple[int, Span]]:
        """All spans from a round on, without an end."""
        for each in itertools.count(epoch):
            for first in range(start if each == epoch else 0, -(-self._rows.count // self._task.batch_size), frequency):
                for span in self._spans(first, first + frequency, frequency):
                    yield each, span

    def _begin(self, epoch: int, span: Span, frequency: int) -> Stack | Future[Stack]:
        if self._thread is None:
            return self._stack(epoch, span, frequency)
        return self._thread.submit(self._stack, epoch, span, frequency)

    def _stack(self, epoch: int, span: Span, frequency: int) -> Stack:
        if self._order[0] != epoch:
            task = self._task
            self._order = (epoch, shards.epoch_order(self._rows, task.seed, self._shard, epoch, task.shuffle))
        count = shards.stack_count(self._rows, frequency, self._task.batch_size)
        stack = shards.stack(self._rows, self._order[1], span, self._task.batch_size, count)
        return stack._replace(batches=self._prepare(stack.batches))
