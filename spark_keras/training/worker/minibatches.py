"""The minibatches of a worker's rounds, prepared ahead."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from spark_keras.training.worker import shard as shards
from spark_keras.training.worker import stacks
from spark_keras.training.worker.order import EpochOrder
from spark_keras.training.worker.shard import Rows
from spark_keras.training.worker.stacks import Span, Stack

# Epoch, and where in it a stack lies.
_Key = tuple[int, Span]


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
        self._order: tuple[int, EpochOrder] | None = None
        # The stack that was used last, what was prepared after it, and what follows these.
        self._used: tuple[_Key, Stack] | None = None
        self._ready: dict[_Key, Stack | Future[Stack]] = {}
        self._coming: Iterator[_Key] = iter(())
        # One thread, which alone reads the rows. A worker with one core has none for it unless the thread waits for a
        # disk; there the worker itself prepares what comes next, while it would only wait for the driver.
        apart = task.prefetch and (rows.storage == "file" or task.settings.threads > 1)
        self._thread = ThreadPoolExecutor(1, "minibatches") if apart else None

    def of_round(self, epoch: int, start: int, stop: int, frequency: int) -> Iterator[Stack]:
        """Minibatches `start` to `stop` of an epoch.

        Args:
            frequency: minibatches in a full round, from which the size of stacks and the next rounds follow.
        """
        if self._used is not None:
            (of_epoch, _), stack = self._used
            if of_epoch == epoch and stack.start <= start and stop <= stack.start + stack.steps:
                yield stack.part(start, stop)
                return
        for key in self._from(epoch, start, frequency):
            if key[0] > epoch or key[1].first >= stop:
                return
            if self._used is None or self._used[0] != key:
                self._used = (key, self._next(key, frequency))
            yield self._used[1].part(start, stop)
            if key[1].first + key[1].steps < stop:
                self.look_ahead(frequency)

    def look_ahead(self, frequency: int) -> None:
        """Prepares what comes next; called when the driver has its answer and the worker would only wait."""
        # Before the first round that finds rows here, nothing is known to come.
        for key in itertools.islice(self._coming, self._task.prefetch - len(self._ready)):
            self._ready[key] = self._begin(key, frequency)

    def seeds(self, epoch: int, first: int, count: int) -> np.ndarray:
        """States of `count` random number generators, shape (count, 2), for the stack that begins at `first`."""
        if count == 0:
            return np.empty((0, 2), "int32")
        random = np.random.default_rng([self._task.seed % 2**64, self._shard, epoch, first])
        return random.integers(0, 2**31, (count, 2), dtype="int64").astype("int32")

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _from(self, epoch: int, minibatch: int, frequency: int) -> Iterator[_Key]:
        """All stacks from the one with this minibatch on, epoch after epoch, without an end."""
        rows, size = self._rows, self._task.batch_size
        count, last = stacks.stack_count(rows, frequency, size), -(-rows.count // size)
        # Stacks begin anew with each round, or have several whole rounds.
        unit = max(count, frequency)
        for each in itertools.count(epoch) if last else ():
            for start in range(minibatch // unit * unit if each == epoch else 0, last, unit):
                for span in stacks.spans(rows.count, start, min(start + unit, last), size, count):
                    if each > epoch or minibatch < span.first + span.steps:
                        yield each, span

    def _next(self, key: _Key, frequency: int) -> Stack:
        ready = self._ready.pop(key, None)
        if ready is None:
            # Not foreseen: the worker's first round, or one that it repeats for another.
            self._ready.clear()
            epoch, span = key
            self._coming = self._from(epoch, span.first + span.steps, frequency)
            ready = self._begin(key, frequency)
        return ready.result() if isinstance(ready, Future) else ready

    def _begin(self, key: _Key, frequency: int) -> Stack | Future[Stack]:
        if self._thread is None:
            return self._stack(key, frequency)
        return self._thread.submit(self._stack, key, frequency)

    def _stack(self, key: _Key, frequency: int) -> Stack:
        epoch, span = key
        if self._order is None or self._order[0] != epoch:
            task = self._task
            self._order = (epoch, shards.epoch_order(self._rows, task.seed, self._shard, epoch, task.shuffle))
        count = stacks.stack_count(self._rows, frequency, self._task.batch_size)
        stack = stacks.stack(self._rows, self._order[1], span, self._task.batch_size, count)
        return stack._replace(batches=self._prepare(stack.batches))
