"""What is particular to rounds on JAX. `scripts/nox --session jax` runs this: a process has one Keras backend."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from rounds import STEPS, minibatches, prepared, two_outputs

from spark_keras.backend import arrays, choose, kernels
from spark_keras.executor.aligned import ALIGNMENT, aligned

assert keras.backend.backend() == "jax"


@pytest.mark.parametrize("name", ["scan", "jit"])
def test_rounds_of_any_length_are_compiled_once(name):
    batches, seeds = minibatches(), np.array([[7, 0]], "int32")
    model = two_outputs(layer="embedding")
    layout, state = prepared(model, batches)
    chosen = kernels.make(name, model, layout)
    state = chosen.train(state, seeds, batches, 0, STEPS).state
    chosen.evaluate(state, batches, STEPS)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    try:
        for steps in range(1, STEPS + 1):
            state = chosen.train(state, seeds, batches, 0, steps).state
            chosen.evaluate(state, batches, steps)
        assert compiled == []
        chosen.train(state, seeds, jax.tree.map(lambda stacked: stacked[:, :4], batches), 0, 1)
        assert any("backend_compile" in event for event in compiled)  # so it would have been noticed
    finally:
        jax.monitoring.clear_event_listeners()
    assert state.integers[layout.iterations] == STEPS + 15


def test_integers_beyond_32_bits_are_refused():
    x = np.zeros((1, 4, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layout, state = prepared(model, (x, x))
    chosen = kernels.make("scan", model, layout)
    seeds = np.zeros((0, 2), "int32")
    for count in (2**31, 2**31 - 1):
        with pytest.raises(OverflowError, match="int32"):
            chosen.train(state._replace(integers=np.array([count])), seeds, (x, x), 0, 1)
    with pytest.raises(OverflowError, match="int32"):
        arrays.to_tensor()(np.full((1, 4, 1), 2**40))
    assert chosen.train(state._replace(integers=np.array([2**31 - 2])), seeds, (x, x), 0, 1).state.integers == [
        2**31 - 1
    ]


@keras.saving.register_keras_serializable("spark_keras_checks")
class OwnLayer(keras.layers.Layer):
    pass


def test_what_may_convolve_is_left_out_of_the_loop():
    def chosen(*layers, **options):
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse", **options)
        return choose.choose(model, 10**6, 32).kernel

    assert chosen(keras.layers.MaxPooling2D(), keras.layers.BatchNormalization()) == "scan"
    assert chosen(keras.layers.Embedding(9, 2), keras.layers.Bidirectional(keras.layers.LSTM(2))) == "scan"
    assert chosen(keras.layers.SeparableConv2D(2, 3)) == "jit"
    assert chosen(keras.layers.TimeDistributed(keras.layers.Conv1D(2, 3))) == "jit"
    assert chosen(keras.Sequential([keras.layers.Conv2D(2, 3)])) == "jit"
    assert chosen(OwnLayer()) == "jit"
    assert chosen(run_eagerly=True) == chosen(jit_compile=False) == "steps"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_what_a_program_is_given_has_jaxs_type_and_is_not_copied_by_it(dtype):
    given = aligned((3, 5), np.dtype(dtype))
    given[...] = np.arange(15).reshape(3, 5) % 7
    tensor = arrays.to_tensor()(given)
    expected = jnp.asarray(given)
    assert tensor.dtype == expected.dtype
    np.testing.assert_array_equal(tensor, expected)
    assert tensor.ctypes.data % ALIGNMENT == 0
    assert (tensor is given) == (given.dtype == expected.dtype)
    # Where the program has it is where it lies.
    assert jax.device_put(tensor).unsafe_buffer_pointer() == tensor.ctypes.data
