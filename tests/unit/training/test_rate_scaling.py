"""Scaled learning rates of many workers, compared with plain Keras at the rate that they come to."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from in_process import train

from spark_keras.keras_model import rate_scaling
from spark_keras.keras_model.rate_scaling import RateScaling
from spark_keras.training.workers.in_process import InProcessWorkers

WORKERS, SIZE, STEPS, EPOCHS = 4, 2, 6, 2
ROWS = WORKERS * SIZE * STEPS
FEATURES = np.random.default_rng(1).normal(size=(ROWS, 5)).astype("float32")
LABELS = (FEATURES @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]))[:, None].astype("float32")
# Worker w's minibatch i has the w-th part of the i-th large minibatch.
DEALT = np.arange(ROWS).reshape(STEPS, WORKERS, SIZE).transpose(1, 0, 2).reshape(-1)


def network(rate, momentum=0.9, wrapped=False):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(rate, momentum=momentum)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer, "mse")
    return model


def trained(model, scaling):
    workers = InProcessWorkers.of_arrays(model, (FEATURES[DEALT], LABELS[DEALT]), WORKERS, SIZE, rate_scaling=scaling)
    train(model, None, workers=workers, epochs=EPOCHS, batch_size=SIZE, frequency=1)
    return model


def assert_equals_keras(model, rate, momentum=0.9):
    expected = network(rate, momentum)
    expected.jit_compile = False
    expected.fit(FEATURES, LABELS, batch_size=WORKERS * SIZE, epochs=EPOCHS, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("rule, times", [("linear", 4.0), ("sqrt", 2.0)])
def test_four_workers_equal_keras_with_their_rows_and_the_scaled_rate(rule, times, wrapped):
    model = trained(network(0.01, wrapped=wrapped), RateScaling(rate_scaling.factor(rule, WORKERS)))
    assert_equals_keras(model, 0.01 * times)
    # What callbacks and the fitted model have is the rate as it was given.
    assert float(model.optimizer.learning_rate) == np.float32(0.01)


def test_a_schedule_is_scaled_as_a_number_is():
    halving = keras.optimizers.schedules.ExponentialDecay
    model = trained(network(halving(0.01, 3, 0.5)), RateScaling(4.0))
    assert_equals_keras(model, halving(0.04, 3, 0.5))


@pytest.mark.parametrize("steps", [5, 7])
def test_a_warm_up_goes_along_a_line_over_the_end_of_an_epoch(steps):
    model = trained(network(0.01), RateScaling(4.0, steps))
    rates = [0.01 * (1 + 3 * step / steps) for step in range(steps + 1)]
    assert_equals_keras(model, keras.optimizers.schedules.PiecewiseConstantDecay(list(range(steps)), rates))


def test_no_scaling_gives_the_bits_that_there_were_without():
    scaled, plain = trained(network(0.01), RateScaling(1.0, 5)), trained(network(0.01), RateScaling())
    for one, other in zip(scaled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="A train_step on JAX cannot assign.")
def test_every_optimizer_of_a_model_is_scaled():
    class Two(keras.Model):
        """A weight for each of two optimizers, each of which takes the whole gradient 1."""

        def __init__(self):
            super().__init__()
            self.a = self.add_weight(shape=(), initializer="zeros", name="a")
            self.b = self.add_weight(shape=(), initializer="zeros", name="b")
            self.second = keras.optimizers.SGD(0.5)
            self.second.build([self.b])

        def call(self, x):
            return x * (self.a + self.b)

        def train_step(self, data):
            self.optimizer.apply([keras.ops.ones(())], [self.a])
            self.second.apply([keras.ops.ones(())], [self.b])
            return {"loss": keras.ops.zeros(())}

    model = Two()
    model.compile(keras.optimizers.SGD(0.25), "mse")
    data = np.zeros((4, 1), "float32"), np.zeros((4, 1), "float32")
    workers = InProcessWorkers.of_arrays(model, data, 1, 4, rate_scaling=RateScaling(3.0))
    train(model, None, workers=workers, epochs=1, batch_size=4, frequency=1)
    assert [float(model.a), float(model.b)] == [-0.75, -1.5]
