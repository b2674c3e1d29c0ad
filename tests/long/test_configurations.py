"""What compile() and the layers were given reaches the executors whole, also where `get_config` does not tell it."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from in_process import train

from spark_keras.keras_model.archive import KerasArchive

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = (3 * X[:, :2]).astype("float32")


class Scaled(keras.losses.Loss):
    """A loss without a get_config of its own."""

    def __init__(self, factor=1.0, power=2, name="scaled"):
        super().__init__(name=name)
        self.factor, self._power = factor, power

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean(keras.ops.abs(y_true - y_pred) ** self._power, axis=-1)


class Above(keras.metrics.Mean):
    """A metric without a get_config of its own."""

    def __init__(self, limit=0.0, name="above"):
        super().__init__(name=name)
        self.limit = limit

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(keras.ops.cast(y_pred > self.limit, "float32"), sample_weight=None)


class Shifted(keras.layers.Layer):
    """A layer whose get_config forgets an argument."""

    def __init__(self, by=0.0, **options):
        super().__init__(**options)
        self.by = by

    def call(self, x):
        return x + self.by

    def get_config(self):
        return {"name": self.name}


def network(loss, metrics=(), shift=None):
    keras.utils.set_random_seed(1)
    hidden = [Shifted(shift)] if shift else []
    model = keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=list(metrics))
    return model


CASES = {
    "Huber": lambda: network(keras.losses.Huber(delta=0.3)),
    "CosineSimilarity": lambda: network(
        keras.losses.CosineSimilarity(axis=0), [keras.metrics.CosineSimilarity(axis=0)]
    ),
    "loss by output": lambda: network([keras.losses.Huber(0.2)]),
    "own loss": lambda: network(Scaled(3.0, power=1)),
    "own metric": lambda: network("mse", [Above(0.5)]),
    "own layer": lambda: network("mse", shift=2.0),
}


@pytest.mark.parametrize("case", CASES)
def test_settings_that_get_config_forgets_reach_the_worker_and_the_saved_model(case):
    # As a live model comes to a fit.
    archive = KerasArchive.of(CASES[case]())
    model = archive.load()
    outcome = train(model, (X, Y), epochs=2, batch_size=8, frequency=3)
    expected = CASES[case]()
    history = expected.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    for name, values in history.items():
        np.testing.assert_allclose(outcome.history[name], values, rtol=1e-5, err_msg=name)
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # And the fitted one has them still.
    again = KerasArchive.of(model).load().evaluate(X, Y, verbose=0, return_dict=True)
    assert again == pytest.approx(expected.evaluate(X, Y, verbose=0, return_dict=True), rel=1e-5)


def test_the_users_objects_stay_as_they_are():
    loss = keras.losses.Huber(0.3)
    KerasArchive.of(network(loss))
    assert "delta" not in loss.get_config() and "get_config" not in vars(loss)


def test_an_argument_that_nothing_keeps_is_told():
    class Hidden(keras.losses.Loss):
        def __init__(self, factor=1.0):
            super().__init__()
            self.call = lambda y_true, y_pred: factor * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    with pytest.warns(RuntimeWarning, match=r"Hidden does not tell its argument `factor`.*default, 1\.0"):
        KerasArchive.of(network(Hidden(2.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        KerasArchive.of(network(Scaled(2.0), [Above(1.0), "mae"]))
