"""Frozen weights do not travel, and a fit gives the bits that it has where they do; without Spark."""

from __future__ import annotations

import os

import keras
import numpy as np
import pytest
from in_process import train
from rounds import BACKEND, KERNELS

from spark_keras.executor.cache import RecentlyUsed
from spark_keras.keras_model import frozen
from spark_keras.keras_model import state as states
from spark_keras.training.worker import replica
from spark_keras.training.workers.in_process import InProcessWorkers

RANDOM = np.random.default_rng(5)
X, Y = RANDOM.normal(size=(60, 6)).astype("float32"), RANDOM.normal(size=(60, 1)).astype("float32")
TOKENS = RANDOM.integers(0, 9, (60, 4)).astype("int32")


def compiled(model, optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def sequential(*layers, shape=(6,), dtype="float32", **compiling):
    return compiled(keras.Sequential([keras.Input(shape, dtype=dtype), *layers]), **compiling)


def backbone(seed=1, **compiling):
    """A frozen layer of 6 × 50 + 50 weights under a head of 50 + 1."""
    keras.utils.set_random_seed(seed)
    return sequential(keras.layers.Dense(50, "tanh", trainable=False), keras.layers.Dense(1), **compiling)


def frozen_statistics():
    keras.utils.set_random_seed(1)
    layers = keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dense(1)
    model = sequential(*layers)
    model.layers[1].trainable = False
    return compiled(model)


def low_rank():
    keras.utils.set_random_seed(1)
    model = sequential(keras.layers.Dense(8), keras.layers.Dense(1))
    model.layers[0].enable_lora(2)
    return compiled(model)


def low_rank_embedding():
    keras.utils.set_random_seed(1)
    layers = keras.layers.Embedding(9, 3), keras.layers.Flatten(), keras.layers.Dense(1)
    model = sequential(*layers, shape=(4,), dtype="int32")
    model.layers[0].enable_lora(2)
    return compiled(model)


def half():
    keras.utils.set_random_seed(1)
    first = keras.layers.Dense(8, "relu", dtype="bfloat16", trainable=False)
    return sequential(first, keras.layers.Dense(1, dtype="mixed_bfloat16"))


def averaged():
    return backbone(optimizer=keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.8))


# Model, and how many of its weights are frozen.
MODELS = {
    "backbone": (backbone, 350),
    "batch normalization": (frozen_statistics, 16),
    "low rank": (low_rank, 48),
    "low-rank embedding": (low_rank_embedding, 27),
    "mixed types": (half, 56),
    "averages of weights": (averaged, 350),
}


def features(model):
    return TOKENS if model.input_shape == (None, 4) else X


def bits(model):
    return [np.asarray(states.to_numpy(variable.value)).tobytes() for variable in states.all_variables(model)]


def size(model):
    return len(states.read(model, states.layout_of(model)).values)


def everything_travels(monkeypatch):
    monkeypatch.setattr(frozen, "candidates", lambda model: [])
    # Replicas of before have states without frozen weights.
    monkeypatch.setattr(replica, "_kept", RecentlyUsed(2))


@pytest.mark.parametrize(
    "name, kernel",
    [*(("backbone", kernel) for kernel in KERNELS), *((name, KERNELS[-2:][0]) for name in list(MODELS)[1:])],
)
def test_a_fit_has_the_bits_of_one_in_which_all_weights_travel(name, kernel, monkeypatch):
    build, count = MODELS[name]

    def fit():
        model = build()
        data = features(model), Y
        settings = {"workers": [25, 20, 15], "epochs": 2, "frequency": 2, "shuffle": True, "batch_size": 4}
        outcome = train(model, data, validation=data, kernel=kernel, **settings)
        assert outcome.kernel == kernel
        return bits(model), outcome.history, size(model)

    less = fit()
    everything_travels(monkeypatch)
    more = fit()
    assert less[:2] == more[:2]
    assert more[2] - less[2] == count


@pytest.mark.parametrize("optimizer_state", ["local", "reset"])
def test_optimizer_states_that_do_not_travel_either_give_the_same_bits(optimizer_state, monkeypatch):
    def fit():
        model = backbone()
        train(model, (X, Y), workers=3, epochs=2, frequency=2, batch_size=4, optimizer_state=optimizer_state)
        return bits(model)

    less = fit()
    everything_travels(monkeypatch)
    assert less == fit()


def test_one_worker_is_model_fit():
    one, other = frozen_statistics(), frozen_statistics()
    train(one, (X, Y), epochs=2, batch_size=8, frequency=3)
    other.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    for here, there in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)


def test_workers_of_an_earlier_fit_get_the_frozen_weights_of_the_next_one():
    workers = InProcessWorkers.of_arrays(backbone(), (X, Y), 2, 8)
    trained = []
    for seed in (1, 2, 1):
        expected, model = backbone(seed), backbone(seed)
        train(expected, (X, Y), workers=2, batch_size=8)
        InProcessWorkers.of_arrays(model, (X, Y), 2, 8)  # builds it
        train(model, None, workers=workers, batch_size=8)
        assert bits(model) == bits(expected)
        trained.append(bits(model))
    assert trained[0] == trained[2] != trained[1]


class Shift(keras.callbacks.Callback):
    """Changes a frozen weight after an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        layer = self.model.layers[0]
        layer.set_weights([weight + 0.5 for weight in layer.get_weights()])


def test_a_callback_that_changes_a_frozen_weight_is_followed(monkeypatch):
    def fit():
        model = backbone()
        train(model, (X, Y), workers=2, epochs=3, frequency=2, batch_size=8, callbacks=[Shift()])
        return bits(model)

    less = fit()
    everything_travels(monkeypatch)
    assert less == fit()


@keras.saving.register_keras_serializable("frozen weights")
class Counting(keras.layers.Dense):
    """Its code assigns its bias, trained or not."""

    def call(self, inputs, training=False):
        if training:
            self.bias.assign(self.bias + 1.0)
        return super().call(inputs)


@keras.saving.register_keras_serializable("frozen weights")
class Plain(keras.layers.Dense):
    """Code that is not Keras' own, and assigns nothing."""

    def call(self, inputs, training=False):
        return super().call(inputs) * 1.0


@pytest.mark.parametrize("layer, count", [(Plain, 350), (Counting, 300)])
def test_what_own_code_assigns_though_it_is_frozen_travels(layer, count, monkeypatch):
    def fit():
        keras.utils.set_random_seed(1)
        model = sequential(layer(50, trainable=False), keras.layers.Dense(1))
        train(model, (X, Y), workers=2, epochs=1, frequency=2, batch_size=8)
        return bits(model), size(model), model.layers[0].bias

    less, smaller, bias = fit()
    everything_travels(monkeypatch)
    more, larger, _ = fit()
    assert less == more and larger - smaller == count
    # Four minibatches of each worker.
    assert np.all(states.to_numpy(bias.value) == (4.0 if layer is Counting else 0.0))


def test_spectral_normalization_assigns_the_kernel_inside_of_it():
    inner = keras.layers.SpectralNormalization(keras.layers.Dense(8, trainable=False))
    model = sequential(inner, keras.layers.Dense(1))
    train(model, (X, Y), workers=2, frequency=2, batch_size=8)
    assert frozen.of(model) == []


@keras.saving.register_keras_serializable("frozen weights")
class Late(keras.layers.Dense):
    """Assigns its bias only in a step that nobody has looked at before the fit."""

    def call(self, inputs, training=False):
        if "ASSIGNS_LATE" in os.environ:
            self.bias.assign(self.bias + 1.0)
        return super().call(inputs)


@pytest.mark.skipif(BACKEND == "jax", reason="What JAX's step changes beside is lost, as in Keras.")
def test_a_frozen_weight_that_is_assigned_unforeseen_is_an_error(monkeypatch):
    model = sequential(Late(50, trainable=False), keras.layers.Dense(1))
    workers = InProcessWorkers.of_arrays(model, (X, Y), 2, 8)
    monkeypatch.setenv("ASSIGNS_LATE", "1")
    with pytest.raises(ValueError, match=r"(?s)assigns a frozen weight.*bias.*add_weight\(trainable=False\)"):
        train(model, None, workers=workers, batch_size=8)


def test_what_a_layer_changes_without_gradients_is_not_frozen():
    model = sequential(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(1))
    workers = InProcessWorkers.of_arrays(model, (X, Y), 1, 8)
    assert frozen.of(model) == frozen.of(workers.replica.model) == []
