"""The state of a model as vectors, and back; without Spark."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from spark_keras.training import state as states


@pytest.mark.parametrize("large", [40, states.LARGE_BYTES], ids=["in pieces", "at once"])
def test_a_model_holds_the_state_that_was_written(large, monkeypatch):
    monkeypatch.setattr(states, "LARGE_BYTES", large)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    states.build(model, (np.zeros((2, 5), "float32"), np.zeros((2, 1), "float32")))
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
