"""Training while states are averaged, compared with loops in numpy and with plain Keras, without Spark."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from in_process import Kept, train

from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states
from spark_keras.training.requests import Hold
from spark_keras.training.worker.ahead import TrainedAhead
from spark_keras.training.workers.in_process import InProcessWorkers

FEATURES = np.random.default_rng(5).normal(size=(120, 4)).astype("float32")
LABELS = np.sin(FEATURES.sum(1, keepdims=True)).astype("float32")
DATA = (FEATURES, LABELS)


def network(optimizer="adam"):
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(6, "relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def linear(rate=0.05):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def bits(model):
    state = states.read(model, states.layout_of(model, whole=True))
    return state.values.tobytes(), state.integers.tobytes()


@pytest.fixture(scope="module")
def compiled():
    """Workers whose replica has its programs for all tests."""
    return InProcessWorkers.of_arrays(network(), DATA, 1, 8)


def fit(one, overlap=True, workers=3, team=InProcessWorkers, data=DATA, **settings):
    """(history, rounds, bits) of a fit."""
    model = network()
    first_step.build(model, one.task.columns.sample())
    team = team.dealt(one.task._replace(overlap=overlap), data, workers, DATA, one.replica)
    settings = {"overlap": overlap, "optimizer_state": "local", "epochs": 3, "frequency": 2} | settings
    outcome = train(model, None, workers=team, batch_size=8, **settings)
    return outcome.history, outcome.rounds, bits(model)


# --- by hand -------------------------------------------------------------------------------------------------------


def test_one_worker_has_nothing_to_correct(compiled):
    assert fit(compiled, workers=1) == fit(compiled, overlap=False, workers=1)


def decoupled(workers, frequency, size, epochs, rate):
    """Shen et al. 2019, algorithm 1, on a linear model: the average of what was sent, plus what was trained since."""
    x, y = (each.reshape(workers, 120 // workers, -1).astype("float64") for each in DATA)
    sent, average = [np.zeros((4, 1))] * workers, np.zeros((4, 1))
    for _, start in itertools.product(range(epochs), range(0, 120 // workers, size * frequency)):
        following = []
        for worker in range(workers):
            own = sent[worker]
            for first in range(start, min(start + size * frequency, 120 // workers), size):
                rows, labels = x[worker, first : first + size], y[worker, first : first + size]
                own = own - rate * 2 / len(rows) * rows.T @ (rows @ own - labels)
            following.append(average + own - sent[worker])
        sent, average = following, sum(following) / workers
    return average


@pytest.mark.parametrize("workers, frequency", [(2, 1), (3, 2), (6, 4)])
def test_workers_are_those_of_the_published_algorithm_in_numpy(workers, frequency):
    model = linear()
    train(
        model, DATA, workers=workers, batch_size=4, frequency=frequency, epochs=3, overlap=True, optimizer_state="local"
    )
    expected = decoupled(workers, frequency, 4, 3, 0.05)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-4, atol=1e-6)


def test_rounds_are_those_of_a_loop_with_keras():
    """Adam on each worker; one Keras model takes the steps of all of them in turn."""
    model, by_keras = (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")]) for _ in range(2)
    )
    for each in (model, by_keras):
        each.compile(keras.optimizers.Adam(0.01), "mse")
    train(model, DATA, workers=2, batch_size=20, frequency=1, epochs=2, overlap=True, optimizer_state="local")
    first_step.build(by_keras, (FEATURES[:1], LABELS[:1]))
    weights, optimizers = by_keras.get_weights(), [[states.to_numpy(v.value) for v in by_keras.optimizer.variables]] * 2
    sent, average = [weights, weights], weights
    for _, minibatch in itertools.product(range(2), range(3)):
        following = []
        for worker in range(2):
            rows = slice(60 * worker + 20 * minibatch, 60 * worker + 20 * (minibatch + 1))
            by_keras.set_weights(sent[worker])
            for variable, value in zip(by_keras.optimizer.variables, optimizers[worker]):
                variable.assign(value)
            by_keras.train_on_batch(FEATURES[rows], LABELS[rows])
            optimizers[worker] = [states.to_numpy(v.value) for v in by_keras.optimizer.variables]
            trained = by_keras.get_weights()
            following.append([own + (a - s) for own, a, s in zip(trained, average, sent[worker])])
        sent, average = following, [(one + other) / 2 for one, other in zip(*following)]
    for one, other in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_workers_stay_together_and_learn_as_those_that_wait(compiled):
    losses = [fit(compiled, overlap, epochs=25, workers=4)[0]["val_loss"] for overlap in (False, True)]
    assert losses[1][-1] == pytest.approx(losses[0][-1], rel=0.1)
    assert losses[1][-1] < 0.7 * losses[1][0]


def test_counters_go_on_and_a_rate_that_a_callback_sets_reaches_the_workers(compiled):
    model = network()
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    first_step.build(model, compiled.task.columns.sample())
    team = InProcessWorkers.dealt(compiled.task._replace(overlap=True), DATA, [40, 56, 24], None, compiled.replica)
    train(
        model, None, workers=team, batch_size=8, frequency=2, epochs=2, overlap=True, optimizer_state="local",
        callbacks=[halve],
    )  # fmt: skip
    assert int(model.optimizer.iterations) == 2 * 7
    assert float(model.optimizer.learning_rate) == np.float32(0.001) / 4


def test_updates_that_are_not_finite_are_left_out_and_trained_on_by_nobody(compiled):
    features = FEATURES.copy()
    features[45] = np.inf  # the second of three workers
    model = network()
    first_step.build(model, compiled.task.columns.sample())
    task = compiled.task._replace(overlap=True)
    team = InProcessWorkers.dealt(task, (features, LABELS), 3, None, compiled.replica)
    settings = {"overlap": True, "optimizer_state": "local", "non_finite": "skip", "epochs": 2}
    outcome = train(model, None, workers=team, batch_size=8, frequency=1, **settings)
    assert outcome.non_finite == [0, 2, 0]
    assert all(np.isfinite(each).all() for each in model.get_weights())


# --- the same bits whatever happens --------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [(3,), (4, 5, 6), range(2, 40, 3)], ids=str)
def test_workers_that_are_lost_change_no_bit(compiled, lost):
    class Forgetful(InProcessWorkers):
        """Workers forget all before some requests, as new ones in their place would know nothing."""

        requests, forgotten = itertools.count(), 0

        def ask(self, questions):
            questions = list(questions)
            number = next(self.requests)
            if number in lost and not isinstance(questions[0].request, Hold):
                worker = self._workers[number % 3]
                worker._ahead = TrainedAhead(self.replica, worker._trained)
                type(self).forgotten += 1
            return super().ask(questions)

    assert fit(compiled, team=Forgetful) == fit(compiled)
    assert Forgetful.forgotten


def test_bits_do_not_depend_on_who_trains_ahead(compiled):
    class Waiting(InProcessWorkers):
        """Workers that train only what they are asked for."""

        def ask(self, questions):
            for worker in self._workers:
                worker._ahead.go_on = lambda *_: None
            return super().ask(questions)

    assert fit(compiled, team=Waiting) == fit(compiled)


@pytest.mark.parametrize("die_after", [0, 2, 5])
def test_a_fit_goes_on_from_a_checkpoint_to_the_same_bits(compiled, die_after):
    killed = Kept(die_after)
    with pytest.raises(KeyboardInterrupt):
        fit(compiled, checkpoints=killed)
    assert fit(compiled, checkpoints=Kept(snapshot=killed.snapshot)) == fit(compiled)
