"""Asynchronous training, compared with plain Keras, with closed forms and with a parameter server in numpy."""

from __future__ import annotations

import heapq

import keras
import numpy as np
import pytest
from counting import counting, expected_counts
from in_process import Kept, train

from spark_keras.keras_model import state as states

FEATURES = np.random.default_rng(1).normal(size=(160, 5)).astype("float32")
LABELS = (FEATURES @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) > 0).astype("float32")[:, None]
DATA = FEATURES, LABELS


def network(optimizer, *hidden, dropout=0.0, metrics=("accuracy",)):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(7, "tanh"), *hidden, *([keras.layers.Dropout(dropout)] if dropout else [])]
    model = keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(1, "sigmoid")])
    model.compile(optimizer, "binary_crossentropy", metrics=list(metrics))
    return model


def fit(model, data=DATA, **settings):
    return train(model, data, mode="asynchronous", **settings)


def bits(model):
    state = states.read(model, states.layout_of(model))
    return state.values.tobytes(), state.integers.tobytes()


# --- one worker ----------------------------------------------------------------------------------------------------


class HalveRate(keras.callbacks.Callback):
    """At the beginning of an epoch, and once within it."""

    def on_epoch_begin(self, epoch, logs=None):
        self.halve()

    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            self.halve()

    def halve(self):
        self.model.optimizer.learning_rate.assign(0.5 * self.model.optimizer.learning_rate)


@pytest.mark.parametrize("optimizer, frequency", [("adam", 1), ("sgd", 3), ("rmsprop", None)])
def test_one_worker_equals_plain_keras_with_a_short_last_minibatch(optimizer, frequency):
    model, expected, rows = network(optimizer), network(optimizer), slice(103)
    outcome = fit(model, (FEATURES[rows], LABELS[rows]), epochs=3, batch_size=16, frequency=frequency)
    expected.jit_compile = False
    history = expected.fit(FEATURES[rows], LABELS[rows], 16, 3, verbose=0, shuffle=False).history
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for name, values in history.items():
        np.testing.assert_allclose(outcome.history[name], values, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("optimizer_state", ["average", "local"])
def test_one_worker_has_the_bits_of_the_synchronous_mode_also_where_callbacks_change_the_model(optimizer_state):
    settings = {"epochs": 3, "batch_size": 16, "frequency": 3, "optimizer_state": optimizer_state, "shuffle": True}
    settings |= {"validation": DATA}
    model, expected = (network("adam", keras.layers.BatchNormalization(), dropout=0.3) for _ in range(2))
    outcome = fit(model, callbacks=[HalveRate()], **settings)
    assert outcome.history == train(expected, DATA, callbacks=[HalveRate()], **settings).history
    assert bits(model) == bits(expected)


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers, frequency", [(2, 1), (5, 3), (8, None), (16, 3)])
def test_every_row_is_trained_once_in_each_epoch_and_counts_the_same_however_slow_its_worker(workers, frequency):
    # One of four has no rows, and the others have a last minibatch that is short.
    counts, size = [(9, 14, 0, 6)[index % 4] for index in range(workers)], 4
    model, data = counting(sum(counts))
    turns = [1 + index % 5 for index in range(workers)]
    fit(model, data, workers=counts, batch_size=size, frequency=frequency, epochs=2, turns=turns)
    once = expected_counts(counts, size, frequency or 10**9)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], 2 * np.array(once), rtol=1e-5)


def test_metrics_of_an_epoch_are_those_of_all_rows_in_one_process():
    metrics = "accuracy", keras.metrics.AUC(name="auc")
    model, untrained = (network(keras.optimizers.SGD(0.0), metrics=metrics) for _ in range(2))
    counts, turns = [3, 19, 138], [4, 1, 1]
    validation = FEATURES[:50], LABELS[:50]
    outcome = fit(model, workers=counts, batch_size=8, frequency=2, epochs=2, validation=validation, turns=turns)
    untrained.jit_compile = False
    for prefix, rows in (("", slice(None)), ("val_", slice(50))):
        expected = untrained.evaluate(FEATURES[rows], LABELS[rows], verbose=0, return_dict=True)
        for name in ("accuracy", "auc") if not prefix else ("loss", "accuracy", "auc"):
            assert outcome.history[prefix + name] == pytest.approx([expected[name]] * 2, rel=1e-5), name


# --- updates -------------------------------------------------------------------------------------------------------


def linear(rate):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def parameter_server(rate, turns, steps, size, frequency):
    """Downpour on a linear model: workers pull the weights, step on their own, and push what they have changed."""
    workers, weights = len(turns), np.zeros((5, 1))
    x, y = (each.reshape(workers, steps, size, -1).astype("float64") for each in DATA)
    under_way = [(frequency * turns[worker], worker, 0, weights) for worker in range(workers)]
    heapq.heapify(under_way)
    while under_way:
        now, worker, first, pulled = heapq.heappop(under_way)
        own = pulled
        for step in range(first, first + frequency):
            rows, labels = x[worker, step % steps], y[worker, step % steps]
            own = own - rate * 2 / size * rows.T @ (rows @ own - labels)
        weights = weights + (own - pulled) / workers
        if first + frequency < 2 * steps:
            heapq.heappush(under_way, (now + frequency * turns[worker], worker, first + frequency, weights))
    return weights


@pytest.mark.parametrize("turns", [[5, 2, 3, 3], [2, 1, 1, 1]])
def test_updates_are_added_as_by_a_parameter_server_in_numpy(turns):
    model = linear(0.1)
    fit(model, workers=4, batch_size=8, frequency=1, epochs=2, turns=turns)
    np.testing.assert_allclose(model.get_weights()[0], parameter_server(0.1, turns, 5, 8, 1), rtol=1e-4, atol=1e-5)


def test_workers_go_on_without_the_slowest_one():
    ends = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            ends.append(self.model.get_weights()[0].sum())

    model, data = counting(64)
    fit(model, data, workers=4, batch_size=8, frequency=1, epochs=4, turns=[4, 1, 1, 1], callbacks=[Look()])
    # At the end of its first epoch the three others have ended all of theirs, but for what is under way.
    assert ends[0] >= (16 + 3 * 3.5 * 16) / 4
    assert ends[-1] == 4 * 64 / 4


def test_a_schedule_ends_where_it_ends_without_a_slow_worker():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 15)
    model = network(keras.optimizers.Adam(rate))
    fit(model, workers=4, batch_size=8, frequency=2, epochs=3, turns=[4, 1, 2, 1])
    # Five minibatches of each worker and epoch.
    assert int(model.optimizer.iterations) == 15
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("optimizer_state", ["average", "local", "reset"])
def test_variances_stay_positive_and_the_rate_the_drivers(optimizer_state):
    model = network(keras.optimizers.RMSprop(0.01, rho=0.5), keras.layers.BatchNormalization(momentum=0.5))
    halve = HalveRate()
    outcome = fit(
        model, workers=4, batch_size=8, frequency=1, epochs=8, turns=[9, 1, 2, 1], optimizer_state=optimizer_state,
        callbacks=[halve],
    )  # fmt: skip
    assert float(model.optimizer.learning_rate) == np.float32(0.01) * np.float32(0.5**8)
    variances = [each for each in model.optimizer.variables if "velocity" in each.path]
    variances += [each for each in model.variables if "variance" in each.path]
    assert len(variances) == 7 and all((states.to_numpy(each.value) >= 0).all() for each in variances)
    assert outcome.history["loss"][-1] < outcome.history["loss"][0]


def test_choices_of_optimizer_state_agree_for_an_optimizer_without_state():
    weights = set()
    for choice in ("average", "local", "reset"):
        model = network(keras.optimizers.SGD(0.1))
        fit(model, workers=3, batch_size=8, frequency=2, turns=[1, 4, 2], optimizer_state=choice)
        weights.add(states.read(model, states.layout_of(model)).values.tobytes())
    assert len(weights) == 1


def test_frozen_weights_stay():
    layers = [keras.layers.Dense(7, trainable=False), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5,)), *layers])
    model.compile("adam", "mse")
    before = model.layers[0].get_weights()
    fit(model, workers=3, batch_size=8, frequency=2, turns=[1, 4, 2])
    for one, other in zip(model.layers[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


# --- the story of a fit --------------------------------------------------------------------------------------------


class Log(keras.callbacks.Callback):
    def __init__(self, stop_at=None):
        super().__init__()
        self.hooks, self.stop_at = [], stop_at

    def on_train_batch_end(self, batch, logs=None):
        self.hooks.append(batch)
        self.model.stop_training = self.model.stop_training or self.hooks == self.stop_at

    def on_epoch_end(self, epoch, logs=None):
        self.hooks.append(f"epoch {epoch}")


def test_callbacks_and_history_are_as_in_the_synchronous_mode():
    logs, outcomes = [Log(), Log()], []
    settings = {"workers": 2, "batch_size": 8, "frequency": 2, "epochs": 3, "validation": DATA}
    settings["data"] = FEATURES[:80], LABELS[:80]
    outcomes.append(fit(network("adam"), turns=[1, 4], callbacks=logs[:1], **settings))
    outcomes.append(train(network("adam"), callbacks=logs[1:], **settings))
    assert logs[0].hooks == logs[1].hooks == [1, 3, 4, "epoch 0", 1, 3, 4, "epoch 1", 1, 3, 4, "epoch 2"]
    one, other = outcomes
    assert (one.rounds, one.epochs) == (other.rounds, other.epochs) == (9, 3)
    assert {name: len(values) for name, values in one.history.items()} == dict.fromkeys(other.history, 3)


def test_it_stops_within_an_epoch_and_validates_the_state_that_is_left():
    model, log = network("adam"), Log(stop_at=[1, 3, 4, "epoch 0", 1])
    outcome = fit(
        model, workers=4, batch_size=8, frequency=2, epochs=9, turns=[1, 4, 2, 1], callbacks=[log], validation=DATA
    )
    assert outcome.epochs == 2 and log.hooks[-1] == "epoch 1"
    model.jit_compile = False
    expected = model.evaluate(*DATA, verbose=0, return_dict=True)
    assert outcome.history["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.parametrize("non_finite", ["error", "skip"])
def test_updates_that_are_not_finite_are_refused_or_left_out(non_finite):
    features = FEATURES.copy()
    features[70] = np.inf  # the second of four workers, in its last minibatch but one
    settings = {"workers": 4, "batch_size": 8, "frequency": 1, "epochs": 2, "turns": [1, 4, 2, 1]}
    model = network("sgd")
    if non_finite == "error":
        with pytest.raises(FloatingPointError, match=r"Worker 1 .* in round 4 \(epoch 1, minibatches 3 to 3\)"):
            fit(model, (features, LABELS), **settings)
        return
    outcome = fit(model, (features, LABELS), non_finite="skip", **settings)
    assert outcome.non_finite == [0, 2, 0, 0]
    assert all(np.isfinite(each).all() for each in model.get_weights())


# --- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("die_after, optimizer_state", [(0, "average"), (2, "local"), (4, "average")])
def test_a_fit_goes_on_from_a_checkpoint(die_after, optimizer_state):
    settings = {"workers": 2, "batch_size": 8, "frequency": 2, "epochs": 3, "turns": [1, 4], "shuffle": True}
    settings |= {"optimizer_state": optimizer_state, "validation": DATA, "data": (FEATURES[:80], LABELS[:80])}
    whole, resumed = network("adam"), network("adam")
    expected = fit(whole, checkpoints=Kept(), **settings)
    killed = Kept(die_after)
    with pytest.raises(KeyboardInterrupt):
        fit(network("adam"), checkpoints=killed, **settings)
    outcome = fit(resumed, checkpoints=Kept(snapshot=killed.snapshot), **settings)
    # Simulated workers take the same turns.
    assert outcome.history == expected.history and outcome.rounds == expected.rounds == 9
    assert bits(resumed) == bits(whole)
