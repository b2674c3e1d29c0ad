"""Averaging against closed forms, without Spark."""

from __future__ import annotations

import numpy as np
import pytest

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.rules.mean import start_state, weighted_mean


def layout(size, integers=0, moments=(), weight_sizes=None, iterations=None, learning_rate=None):
    return Layout((), "float32", (size, integers), weight_sizes or (size, integers), iterations, learning_rate, moments)


def state(values, integers=()):
    return State(np.array(values, "float32"), np.array(integers, "int64"))


def test_mean_is_weighted_by_rows():
    mean = weighted_mean([(state([1, 10]), 3), (state([5, 20]), 1)], layout(2), state([0, 0]))
    np.testing.assert_array_equal(mean.values, np.float32([2.0, 12.5]))


def test_a_worker_without_rows_counts_for_nothing():
    mean = weighted_mean([(state([1.0]), 4), (state([np.nan]), 0), (state([3.0]), 4)], layout(1), state([9.0]))
    assert mean.values[0] == 2.0


def test_a_round_without_rows_changes_nothing():
    old = state([1.0, 2.0], [7])
    assert weighted_mean([(state([5.0, 5.0], [9]), 0)], layout(2, 1), old) is old


def test_one_worker_keeps_its_bits():
    own = state([0.1, 1e-30, 3.0e38])
    mean = weighted_mean([(own, 320), (state([0, 0, 0]), 0)], layout(3), state([0, 0, 0]))
    assert mean.values.tobytes() == own.values.tobytes()


def test_equal_states_keep_their_bits_under_any_weights():
    random = np.random.default_rng(0)
    own = state(random.normal(size=1000))
    mean = weighted_mean([(own, 7), (own, 13), (own, 1)], layout(1000), own)
    assert mean.values.tobytes() == own.values.tobytes()


def test_integers_are_carried_beyond_what_a_float32_can_count():
    updates = [(state([0.0], [2**24 + 1]), 1), (state([0.0], [2**24 + 3]), 1)]
    assert weighted_mean(updates, layout(1, 1), state([0.0], [0])).integers.tolist() == [2**24 + 3]


def test_moving_statistics_are_pooled_as_those_of_one_population():
    random = np.random.default_rng(1)
    a, b = random.normal(3, 2, 500), random.normal(-1, 5, 1500)
    moments = ((slice(0, 1), slice(1, 2)),)
    updates = [(state([part.mean(), part.var()]), len(part)) for part in (a, b)]
    pooled = weighted_mean(updates, layout(2, moments=moments), state([0, 1]))
    everything = np.concatenate([a, b])
    np.testing.assert_allclose(pooled.values, [everything.mean(), everything.var()], rtol=1e-6)


def test_sums_lose_nothing_over_many_workers():
    values = np.random.default_rng(2).normal(size=1000).astype("float32")
    mean = weighted_mean(((state([value]), 1) for value in values), layout(1), state([0]))
    assert mean.values[0] == np.float32(values.astype("float64").mean())


@pytest.mark.parametrize(
    "choice, values, integers",
    [
        ("average", [1, 2, 3], [40]),
        ("local", [1, 2, 30], [40]),
        ("reset", [1, 2, 300], [0]),
    ],
)
def test_what_a_worker_starts_a_round_from(choice, values, integers):
    # One weight, the learning rate (2), one moment; the step counter.
    shape = layout(3, 1, weight_sizes=(1, 0), iterations=0, learning_rate=1)
    start = start_state(state([1, 2, 3], [40]), state([10, 20, 30], [4]), state([100, 200, 300], [0]), shape, choice)
    assert start.values.tolist() == values
    assert start.integers.tolist() == integers


def test_reset_leaves_the_step_to_a_learning_rate_schedule():
    shape = layout(2, 1, weight_sizes=(1, 0), iterations=0)
    start = start_state(state([1, 2], [40]), None, state([10, 20], [0]), shape, "reset")
    assert start.values.tolist() == [1, 20] and start.integers.tolist() == [40]


@pytest.mark.parametrize("piece", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("rows", [(5, 5, 5), (320, 96, 1)])
def test_the_mean_does_not_depend_on_the_pieces(piece, rows):
    random = np.random.default_rng(4)
    moments = ((slice(10, 40), slice(70, 100)), (slice(100, 101), slice(101, 102)))
    size = 1000 if piece < 1000 else 100_000
    updates = [(state(random.gamma(1.0, size=size)), count) for count in rows]
    mean = weighted_mean(updates, layout(size, moments=moments), updates[0][0], piece=piece).values
    values = np.stack([each.values for each, _ in updates]).astype("float64")
    expected = np.average(values, axis=0, weights=rows)
    for means, variances in moments:
        between = np.average(np.square(values[:, means]), axis=0, weights=rows) - np.square(expected[means])
        expected[variances] += between
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    whole = weighted_mean(updates, layout(size, moments=moments), updates[0][0], piece=size)
    assert mean.tobytes() == whole.values.tobytes()


@pytest.mark.parametrize("largest", [1.0, 3.4e38], ids=["sums fit into float32", "a sum does not"])
def test_two_equal_shares_give_the_bits_of_a_float64_mean(largest):
    random = np.random.default_rng(2)
    # Down to the smallest numbers, of which halves are not exact.
    a, b = (random.normal(size=100_000) * 10.0 ** random.integers(-44, 30, 100_000) for _ in range(2))
    a, b = np.float32([*a, largest, 1e-37, 3e-45]), np.float32([*b, largest, -1e-37, 0])
    mean = weighted_mean([(State(a, np.array([1])), 320), (State(b, np.array([1])), 320)], layout(len(a), 1), state([]))
    np.testing.assert_array_equal(mean.values, ((a.astype("float64") + b) / 2).astype("float32"))
