"""An update that became NaN or infinite: an error that names it, or left out and counted."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from regression import frame, in_training_order, keras_weights, linear, regression_rows, weights_of

from spark_keras import KerasRegressor
from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states


def rows_with_an_impossible_one(count=21):
    x, y = regression_rows(count)
    y[4] = 3e38  # twice as much, the gradient, is more than a float32 can be
    return x, y


def estimator(**params):
    fixed = {"epochs": 2, "batchSize": 1, "averagingFrequency": 1, "shuffle": False, "numWorkers": 1}
    return KerasRegressor(model=linear(keras.optimizers.SGD(0.01)), verbose=0, **{**fixed, **params})


def test_the_error_names_worker_round_and_variable(spark):
    df = frame(spark, *rows_with_an_impossible_one())
    with pytest.raises(FloatingPointError) as raised:
        estimator().fit(df)
    message = str(raised.value)
    assert "Worker 0 made" in message and "kernel" in message and "round " in message and "epoch 1" in message


def test_a_skipped_update_leaves_the_state_as_it_was_and_is_counted(spark):
    x, y = rows_with_an_impossible_one()
    df = frame(spark, x, y)
    fitted = estimator(nonFinite="skip").fit(df)
    ordered_x, ordered_y = in_training_order(df)
    expected = linear(keras.optimizers.SGD(0.01))
    possible = ordered_y < 1e30
    expected.fit(ordered_x[possible], ordered_y[possible], batch_size=1, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-5)
    assert fitted.summary.nonFiniteUpdates == [2]
    assert "2 non-finite updates left out" in str(fitted.summary)
    assert np.isfinite(fitted.summary.history["loss"]).all()


def test_what_was_infinite_before_is_no_failure():
    built = linear(keras.optimizers.SGD(0.1))
    first_step.build_symbolically(built, (np.zeros((7, 5), "float32"), np.zeros((7, 1), "float32")))
    layout = states.layout_of(built)
    before = states.read(built, layout)
    masked = before._replace(values=before.values.copy())
    masked.values[2] = -np.inf
    assert states.non_finite_variable(layout, masked, masked) is None
    assert "kernel" in states.non_finite_variable(layout, before, masked)
    # Large, but finite: their squares are not.
    large = before._replace(values=np.full_like(before.values, 1e30))
    assert states.non_finite_variable(layout, before, large) is None
