"""An outer optimizer, compared with plain averaging and with a loop by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from in_process import train

from spark_keras.keras_model import state as states
from spark_keras.training.workers.in_process import InProcessWorkers

FEATURES = np.random.default_rng(5).normal(size=(96, 4)).astype("float32")
LABELS = np.sin(FEATURES.sum(1, keepdims=True)).astype("float32")
DATA, SETTINGS = (FEATURES, LABELS), {"workers": 3, "batch_size": 8, "frequency": 2}


def network(optimizer="adam"):
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(6, "relu"), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse")
    return model


def bits(model):
    state = states.read(model, states.layout_of(model))
    return state.values.tobytes(), state.integers.tobytes()


@pytest.mark.parametrize("optimizer_state", ["average", "local", "reset"])
def test_a_step_of_one_is_plain_averaging_to_the_bit(optimizer_state):
    plain, outer = network(), network()
    settings = SETTINGS | {"epochs": 3, "optimizer_state": optimizer_state}
    expected = train(plain, DATA, **settings)
    outcome = train(outer, DATA, outer=keras.optimizers.SGD(1.0), **settings)
    assert bits(outer) == bits(plain)
    assert outcome.history == expected.history


def by_hand(step, rounds):
    """Rounds of plain averaging, each from the state that `step` has made of the one before; returns the weights."""
    model = network(keras.optimizers.SGD(0.1))
    memory = [np.zeros_like(each) for each in model.trainable_weights]
    # A shard has four minibatches, of which a round trains two.
    rows_of = [[shard * 32 + part * 16 + row for shard in range(3) for row in range(16)] for part in range(2)]
    parts = [InProcessWorkers.of_arrays(model, (FEATURES[rows], LABELS[rows]), 3, 8) for rows in rows_of]
    for index in range(rounds):
        old = [states.to_numpy(each.value) for each in model.trainable_weights]
        train(model, None, workers=parts[index % 2], batch_size=8, frequency=2)
        for variable, before, kept in zip(model.trainable_weights, old, memory):
            variable.assign(step(before, before - states.to_numpy(variable.value), kept))
    return model.get_weights()


def momentum(before, gradient, velocity):
    velocity[...] = 0.9 * velocity - 0.7 * gradient
    return before + velocity


def nesterov(before, gradient, velocity):
    velocity[...] = 0.9 * velocity - 0.7 * gradient
    return before + 0.9 * velocity - 0.7 * gradient


@pytest.mark.parametrize("step", [momentum, nesterov])
def test_momentum_equals_a_loop_by_hand(step):
    model = network(keras.optimizers.SGD(0.1))
    outer = keras.optimizers.SGD(0.7, momentum=0.9, nesterov=step is nesterov)
    train(model, DATA, outer=outer, epochs=3, **SETTINGS)
    for one, other in zip(model.get_weights(), by_hand(step, rounds=6), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "Lion": lambda: keras.optimizers.Lion(0.01),
    "Lamb": lambda: keras.optimizers.Lamb(0.01),
    "a schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5)),
    "clipped": lambda: keras.optimizers.SGD(1.0, clipnorm=0.01),
}


@pytest.fixture(scope="module")
def one_round():
    """(weights before a round of plain averaging, model after it)."""
    plain = network()
    before = [states.to_numpy(each.value) for each in plain.trainable_weights]
    train(plain, DATA, workers=3, batch_size=8, frequency=None)
    return before, plain


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_keras_optimizer_steps_as_it_does_on_the_same_gradients(one_round, name):
    before, plain = one_round
    variables = [keras.Variable(each) for each in before]
    changes = [old - states.to_numpy(new.value) for old, new in zip(before, plain.trainable_weights)]
    OPTIMIZERS[name]().apply(list(map(keras.ops.convert_to_tensor, changes)), variables)
    model = network()
    train(model, DATA, workers=3, batch_size=8, frequency=None, outer=OPTIMIZERS[name]())
    for one, other in zip(model.trainable_weights, variables, strict=True):
        np.testing.assert_allclose(states.to_numpy(one.value), states.to_numpy(other.value), atol=1e-6)
    # All else is averaged.
    for one, other in zip(model.non_trainable_weights, plain.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(states.to_numpy(one.value), states.to_numpy(other.value))


def test_frozen_weights_stay():
    model = network()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    frozen = model.layers[0].get_weights()
    train(model, DATA, outer=keras.optimizers.SGD(0.7, momentum=0.9, nesterov=True), epochs=2, **SETTINGS)
    for one, other in zip(model.layers[0].get_weights(), frozen, strict=True):
        np.testing.assert_array_equal(one, other)
