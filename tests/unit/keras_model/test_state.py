"""The state of a model as vectors, and back; without Spark."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states


def test_the_learning_rate_is_that_of_the_optimizer_whose_loss_is_scaled():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    inner = keras.optimizers.Adam(0.25, gradient_accumulation_steps=2)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), "mse")
    first_step.build_symbolically(model, (np.zeros((2, 5), "float32"), np.zeros((2, 1), "float32")))
    layout = states.layout_of(model)
    inner._iterations.assign(9)
    read = states.read(model, layout)
    assert read.values[layout.learning_rate] == 0.25
    assert read.integers[layout.iterations] == 9


@pytest.mark.parametrize("large", [40, states.LARGE_BYTES], ids=["in pieces", "at once"])
def test_a_model_holds_the_state_that_was_written(large, monkeypatch):
    monkeypatch.setattr(states, "LARGE_BYTES", large)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    first_step.build_symbolically(model, (np.zeros((2, 5), "float32"), np.zeros((2, 1), "float32")))
    layout = states.layout_of(model)
    written = states.State(np.arange(layout.sizes[0], dtype="float32"), np.arange(layout.sizes[1]) + 3)
    kept = written.values.copy()
    states.write(model, layout, written)
    # Kernel and bias of one layer after the other, row by row.
    np.testing.assert_array_equal(model.get_weights()[0], np.arange(35).reshape(5, 7))
    np.testing.assert_array_equal(model.get_weights()[2], np.arange(42, 49).reshape(7, 1))
    read = states.read(model, layout)
    np.testing.assert_array_equal(read.values, written.values)
    np.testing.assert_array_equal(read.integers, written.integers)
    # What the model does later is not done to the state.
    model.layers[0].kernel.assign_add(keras.ops.ones((5, 7)))
    np.testing.assert_array_equal(written.values, kept)
