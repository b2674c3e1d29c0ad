"""Metrics that workers compute together, without Spark, compared with Keras in one process."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from in_process import train

ROWS = 900
random = np.random.default_rng(3)
X = random.normal(size=(ROWS, 6)).astype("float32")
CLASSES = np.eye(3, dtype="float32")[random.integers(0, 3, ROWS)]
NUMBERS = (X @ random.normal(size=(6, 1)) + random.normal(size=(ROWS, 1))).astype("float32")


def of_classes():
    f1 = keras.metrics.F1Score(average="macro", name="f1")
    top = keras.metrics.TopKCategoricalAccuracy(2, name="top_2")
    return CLASSES, "softmax", "categorical_crossentropy", [f1, top, keras.metrics.AUC(multi_label=True, name="auc")]


def of_numbers():
    return NUMBERS, None, "mse", [keras.metrics.R2Score(name="r2"), keras.metrics.RootMeanSquaredError(name="rmse")]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("kind", [of_classes, of_numbers])
def test_validation_metrics_over_any_workers_are_those_of_one_process(kind, workers):
    y, activation, loss, metrics = kind()
    keras.utils.set_random_seed(5)
    hidden = keras.layers.Dense(8, activation="relu")
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(y.shape[1], activation)])
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=metrics)
    outcome = train(model, (X[:100], y[:100]), workers=workers, validation=(X, y))
    expected = model.evaluate(X, y, batch_size=64, verbose=0, return_dict=True)
    found = {name: outcome.history[f"val_{name}"][-1] for name in expected}
    assert found == pytest.approx(expected, abs=1e-6, rel=1e-5)
