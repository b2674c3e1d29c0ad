import contextlib
from typing import NamedTuple

import numpy as np
import pytest

from spark_keras.training.settings import Schedule
from spark_keras.training.worker.minibatches import Minibatches
from spark_keras.training.worker.shard import MemoryRows


class Settings(NamedTuple):
    threads: int = 1


class Task(NamedTuple):
    """What `Minibatches` asks of a worker's task."""

    batch_size: int
    prefetch: int
    settings: Settings = Settings()
    seed: int = 3
    shuffle: bool = True


def of(rows, size, prefetch=2, threads=1, prepare=lambda arrays: arrays["x"]):
    task = Task(size, prefetch, Settings(threads))
    return contextlib.closing(Minibatches(MemoryRows({"x": np.arange(rows)}), task, 1, prepare))


def dealt(minibatches, epoch, start, stop, frequency):
    """Minibatches of a round, with where each begins in the epoch."""
    return [
        (stack.start + i, stack.batches[stack.first + i].tolist())
        for stack in minibatches.of_round(epoch, start, stop, frequency)
        for i in range(stack.steps)
    ]


def epoch_of(minibatches, rounds, frequency, epoch=0, from_minibatch=0):
    found = []
    for start, stop in rounds:
        if start >= from_minibatch:
            found += dealt(minibatches, epoch, start, stop, frequency)
            minibatches.look_ahead(frequency)
    return found


@pytest.mark.parametrize("rows", [0, 1, 7, 50, 1000])
@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("frequency", [1, 2, 5, 60, 100, 1000])
@pytest.mark.parametrize("prefetch, threads", [(0, 1), (2, 1), (2, 2)])
def test_rounds_deal_the_minibatches_of_an_epoch_in_order(rows, size, frequency, prefetch, threads):
    # Another shard is larger, so that some rounds find no row here.
    rounds = list(Schedule(1, (rows, rows + 9), False, size, frequency, "average").rounds())
    with of(rows, size, prefetch, threads) as minibatches:
        for epoch in range(2):
            order = np.random.default_rng([3, 1, epoch]).permutation(rows).tolist()
            expected = [(i, order[i * size : (i + 1) * size]) for i in range(-(-rows // size))]
            assert epoch_of(minibatches, rounds, frequency, epoch) == expected


@pytest.mark.parametrize("frequency", [1, 4, 25, 90])
def test_a_worker_that_takes_over_in_mid_epoch_finds_the_same_minibatches(frequency):
    rounds = list(Schedule(1, (500,), False, 3, frequency, "average").rounds())
    with of(500, 3) as first:
        whole = epoch_of(first, rounds, frequency)
    for start, _ in rounds:
        with of(500, 3) as second:
            assert epoch_of(second, rounds, frequency, from_minibatch=start) == whole[start:]
            # A round is repeated, as when another worker's update was lost.
            assert dealt(second, 0, *rounds[0], frequency) == whole[: rounds[0][1]]


def test_a_worker_may_begin_with_a_round_that_finds_no_row_here():
    with of(10, 5) as minibatches:
        assert dealt(minibatches, 0, 2, 3, 1) == []
        minibatches.look_ahead(1)
        assert [start for start, _ in dealt(minibatches, 1, 0, 1, 1)] == [0]


def test_several_short_rounds_share_a_stack_and_one_shape():
    prepared = []

    def prepare(arrays):
        prepared.append(arrays["x"].shape)
        return arrays["x"]

    rounds = list(Schedule(1, (1000,), False, 5, 3, "average").rounds())
    with of(1000, 5, prefetch=0, prepare=prepare) as minibatches:
        assert len(epoch_of(minibatches, rounds, 3)) == 200
    assert prepared == [(63, 5)] * 4
