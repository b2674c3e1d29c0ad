"""What the driver does with the workers' states: pure functions of their arguments."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spark_keras.training.state import Layout, State


def weighted_mean(updates: Iterable[tuple[State, int]], layout: Layout, old: State) -> State:
    """The mean of the workers' states, weighted by the rows that each has trained in the round.

    A worker that trained no row counts for nothing. Integers are carried: the largest is taken, so that the
    optimizer's step counter is the global step. BatchNormalization's moving statistics are pooled as those of one
    population: mean of means, and variance = mean(var) + var(mean) (the law of total variance).

    Sums are float64 and taken in the order of `updates`, one state at a time: memory does not grow with the number of
    workers, and the same updates in the same order give the same bits.

    Args:
        updates: (state, rows) of each worker, in shard order.
        old: the state before the round, returned when nobody trained a row.
    """
    total = 0
    first = old
    contributors = 0
    values = integers = None
    squares = [0.0] * len(layout.moments)
    for state, rows in updates:
        if rows == 0:
            continue
        contributors += 1
        total += rows
        if values is None:
            first = state
            values = np.multiply(state.values, rows, dtype="float64")
            integers = state.integers
        else:
            values += np.multiply(state.values, rows, dtype="float64")
            integers = np.maximum(integers, state.integers)
        for index, (mean, _) in enumerate(layout.moments):
            squares[index] = squares[index] + rows * np.square(state.values[mean], dtype="float64")
    if contributors <= 1:
        return first
    values /= total
    for (mean, variance), square in zip(layout.moments, squares):
        between = square / total - np.square(values[mean])
        values[variance] += np.maximum(between, 0.0)
    return State(values.astype(layout.dtype), integers)


def start_state(shared: State, own: State | None, fresh: State, layout: Layout, optimizer_state: str) -> State:
    """What a worker starts a round from.

    Args:
        shared: the averaged state.
        own: the worker's own state after its last round, or None in its first.
        fresh: the state before training, for the optimizer's initial variables.
        optimizer_state: "average": the averaged optimizer variables; "local": the worker's own; "reset": the initial
            ones. The learning rate always comes from the driver, where callbacks change it. The step counter does,
            too, for "local", and for "reset" where a schedule reads it; else "reset" starts it anew, because Adam's
            bias correction belongs to its moments.
    """
    if optimizer_state == "average" or (optimizer_state == "local" and own is None):
        return shared
    source = own if optimizer_state == "local" else fresh
    values_from, integers_from = layout.weight_sizes
    values = np.concatenate([shared.values[:values_from], source.values[values_from:]])
    integers = np.concatenate([shared.integers[:integers_from], source.integers[integers_from:]])
    if layout.learning_rate is not None:
        values[layout.learning_rate] = shared.values[layout.learning_rate]
    keeps_step = optimizer_state == "local" or layout.learning_rate is None
    if layout.iterations is not None and keeps_step:
        integers[layout.iterations] = shared.integers[layout.iterations]
    return State(values, integers)
