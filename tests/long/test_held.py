"""What training changes beside a model's weights, its optimizer and its metrics; without Spark, on each backend."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from held_models import ROWS, STEPS, Growing, X, Y, alone, dense, package, prepared, warm
from rounds import BACKEND, KERNELS

from spark_keras.backend import kernels
from spark_keras.keras_model import held, metrics
from spark_keras.keras_model import state as states
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.state import Layout, State
from spark_keras.training.rules.mean import start_state, weighted_mean

pytestmark = pytest.mark.oldest


@package
class Inside(keras.losses.Loss):
    """The same, with the loss that counts inside of a dict of lists."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.losses = {"of": [Growing()]}

    def call(self, y, predicted):
        return self.losses["of"][0].call(y, predicted)


@package
class GrowingPenalty(keras.regularizers.Regularizer):
    def __init__(self):
        self.n = keras.Variable(0.0, trainable=False)

    def __call__(self, kernel):
        self.n.assign_add(0.1)
        return self.n * keras.ops.sum(keras.ops.square(kernel))

    def get_config(self):
        return {}


MODELS = {
    "a loss": lambda: dense(Growing()),
    "a loss in a dict": lambda: dense({"out": Growing()}),
    "a loss inside of a loss": lambda: dense(Inside()),
    "a regularizer": lambda: dense("mse", GrowingPenalty()),
    "a model with two optimizers": warm,
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("member", [*MODELS][: None if BACKEND != "jax" else -1])
def test_a_round_begins_with_its_state_and_ends_as_plain_keras(member, name):
    """On JAX, Keras' trainer drops what is assigned to a variable of a loss or a regularizer; so do rounds."""
    keras.utils.set_random_seed(1)
    model, labels = MODELS[member](), {"out": Y} if member == "a loss in a dict" else Y
    layout, before = prepared(model, labels)
    chosen, seeds = kernels.make(name, model, layout), np.zeros((0, 2), "int32")
    first, again = (chosen.train(before, seeds, (X, labels), 0, STEPS).state for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.integers, again.integers)
    states.write(model, layout, before)
    y = keras.tree.map_structure(lambda y: y.reshape(-1, 1), labels)
    model.fit(X.reshape(-1, 3), y, batch_size=ROWS, shuffle=False, verbose=0)
    after = states.read(model, layout)
    np.testing.assert_allclose(first.values, after.values, atol=1e-5)
    np.testing.assert_array_equal(first.integers, after.integers)
    assert not np.array_equal(after.values, before.values)


def test_what_a_callback_sets_reaches_a_step_wherever_it_is_held():
    """On JAX, too, where plain Keras has compiled the first value in."""
    model = dense(Growing())
    layout, state = prepared(model)
    chosen = kernels.make(KERNELS[0], model, layout)
    place = next(entry for entry in layout.entries if entry.path == model.loss.n.path)
    seeds, losses = np.zeros((0, 2), "int32"), []
    for n in (0.0, 1.0):
        state.values[place.start] = n
        losses.append(metrics.metric_results(model, chosen.evaluate(state, (X, Y), 1))["loss"])
        chosen.train(state, seeds, (X, Y), 0, 1)
    assert losses[1] == pytest.approx(2 * losses[0]) if BACKEND != "jax" else losses[0] == 0 or losses[1] != losses[0]


@package
class Seeded(keras.losses.Loss):
    """Noise from a generator of its own, and from none."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.generator = keras.random.SeedGenerator(1)

    def call(self, y, predicted):
        noise = keras.random.normal(keras.ops.shape(y), seed=self.generator)
        if BACKEND != "jax":  # Keras on JAX refuses numbers without a generator
            noise = noise + keras.random.normal(keras.ops.shape(y))
        return keras.ops.mean(keras.ops.square(y + noise - predicted), -1)


@pytest.mark.parametrize("name", KERNELS)
def test_random_numbers_of_a_loss_follow_from_the_rounds_seeds(name):
    model = dense(Seeded())
    layout, state = prepared(model)
    count = len(states.seed_variables(model))
    assert count == (2 if BACKEND == "tensorflow" else 1)

    def trained(seed):
        seeds = np.random.default_rng(seed).integers(0, 1000, (count, 2)).astype("int32")
        return kernels.make(name, model, layout).train(state, seeds, (X, Y), 0, STEPS).state.values

    first = trained(0)
    keras.random.normal((1,))  # as in another process, where other numbers were drawn before
    np.testing.assert_array_equal(trained(0), first)
    # On JAX, Keras compiles them into its own steps.
    assert np.array_equal(trained(1), first) == (BACKEND == "jax" and name == "steps")


def test_plain_models_have_the_layout_that_they_always_had():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
    encoder.compile("adam", "mse")
    encoder.fit(X[0], np.zeros((ROWS, 4)), verbose=0)  # what it was trained with is not trained again
    model = keras.Sequential([encoder, keras.layers.Dropout(0.1), keras.layers.Dense(1)])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(use_ema=True, gradient_accumulation_steps=2))
    model.compile(optimizer, keras.losses.Huber(), metrics=["mae", keras.metrics.RootMeanSquaredError()])
    layout, _ = prepared(model)
    expected = [*model.trainable_weights, *model.non_trainable_weights, *model.optimizer.variables]
    assert [entry.path for entry in layout.entries] == [variable.path for variable in expected]
    assert held.is_plain(model) and held.follows_keras(model)


def test_each_optimizer_has_its_rate_from_the_driver_and_goes_on_with_its_moments_where_told():
    # One weight; rate and momentum of a first optimizer, then of a second one; a step counter of each.
    layout = Layout((), "float32", (5, 2), (1, 0), 0, 1, (), further=((1, 3),))
    shared, own = (
        State(np.array(values, "float32"), np.array(steps))
        for values, steps in (
            ([1, 0.1, 2, 0.2, 3], [7, 8]),
            ([4, 5, 6, 7, 8], [1, 2]),
        )
    )
    fresh = State(np.array([0, 9, 0, 9, 0], "float32"), np.array([0, 0]))
    local = start_state(shared, own, fresh, layout, "local")
    np.testing.assert_allclose(local.values, [1, 0.1, 6, 0.2, 8])
    np.testing.assert_array_equal(local.integers, [7, 8])
    reset = start_state(shared, own, fresh, layout, "reset")
    np.testing.assert_allclose(reset.values, [1, 0.1, 0, 0.2, 0])
    np.testing.assert_array_equal(reset.integers, [0, 0])


def test_what_a_stateful_layer_remembers_stays_with_its_worker():
    layout = Layout((), "float32", (6, 0), (6, 0), None, None, (), local=(slice(1, 4),))
    states_of = [State(np.arange(6, dtype="float32") + 10 * worker, np.zeros(0, "int64")) for worker in (0, 1)]
    for piece in (2, 100):
        mean = weighted_mean([(state, 3) for state in states_of], layout, states_of[0], piece)
        np.testing.assert_array_equal(mean.values, [5, 1, 2, 3, 9, 10])
    begin = start_state(mean, states_of[1], None, layout, "average")
    np.testing.assert_array_equal(begin.values, [5, 11, 12, 13, 9, 10])
    np.testing.assert_array_equal(mean.values, [5, 1, 2, 3, 9, 10])


STATEFUL = {
    "stacked": ((4, 2), lambda: keras.layers.RNN([keras.layers.GRUCell(3), keras.layers.LSTMCell(2)], stateful=True)),
    "bidirectional": ((4, 2), lambda: keras.layers.Bidirectional(keras.layers.SimpleRNN(3, stateful=True))),
    "convolutional": ((4, 5, 2), lambda: keras.layers.ConvLSTM1D(3, 2, stateful=True)),
    "nested": ((4, 2), lambda: keras.Sequential([keras.layers.Masking(), keras.layers.GRU(3, stateful=True)])),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_stateful_layers_begin_each_sequence_anew_in_batches_of_any_size(name):
    shape, layer = STATEFUL[name]
    model = keras.Sequential([keras.Input(batch_shape=(8, *shape)), layer()])
    x = np.random.default_rng(1).normal(size=(24, *shape)).astype("float32")
    expected = alone(model, x)
    # Called directly: on JAX, predict() forgets.
    going_on = [states.to_numpy(model(x[8:16])) for _ in range(2)]
    assert np.abs(going_on[1] - expected[8:16]).max() > 1e-3
    applied = held.begin_anew(KerasArchive.of(model).load())
    for rows in (24, 5, 24):
        np.testing.assert_allclose(applied.predict_on_batch(x[:rows]), expected[:rows], atol=1e-5)
