"""Rounds of every kernel, compared with plain Keras and closed forms; run on JAX and PyTorch, too."""

from __future__ import annotations

from typing import ClassVar

import keras
import numpy as np
import pytest
from rounds import BACKEND, BATCH, KERNELS, STEPS, minibatches, prepared, prepared_from, two_outputs

from spark_keras.backend import kernels
from spark_keras.keras_model import metrics as metric_states
from spark_keras.keras_model import state as states

# They rely on what Keras does not promise.
oldest = pytest.mark.oldest

KERAS = tuple(int(part) for part in keras.__version__.split(".")[:2])


def padded(batches):
    """With two more minibatches, of numbers that would show if they were trained."""

    def pad(stacked):
        value = np.nan if stacked.dtype.kind == "f" else 0
        return np.concatenate([stacked, np.full((2, *stacked.shape[1:]), value, stacked.dtype)])

    return keras.tree.map_structure(pad, batches)


def in_one_piece(batches):
    return keras.tree.map_structure(lambda stacked: stacked.reshape(-1, *stacked.shape[2:]), batches)


class SeedTorch(keras.callbacks.Callback):
    """A Dropout without a seed draws from PyTorch's own generator, and so does Keras' loader before the first batch."""

    def __init__(self, seed):
        super().__init__()
        self.seed = int(seed)

    def on_train_batch_begin(self, batch, logs=None):
        import torch

        if batch == 0:
            torch.manual_seed(self.seed)


def fitted_by_keras(model, batches, seeds):
    for variable, seed in zip(states.seed_variables(model), seeds):
        variable.assign(seed.astype("uint32"))
    callbacks = [SeedTorch(seeds[0, 0])] if BACKEND == "torch" else []
    x, y, weights = in_one_piece(batches)
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    history = model.fit(x, y, sample_weight=weights, **options).history
    return {name: values[0] for name, values in history.items()}


def nesterov():
    decaying = keras.optimizers.schedules.ExponentialDecay(0.02, 2, 0.5)
    return keras.optimizers.SGD(decaying, momentum=0.9, nesterov=True, clipnorm=0.5)


def adamw():
    optimizer = keras.optimizers.AdamW(0.02, weight_decay=0.3, clipvalue=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS = {
    "adam": lambda: "adam",
    "nesterov": nesterov,
    "adamw": adamw,
    "nadam": lambda: keras.optimizers.Nadam(0.02),
    "accumulated gradients": lambda: keras.optimizers.RMSprop(0.02, gradient_accumulation_steps=2),
    "scaled loss": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02), initial_scale=64.0),
}
ROUNDS = {
    "tensorflow": [
        pytest.param("xla", "adam", "dense", marks=oldest),
        ("xla", "adamw", "dense"),
        pytest.param("xla", "nesterov", "dense", marks=[oldest, pytest.mark.slow]),
        pytest.param("xla", "nadam", "dense", marks=pytest.mark.slow),
        pytest.param("xla", "adam", "embedding", marks=pytest.mark.slow),
        pytest.param("graph", "accumulated gradients", "dense", marks=oldest),
        pytest.param("graph", "scaled loss", "dense", marks=oldest),
        pytest.param("graph", "adamw", "convolution", marks=oldest),
        pytest.param("steps", "adam", "embedding", marks=oldest),
    ],
    "jax": [("scan", "adam", "embedding"), ("jit", "nesterov", "convolution"), ("steps", "adam", "embedding")],
    "torch": [("steps", "adam", "embedding"), ("steps", "nesterov", "convolution"), ("steps", "adamw", "dense")],
}[BACKEND]


@pytest.mark.parametrize("name, optimizer, layer", ROUNDS)
def test_a_round_equals_plain_keras(name, optimizer, layer):
    batches, seeds = minibatches(), np.array([[7, 0]], "int32")
    model = two_outputs(OPTIMIZERS[optimizer](), layer)
    layout, before = prepared(model, batches)
    kept = before.values.copy()
    chosen = kernels.make(name, model, layout)
    result = chosen.train(before, seeds, padded(batches), 0, STEPS)
    again = chosen.train(before, seeds, padded(batches), 0, STEPS)
    logs = metric_states.metric_results(model, result.metrics)
    np.testing.assert_array_equal(before.values, kept)
    np.testing.assert_array_equal(result.state.values, again.state.values)
    np.testing.assert_array_equal(result.metrics, again.metrics)

    states.write(model, layout, before)
    if name == "xla":
        model.jit_compile = True  # TensorFlow's random numbers are others in XLA
    expected = fitted_by_keras(model, batches, seeds)
    after = states.read(model, layout)
    np.testing.assert_allclose(result.state.values, after.values, atol=1e-5)
    np.testing.assert_array_equal(result.state.integers, after.integers)
    assert after.integers[layout.iterations] == STEPS
    assert logs.keys() == expected.keys()
    for metric, value in expected.items():
        assert logs[metric] == pytest.approx(value, rel=1e-5), metric


@oldest
@pytest.mark.parametrize("name", KERNELS)
def test_an_evaluation_equals_plain_keras(name):
    batches = minibatches()
    model = two_outputs(layer="embedding")
    layout, before = prepared(model, batches)
    metrics = kernels.make(name, model, layout).evaluate(before, padded(batches), STEPS)
    logs = metric_states.metric_results(model, metrics)
    x, y, weights = in_one_piece(batches)
    expected = model.evaluate(x, y, sample_weight=weights, batch_size=BATCH, verbose=0, return_dict=True)
    assert logs.keys() == expected.keys()
    for metric, value in expected.items():
        assert logs[metric] == pytest.approx(value, rel=1e-5), metric


@oldest
@pytest.mark.parametrize("name", KERNELS)
def test_what_a_layer_derives_from_its_weights_follows_the_state(name):
    x = np.random.default_rng(0).normal(3.0, 2.0, (2, 4, 3)).astype("float32")
    y = x[..., :1]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Normalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layout, state = prepared(model, (x, y))
    chosen = kernels.make(name, model, layout)
    weights, mean, variance = (slice(*bounds) for bounds in ((0, 3), (4, 7), (7, 10)))
    for shift, scale in ((0.0, 1.0), (3.0, 2.0)):  # as if adapted to other rows
        state.values[mean], state.values[variance] = shift, scale**2
        logs = metric_states.metric_results(model, chosen.evaluate(state, (x, y), 2))
        error = (x - shift) / scale @ state.values[weights, None] - y
        assert logs["loss"] == pytest.approx(np.mean(error**2), rel=1e-6)
        step = chosen.train(state, np.zeros((0, 2), "int32"), (x, y), 0, 1).state.values - state.values
        gradient = 2 * np.mean(error[0] * (x[0] - shift) / scale, axis=0)
        np.testing.assert_allclose(step[weights], -0.01 * gradient, rtol=1e-4)
    model.predict(x[0], verbose=0)  # nothing that was only traced is left in the model


class Counters(keras.layers.Layer):
    """Counts its calls in variables of several integer types, each from a start of its own."""

    STARTS: ClassVar = {"uint32": 2**32 - 4, "int8": -5, "int32": -1, "uint8": 3}

    def build(self, shape):
        for dtype in self.STARTS:
            setattr(self, dtype, self.add_weight(shape=(), dtype=dtype, initializer="zeros", trainable=False))

    def call(self, x):
        for dtype in self.STARTS:
            variable = getattr(self, dtype)
            variable.assign(variable + keras.ops.cast(1, dtype))
        return x


@oldest
@pytest.mark.parametrize("name", KERNELS)
def test_integers_of_every_kind_come_back_as_they_are(name):
    x = np.zeros((3, 4, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), Counters(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layout, state = prepared(model, (x, x))
    paths = [entry.path for entry in layout.entries if entry.integer]
    assert len(paths) == 5 and layout.iterations == 4
    before = np.array([*Counters.STARTS.values(), 7])
    chosen = kernels.make(name, model, layout)
    after = chosen.train(state._replace(integers=before), np.zeros((0, 2), "int32"), (x, x), 0, 3).state
    np.testing.assert_array_equal(after.integers, before + 3)


@keras.saving.register_keras_serializable("spark_keras_checks")
class TwoSteps(keras.Model):
    """Its train_step, in the style of the backend, takes two steps on its minibatch."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    def train_step(self, *given):
        if BACKEND != "jax":
            super().train_step(*given)
            return super().train_step(*given)
        state, data = given
        _, state = super().train_step(state, data)
        return super().train_step(state, data)


@oldest
@pytest.mark.parametrize("name", KERNELS)
def test_an_overridden_train_step_is_called(name):
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    model = TwoSteps()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    layout, before = prepared(model, (x, x[..., :1]))
    after = kernels.make(name, model, layout).train(before, np.zeros((0, 2), "int32"), (x, x[..., :1]), 0, 3).state
    weights, bias = before.values[:2, None], before.values[2]
    for minibatch in np.repeat(x, 2, axis=0):
        # Of the mean of (x·w + b − x₀)², in closed form.
        error = minibatch @ weights + bias - minibatch[:, :1]
        weights = weights - 0.1 * 2 * minibatch.T @ error / len(minibatch)
        bias = bias - 0.1 * 2 * error.mean()
    np.testing.assert_allclose(after.values[:3], [*weights[:, 0], bias], atol=1e-6)
    assert after.integers[layout.iterations] == 6


@keras.saving.register_keras_serializable("test_rounds")
class Reconstruction(keras.layers.Layer):
    """Adds a loss of its own."""

    def call(self, inputs):
        x, decoded = inputs
        self.add_loss(keras.ops.mean(keras.ops.square(x - decoded)))
        return decoded


def unlabelled():
    x = keras.Input((6,))
    model = keras.Model(x, Reconstruction()([x, keras.layers.Dense(6)(keras.layers.Dense(2)(x))]))
    model.compile("adam")
    return model


def partly_labelled():
    x = keras.Input((6,))
    model = keras.Model(x, [keras.layers.Dense(1, name="score")(x), keras.layers.Dense(2, name="other")(x)])
    model.compile("adam", ["mse", None], metrics=[["mae"], None])
    return model


@oldest
@pytest.mark.parametrize("name", KERNELS)
# Before 3.12, `Model.fit` refuses an output without a label.
@pytest.mark.parametrize("build", [unlabelled, partly_labelled][: 1 if KERAS < (3, 12) else 2])
def test_a_round_without_labels_equals_plain_keras(name, build):
    keras.utils.set_random_seed(3)
    x, y, _ = minibatches()
    x, y = x["taste"], None if build is unlabelled else [y["score"], None]
    batches = x if y is None else (x, y)
    model = build()
    first = [None if each is None else each[0] for each in y or []] or None
    layout, before = prepared_from(model, (x[0], first))
    chosen = kernels.make(name, model, layout)
    result = chosen.train(before, np.zeros((0, 2), "int32"), batches, 0, STEPS)
    evaluated = metric_states.metric_results(model, chosen.evaluate(result.state, batches, STEPS))
    logs = metric_states.metric_results(model, result.metrics)

    states.write(model, layout, before)
    flat = x.reshape(-1, 6), None if y is None else [y[0].reshape(-1, 1), None]
    options = {"batch_size": BATCH, "verbose": 0}
    expected = model.fit(*flat, shuffle=False, **options).history
    np.testing.assert_allclose(result.state.values, states.read(model, layout).values, atol=1e-5)
    assert logs == pytest.approx({metric: values[0] for metric, values in expected.items()}, rel=1e-5)
    assert evaluated == pytest.approx(model.evaluate(*flat, return_dict=True, **options), rel=1e-5)
