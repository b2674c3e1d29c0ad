"""The mean of the workers' states: pure functions of their arguments."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence

import numpy as np

from spark_keras.keras_model.state import Layout, State

# Numbers asked for at a time of states that are still on the workers.
PIECE = 2**21

# Numbers averaged at a time: so few that their sums stay in a core's cache.
CHUNK = 2**16


def weighted_mean(updates: Sequence[tuple[State | None, int]], layout: Layout, old: State, piece: int = PIECE) -> State:
    """The mean of the workers' states, weighted by the rows that each has trained in the round.

    A worker that trained no row counts for nothing. Integers are carried: the largest is taken, so that the
    optimizer's step counter is the global step. BatchNormalization's moving statistics are pooled as those of one
    population: mean of means, and variance = mean(var) + var(mean) (the law of total variance). What a stateful layer
    remembers of its rows is not averaged: it is the first worker's.

    Sums are float64 and taken in the order of `updates`, one piece of the state at a time: memory does not grow with
    the number of workers, and the same updates in the same order give the same bits.

    Args:
        updates: (state, rows) of each worker, in shard order. Of a state's values only slices are taken, in the order
            in which they lie, so that they may still be on the worker.
        old: the state before the round, returned when nobody trained a row.
        piece: numbers averaged at a time.
    """
    trained = [(state, rows) for state, rows in updates if rows and state is not None]
    if not trained:
        return old
    # Equal shares have weight 1: most rounds need no multiplication.
    divisor = math.gcd(*(rows for _, rows in trained))
    weights = [rows // divisor for _, rows in trained]
    size = layout.sizes[0]
    values = np.empty(size, layout.dtype)
    pooled = [(mean, variance, np.zeros((3, mean.stop - mean.start))) for mean, variance in layout.moments]
    for start in range(0, size, piece):
        stop = min(start + piece, size)
        parts = [state.values[start:stop] for state, _ in trained]
        for part, weight in zip(parts, weights):
            for mean, variance, (means, variances, squares) in pooled:
                _add(means, part, weight, mean, start)
                _add(variances, part, weight, variance, start)
                _add(squares, part, weight, mean, start, power=2)
        if len(parts) == 1:
            values[start:stop] = parts[0]
        else:
            for first in range(0, stop - start, CHUNK):
                chunks = [part[first : first + CHUNK] for part in parts]
                _mean(chunks, weights, out=values[start + first : start + first + len(chunks[0])])
            for each in layout.local:
                begin, end = max(each.start, start), min(each.stop, stop)
                if begin < end:
                    values[begin:end] = parts[0][begin - start : end - start]
    if len(trained) > 1:
        for _, variance, (means, variances, squares) in pooled:
            means, variances, squares = (each / sum(weights) for each in (means, variances, squares))
            values[variance] = variances + np.maximum(squares - np.square(means), 0.0)
    integers, *others = [state.integers for state, _ in trained]
    return State(values, functools.reduce(np.maximum, others, integers.copy()))


def summed(change: np.ndarray, workers: int) -> np.ndarray:
    """The sum of the workers' changes, of which this is the mean weighted by rows; each row counts the same in it.

    Args:
        workers: that have trained a row.
    """
    return change * change.dtype.type(workers)


def _mean(chunks: Sequence[np.ndarray], weights: Sequence[int], out: np.ndarray) -> None:
    if weights == [1, 1]:
        # Several times faster, and the same: where halving is not exact, among the smallest numbers, the sum is. So
        # there is one rounding, as of a float64 mean.
        with contextlib.suppress(FloatingPointError), np.errstate(over="raise"):
            np.add(chunks[0], chunks[1], out=out)
            out *= out.dtype.type(0.5)
            return
    total = chunks[0].astype("float64")
    if weights[0] != 1:
        total *= weights[0]
    for chunk, weight in zip(chunks[1:], weights[1:]):
        total += chunk if weight == 1 else np.multiply(chunk, weight, dtype="float64")
    total /= sum(weights)
    out[:] = total


def _add(total: np.ndarray, part: np.ndarray, weight: int, where: slice, start: int, power: int = 1) -> None:
    """Adds what lies at `where` in the whole vector, as far as `part`, which begins at `start`, has it."""
    first, last = max(where.start, start), min(where.stop, start + len(part))
    if first < last:
        numbers = part[first - start : last - start].astype("float64")
        total[first - where.start : last - where.start] += weight * numbers**power


def start_state(shared: State, own: State | None, fresh: State | None, layout: Layout, optimizer_state: str) -> State:
    """The state that a worker starts a round from.

    Args:
        shared: the averaged state.
        own: the worker's own state after its last round, or None in its first.
        fresh: the state before training, for the optimizer's initial variables; needed for "reset" only.
        optimizer_state: "average": the averaged optimizer variables; "local": the worker's own; "reset": the initial
            ones. The learning rate always comes from the driver, where callbacks change it. The step counter does,
            too, for "local", and for "reset" where a schedule reads it; else "reset" starts it anew, because Adam's
            bias correction belongs to its moments. What a stateful layer remembers is the worker's own in any case.
    """
    if own is not None and layout.local:
        shared = State(shared.values.copy(), shared.integers)
        for each in layout.local:
            shared.values[each] = own.values[each]
    if optimizer_state == "average" or (optimizer_state == "local" and own is None):
        return shared
    source = own if optimizer_state == "local" else fresh
    if source is None:
        raise ValueError("No state to reset to. Expected: the one before training.")
    values_from, integers_from = layout.weight_sizes
    values = np.concatenate([shared.values[:values_from], source.values[values_from:]])
    integers = np.concatenate([shared.integers[:integers_from], source.integers[integers_from:]])
    for iterations, learning_rate in ((layout.iterations, layout.learning_rate), *layout.further):
        if learning_rate is not None:
            values[learning_rate] = shared.values[learning_rate]
        keeps_step = optimizer_state == "local" or learning_rate is None
        if iterations is not None and keeps_step:
            integers[iterations] = shared.integers[iterations]
    return State(values, integers)
