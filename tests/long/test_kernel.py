"""How rounds are compiled, and what they are given: neither may change what a round computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from spark_keras import KerasRegressor
from spark_keras.backend import arrays, choose, kernels, tensorflow_round, xla_rule
from spark_keras.executor.aligned import aligned
from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states


def sequential(*layers):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


class OwnStep(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


class AlwaysNoisy(keras.layers.GaussianNoise):
    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


@pytest.mark.parametrize("name", ["steps", "graph"])
def test_a_model_that_is_random_when_it_predicts_is_evaluated_to_the_same_bits(name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), AlwaysNoisy(1.0), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((2, 4, 3), "float32"), np.ones((2, 4, 1), "float32")
    first_step.build_symbolically(model, (x[0], y[0]))
    layout = states.layout_of(model)
    evaluate = kernels.make(name, model, layout).evaluate
    before = states.read(model, layout)
    batches = tuple(map(arrays.to_tensor(), (x, y)))
    first = evaluate(before, batches, 2)
    # As in another process, where other numbers were drawn before.
    for variable in states.seed_variables(model):
        variable.assign(keras.ops.ones_like(variable))
    np.testing.assert_array_equal(evaluate(before, batches, 2), first)


@pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "misaligned"])
@pytest.mark.parametrize("optimizer", ["adam", "nadam"])
def test_a_state_that_comes_in_the_same_memory_is_read_anew(optimizer, offset):
    """As from shared memory, round after round; with nadam, rounds on variables."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 8, 3)).astype("float32"), rng.normal(size=(4, 8, 1)).astype("float32")
    first_step.build_symbolically(model, (x[0], y[0]))
    layout = states.layout_of(model)
    seeds = np.array([[1, 2]], "int32")
    batches = tuple(map(arrays.to_tensor(), (x, y)))
    memory = aligned((layout.sizes[0] + offset,), np.dtype(layout.dtype))[offset:]
    after = states.read(model, layout)
    train = kernels.make("xla", model, layout).train
    for step in range(3):
        # Each time by a kernel that has seen nothing else.
        expected = kernels.make("xla", model, layout).train(after, seeds + step, batches, step, 2)
        memory[:] = after.values
        result = train(states.State(memory, after.integers), seeds + step, batches, step, 2)
        kept = [np.array(part) for part in (*result.state, result.metrics)]
        np.testing.assert_array_equal(memory, after.values)
        memory[:] = np.nan
        for got, before, wanted in zip((*result.state, result.metrics), kept, (*expected.state, expected.metrics)):
            np.testing.assert_array_equal(got, before)
            np.testing.assert_array_equal(got, wanted)
        after = states.State(*kept[:2])


class OwnLoss(keras.losses.MeanSquaredError):
    pass


class OwnMetric(keras.metrics.MeanSquaredError):
    pass


class OwnOptimizer(keras.optimizers.SGD):
    pass


def excluding():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


STATELESS = {
    "Keras' own parts": (lambda: ["adam", OwnLoss(), None, ["mae"]], True),
    "exclusions from weight decay": (lambda: [excluding(), "mse"], True),
    "a metric of one's own": (lambda: ["adam", "mse", None, [OwnMetric()]], False),
    "an optimizer of one's own": (lambda: [OwnOptimizer(), "mse"], False),
    "an optimizer that was never compared": (lambda: ["nadam", "mse"], False),
    "accumulated gradients": (lambda: [keras.optimizers.SGD(gradient_accumulation_steps=2), "mse"], False),
    "averaged weights": (lambda: [keras.optimizers.SGD(use_ema=True), "mse"], False),
    "a scaled loss": (lambda: [keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "mse"], False),
}


@pytest.mark.parametrize("compiled", STATELESS)
def test_rounds_without_variables_are_for_what_changes_them_through_keras(compiled):
    arguments, stateless = STATELESS[compiled]
    for layer, possible in ((keras.layers.Rescaling(2.0), stateless), (keras.layers.Conv2D(1, 3), False)):
        model = sequential(layer)
        model.compile(*arguments())
        first_step.build_symbolically(model, (np.zeros((7, 8, 8, 1)), np.zeros((7, 2))))
        chosen = kernels.make("xla", model, states.layout_of(model))
        assert isinstance(chosen, tensorflow_round.StatelessKernel) == possible


class CountedLoss(keras.losses.Loss):
    """The first call's loss is 1, the second one's 2, …"""

    def __init__(self):
        super().__init__()
        self.calls = keras.Variable(0.0, trainable=False)

    def call(self, y, predicted):
        self.calls.assign(self.calls + 1)
        return keras.ops.mean(0 * predicted, -1) + self.calls


def test_a_loss_that_counts_and_a_layer_without_a_generator_of_its_own_go_on_from_minibatch_to_minibatch():
    x, y = np.ones((3, 4, 2), "float32"), np.ones((3, 4, 1), "float32")

    def losses(loss, *layers):
        """(Sum over rows, rows) of a round of one minibatch, and of one of three that are alike."""
        model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(keras.optimizers.SGD(0.0), loss)
        first_step.build(model, (x[0], y[0]))
        layout = states.layout_of(model)
        seeds = np.arange(2 * len(states.seed_variables(model)), dtype="int32").reshape(-1, 2)
        chosen, before = kernels.make("xla", model, layout), states.read(model, layout)
        assert isinstance(chosen, tensorflow_round.StatelessKernel)
        return [chosen.train(before, seeds, (x, y), 0, steps).metrics for steps in (1, 3)]

    # Each round from the same state.
    np.testing.assert_array_equal(losses(CountedLoss()), [[4 * 1, 4], [4 * (1 + 2 + 3), 12]])
    keras.utils.set_random_seed(0)
    noise = keras.layers.Activation(lambda x: x + keras.random.normal(keras.ops.shape(x)))
    one, three = losses("mse", noise)
    assert three[0] != pytest.approx(3 * one[0], rel=0.01)
    np.testing.assert_array_equal(losses("mse", noise), [one, three])


def test_the_rule_weighs_what_xla_saves_against_compiling():
    small = sequential()  # 130 weights: XLA saves what a step costs beside arithmetic, a fifth of a millisecond
    assert [choose.choose(small, count, 32).kernel for count in (6400, 6600)] == ["graph", "xla"]
    wide = sequential(keras.layers.Flatten(), keras.layers.Dense(2048), keras.layers.Dense(2048))
    weights = wide.count_params()
    pays = 1.3 / (2e-4 + 2.7e-9 * weights - 1.5e-12 * 6 * 64 * weights)
    assert pays < 150
    assert [choose.choose(wide, int(pays * share), 64).kernel for share in (0.9, 1.1)] == ["graph", "xla"]
    # In large minibatches arithmetic and random numbers outweigh the rest.
    assert choose.choose(wide, 10**6, 2048).kernel == "graph"
    assert choose.choose(small, 10**6, 512).kernel == "xla"
    assert choose.choose(sequential(keras.layers.Dropout(0.1)), 10**6, 512).kernel == "graph"


def test_xla_computes_forward_passes_that_are_not_large():
    wide = sequential(keras.layers.Flatten(), keras.layers.Dense(1000))  # 67,002 weights
    assert [xla_rule.forward_gains(wide, rows) for rows in (1024, 7462, 7463)] == [True, True, False]
    assert not xla_rule.forward_gains(sequential(keras.layers.Conv2D(1, 3)), 1)


def test_the_rule_leaves_to_tensorflow_what_xla_runs_slowly_or_does_not_know():
    convolution = sequential(keras.layers.Conv2D(2, 3))
    assert choose.choose(convolution, 10**6, 32).kernel == "graph"
    inputs = keras.Input((3,))
    own = OwnStep(inputs, keras.layers.Dense(1)(inputs))
    own.compile("sgd", "mse")
    assert choose.choose(own, 10**6, 32).kernel == "graph"
    assert choose.choose(convolution, 1, 32, jit=True).kernel == "xla"
    assert choose.choose(sequential(), 10**6, 32, jit=False).kernel == "graph"
    eager = sequential()
    eager.compile("sgd", "mse", run_eagerly=True)
    assert choose.choose(eager, 10**6, 32, jit=True).kernel == "steps"


@pytest.mark.parametrize("value", ["yes", 2])
def test_a_wrong_jit_compile_is_refused(value):
    with pytest.raises(TypeError, match='Param `jitCompile`. Received: .* Expected: "auto", True, False or "measure"'):
        KerasRegressor().setJitCompile(value)
