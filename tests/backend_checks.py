"""Rounds on the JAX backend, compared with plain Keras and closed forms. `test_jax.py` runs this in its own process."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest

from spark_keras import programs
from spark_keras.training import kernel
from spark_keras.training import state as states

assert keras.backend.backend() == "jax"

KERNELS = ["scan", "jit", "steps"]
BATCH, STEPS = 8, 5


def minibatches(seed=0):
    """Five minibatches for `two_outputs`, stacked: ({inputs}, {outputs}, weights)."""
    random = np.random.default_rng(seed)
    x = {"taste": random.normal(size=(STEPS, BATCH, 6)), "user": random.integers(0, 9, (STEPS, BATCH))}
    y = {"score": random.normal(size=(STEPS, BATCH, 1)), "bought": random.integers(0, 2, (STEPS, BATCH, 1))}
    x = {"taste": x["taste"].astype("float32"), "user": x["user"].astype("int32")}
    return x, {name: value.astype("float32") for name, value in y.items()}, random.random((STEPS, BATCH), "float32")


def two_outputs(optimizer="adam", convolution=False):
    """Two inputs and outputs, a penalty on weights, batch statistics and random numbers."""
    keras.utils.set_random_seed(3)
    taste, user = keras.Input((6,), name="taste"), keras.Input((), dtype="int32", name="user")
    hidden = keras.layers.Concatenate()([taste, keras.layers.Embedding(9, 3)(user)])
    hidden = keras.layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(0.01))(hidden)
    if convolution:
        hidden = keras.layers.Flatten()(keras.layers.Conv1D(3, 4)(keras.layers.Reshape((16, 1))(hidden)))
    hidden = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization(momentum=0.9)(hidden))
    score = keras.layers.Dense(1, name="score")(hidden)
    bought = keras.layers.Dense(1, "sigmoid", name="bought")(hidden)
    model = keras.Model({"taste": taste, "user": user}, {"score": score, "bought": bought})
    model.compile(
        optimizer,
        {"score": "mse", "bought": "binary_crossentropy"},
        weighted_metrics={"score": ["mae"], "bought": ["accuracy"]},
    )
    return model


def prepared(model, batches):
    """The model with all of its variables, its layout and its state."""
    states.build(model, jax.tree.map(lambda stacked: stacked[0], batches))
    layout = states.layout_of(model)
    return layout, states.read(model, layout)


def padded(batches):
    """With two more minibatches, of numbers that would show if they were trained."""

    def pad(stacked):
        value = np.nan if stacked.dtype.kind == "f" else 0
        return np.concatenate([stacked, np.full((2, *stacked.shape[1:]), value, stacked.dtype)])

    return jax.tree.map(pad, batches)


def fitted_by_keras(model, batches, seeds):
    for variable, seed in zip(states.seed_variables(model), seeds):
        variable.assign(seed.astype("uint32"))
    x, y, weights = jax.tree.map(lambda stacked: stacked.reshape(-1, *stacked.shape[2:]), batches)
    history = model.fit(x, y, sample_weight=weights, batch_size=BATCH, shuffle=False, verbose=0).history
    return {name: values[0] for name, values in history.items()}


@pytest.mark.parametrize("name", KERNELS)
def test_a_round_equals_plain_keras(name):
    decay = keras.optimizers.schedules.ExponentialDecay(0.02, 2, 0.5)
    optimizer = keras.optimizers.SGD(decay, momentum=0.9, nesterov=True) if name == "jit" else "adam"
    batches, seeds = minibatches(), np.array([[7, 0]], "int32")
    model = two_outputs(optimizer, convolution=name == "jit")
    layout, before = prepared(model, batches)
    kept = before.values.copy()
    chosen = kernel.make(name, model, layout)
    result = chosen.train(before, seeds, padded(batches), 0, STEPS)
    again = chosen.train(before, seeds, padded(batches), 0, STEPS)
    logs = states.metric_results(model, result.metrics)
    np.testing.assert_array_equal(before.values, kept)
    np.testing.assert_array_equal(result.state.values, again.state.values)
    np.testing.assert_array_equal(result.metrics, again.metrics)

    states.write(model, layout, before)
    expected = fitted_by_keras(model, batches, seeds)
    after = states.read(model, layout)
    np.testing.assert_allclose(result.state.values, after.values, atol=1e-5)
    np.testing.assert_array_equal(result.state.integers, after.integers)
    assert after.integers[layout.iterations] == STEPS
    assert logs.keys() == expected.keys()
    for metric, value in expected.items():
        assert logs[metric] == pytest.approx(value, rel=1e-5), metric


@pytest.mark.parametrize("name", KERNELS)
def test_an_evaluation_equals_plain_keras(name):
    batches = minibatches()
    model = two_outputs()
    layout, before = prepared(model, batches)
    metrics = kernel.make(name, model, layout).evaluate(before, padded(batches), STEPS)
    logs = states.metric_results(model, metrics)
    x, y, weights = jax.tree.map(lambda stacked: stacked.reshape(-1, *stacked.shape[2:]), batches)
    expected = model.evaluate(x, y, sample_weight=weights, batch_size=BATCH, verbose=0, return_dict=True)
    assert logs.keys() == expected.keys()
    for metric, value in expected.items():
        assert logs[metric] == pytest.approx(value, rel=1e-5), metric


@pytest.mark.parametrize("name", ["scan", "jit"])
def test_rounds_of_any_length_are_compiled_once(name):
    batches, seeds = minibatches(), np.array([[7, 0]], "int32")
    model = two_outputs()
    layout, state = prepared(model, batches)
    chosen = kernel.make(name, model, layout)
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


@pytest.mark.parametrize("name", KERNELS)
def test_what_a_layer_derives_from_its_weights_follows_the_state(name):
    x = np.random.default_rng(0).normal(3.0, 2.0, (2, 4, 3)).astype("float32")
    y = x[..., :1]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Normalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layout, state = prepared(model, (x, y))
    chosen = kernel.make(name, model, layout)
    weights, mean, variance = (slice(*bounds) for bounds in ((0, 3), (4, 7), (7, 10)))
    for shift, scale in ((0.0, 1.0), (3.0, 2.0)):  # as if adapted to other rows
        state.values[mean], state.values[variance] = shift, scale**2
        logs = states.metric_results(model, chosen.evaluate(state, (x, y), 2))
        error = (x - shift) / scale @ state.values[weights, None] - y
        assert logs["loss"] == pytest.approx(np.mean(error**2), rel=1e-6)
        step = chosen.train(state, np.zeros((0, 2), "int32"), (x, y), 0, 1).state.values - state.values
        gradient = 2 * np.mean(error[0] * (x[0] - shift) / scale, axis=0)
        np.testing.assert_allclose(step[weights], -0.01 * gradient, rtol=1e-4)
    model.predict(x[0], verbose=0)  # nothing that was only traced is left in the model


@keras.saving.register_keras_serializable("spark_keras_checks")
class TwoSteps(keras.Model):
    """Its train_step, in JAX's stateless style, takes two steps on its minibatch."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    def train_step(self, state, data):
        _, state = super().train_step(state, data)
        return super().train_step(state, data)


@pytest.mark.parametrize("name", KERNELS)
def test_an_overridden_train_step_is_called(name):
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    model = TwoSteps()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    layout, before = prepared(model, (x, x[..., :1]))
    after = kernel.make(name, model, layout).train(before, np.zeros((0, 2), "int32"), (x, x[..., :1]), 0, 3).state
    states.write(model, layout, before)
    for minibatch in np.repeat(x, 2, axis=0):
        gradient, bias_gradient = gradients_of_mse(model, minibatch)
        kernel_variable, bias = model.dense.weights
        kernel_variable.assign(kernel_variable - 0.1 * gradient)
        bias.assign(bias - 0.1 * bias_gradient)
    np.testing.assert_allclose(after.values[:3], states.read(model, layout).values[:3], atol=1e-6)
    assert after.integers[layout.iterations] == 6


def gradients_of_mse(model, minibatch):
    """Of the mean of (x·w + b − x₀)², in closed form."""
    error = minibatch @ np.asarray(model.dense.kernel) + np.asarray(model.dense.bias) - minibatch[:, :1]
    return 2 * minibatch.T @ error / len(minibatch), 2 * error.mean(axis=0)


def test_integers_beyond_32_bits_are_refused():
    x = np.zeros((1, 4, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layout, state = prepared(model, (x, x))
    chosen = kernel.make("scan", model, layout)
    seeds = np.zeros((0, 2), "int32")
    for count in (2**31, 2**31 - 1):
        with pytest.raises(OverflowError, match="int32"):
            chosen.train(state._replace(integers=np.array([count])), seeds, (x, x), 0, 1)
    with pytest.raises(OverflowError, match="int32"):
        programs.tensors((x, np.full((1, 4, 1), 2**40)))
    assert chosen.train(state._replace(integers=np.array([2**31 - 2])), seeds, (x, x), 0, 1).state.integers == [
        2**31 - 1
    ]


class Counters(keras.layers.Layer):
    """Counts its calls in variables of several integer types, each from a start of its own."""

    STARTS = {"uint32": 2**32 - 4, "int8": -5, "int32": -1, "uint8": 3}

    def build(self, shape):
        for dtype in self.STARTS:
            setattr(self, dtype, self.add_weight(shape=(), dtype=dtype, initializer="zeros", trainable=False))

    def call(self, x):
        for dtype in self.STARTS:
            variable = getattr(self, dtype)
            variable.assign(variable + keras.ops.cast(1, dtype))
        return x


@pytest.mark.parametrize("name", KERNELS)
def test_integers_of_every_kind_come_back_as_they_are(name):
    x = np.zeros((3, 4, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), Counters(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layout, state = prepared(model, (x, x))
    paths = [entry.path for entry in layout.entries if entry.integer]
    assert len(paths) == 5 and layout.iterations == 4
    before = np.array([*Counters.STARTS.values(), 7])
    chosen = kernel.make(name, model, layout)
    after = chosen.train(state._replace(integers=before), np.zeros((0, 2), "int32"), (x, x), 0, 3).state
    np.testing.assert_array_equal(after.integers, before + 3)


@keras.saving.register_keras_serializable("spark_keras_checks")
class OwnLayer(keras.layers.Layer):
    pass


def test_what_may_convolve_is_left_out_of_the_loop():
    def chosen(*layers, **options):
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse", **options)
        return kernel.choose(model, 10**6, 32).kernel

    assert chosen(keras.layers.MaxPooling2D(), keras.layers.BatchNormalization()) == "scan"
    assert chosen(keras.layers.Embedding(9, 2), keras.layers.Bidirectional(keras.layers.LSTM(2))) == "scan"
    assert chosen(keras.layers.SeparableConv2D(2, 3)) == "jit"
    assert chosen(keras.layers.TimeDistributed(keras.layers.Conv1D(2, 3))) == "jit"
    assert chosen(keras.Sequential([keras.layers.Conv2D(2, 3)])) == "jit"
    assert chosen(OwnLayer()) == "jit"
    assert chosen(run_eagerly=True) == chosen(jit_compile=False) == "steps"
