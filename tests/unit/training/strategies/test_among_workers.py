"""Averaging among the workers has the bits of averaging on the driver, wherever states are lost."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
from in_process import train

from spark_keras.keras_model import state as states
from spark_keras.keras_model.state import Layout, State
from spark_keras.training.requests import Average, Hold, Train
from spark_keras.training.rules.mean import weighted_mean
from spark_keras.training.worker import exchange
from spark_keras.training.worker.closure import AmongWorkers
from spark_keras.training.worker.held_states import HeldStates
from spark_keras.training.workers.in_process import InProcessWorkers

FEATURES = np.random.default_rng(5).normal(size=(120, 4)).astype("float32")
LABELS = np.sin(FEATURES.sum(1, keepdims=True)).astype("float32")
DATA = (FEATURES, LABELS)
NESTEROV = {"class_name": "SGD", "config": {"learning_rate": 0.7, "momentum": 0.9, "nesterov": True}}


def network(frozen=False):
    keras.utils.set_random_seed(2)
    first = keras.layers.Dense(6, "relu", trainable=not frozen)
    layers = [first, keras.layers.BatchNormalization(), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse")
    return model


def bits(model):
    state = states.read(model, states.layout_of(model, whole=True))
    return state.values.tobytes(), state.integers.tobytes()


def fit(among_workers=None, workers=3, outer=None, team=InProcessWorkers, frozen=False, **settings):
    """What a fit leaves: its history, its rounds and the model's bits.

    Args:
        team: the class of the workers.
    """
    model, settings = network(frozen), {"batch_size": 8, "frequency": 2, "epochs": 2} | settings
    team = team.of_arrays(model, DATA, workers, 8, DATA, among_workers=among_workers)
    optimizer = None if outer is None else keras.optimizers.get(outer)
    outcome = train(model, None, workers=team, outer=optimizer, **settings)
    return outcome.history, outcome.rounds, bits(model)


def both(workers=3, outer=None, frozen=False, optimizer_state="average", callbacks=lambda: ()):
    """The fits of the driver's averaging and of the workers'."""
    for among in (None, AmongWorkers(optimizer_state, outer)):
        settings = {"optimizer_state": optimizer_state, "callbacks": callbacks()}
        yield fit(among, workers, outer, frozen=frozen, **settings)


@pytest.mark.parametrize("workers", [1, 2, 3, 16, [7, 0, 80, 33]], ids=str)
def test_any_number_of_workers_has_the_bits_of_the_driver(workers):
    expected, among = both(workers)
    assert among == expected


@pytest.mark.parametrize("optimizer_state", ["local", "reset"])
@pytest.mark.parametrize("outer", [None, NESTEROV, "adam"], ids=["plain", "Nesterov", "Adam"])
def test_optimizers_on_either_side_have_the_bits_of_the_driver(optimizer_state, outer):
    expected, among = both(3, outer, optimizer_state=optimizer_state, frozen=outer is not None)
    assert among == expected


def test_what_a_callback_changes_reaches_the_workers():
    def callbacks():
        return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)]

    expected, among = both(3, NESTEROV, callbacks=callbacks)
    assert among == expected


# --- states that get lost ------------------------------------------------------------------------------------------


class Forgetful(InProcessWorkers):
    """Some workers forget all that they hold before some requests, as new ones in their place would know nothing.

    Args:
        forget: of the number of a request, its kind and the worker's shard.
    """

    forget = staticmethod(lambda number, request, shard: False)

    def ask(self, questions):
        self.requests = getattr(self, "requests", itertools.count())
        questions = list(questions)
        number, request = next(self.requests), questions[0].request
        for shard, worker in enumerate(self._workers):
            if not isinstance(request, Hold) and self.forget(number, request, shard):
                worker._held = HeldStates(shard, self.replica, self.task.among_workers, self.task.settings)
        return super().ask(questions)


FORGETS = {
    "one before it trains": lambda number, request, shard: isinstance(request, Train) and number == 7 and shard == 1,
    "one before they average": lambda number, request, shard: (
        isinstance(request, Average) and number == 8 and shard == 0
    ),
    "all at once": lambda number, request, shard: number == 9,
    "now and then": lambda number, request, shard: number < 40 and (number * 7 + shard * 3) % 11 == 0,
    "all, now and then": lambda number, request, shard: number in (12, 25, 38),
}


@functools.cache
def undisturbed(optimizer_state):
    return fit(outer=NESTEROV, frequency=1, optimizer_state=optimizer_state)


@pytest.mark.parametrize("optimizer_state", ["average", "local", "reset"])
@pytest.mark.parametrize("lost", FORGETS)
def test_states_that_are_lost_change_no_bit(lost, optimizer_state):
    class Team(Forgetful):
        forget = staticmethod(FORGETS[lost])

    among = AmongWorkers(optimizer_state, NESTEROV)
    found = fit(among, outer=NESTEROV, team=Team, frequency=1, optimizer_state=optimizer_state)
    assert found == undisturbed(optimizer_state)


# --- the exchange --------------------------------------------------------------------------------------------------


def layout(size, moments=(), local=()):
    return Layout((), "float32", (size, 2), (size, 2), None, None, moments, local=local)


@pytest.mark.parametrize("size", [3, 5000, 70_000])
@pytest.mark.parametrize("weights", [(5,), (3, 3), (4, 0, 9), (32,) * 16, (0, 0, 7, 1, 0)], ids=str)
def test_chunks_of_any_size_have_the_bits_of_one_mean(size, weights):
    random = np.random.default_rng(size)
    end = size - size // 3
    moments = ((slice(0, size // 3), slice(size // 3, 2 * (size // 3))),)
    whole = layout(size, moments, local=(slice(end, size),))
    trained = [
        State(random.normal(size=size).astype("float32"), random.integers(0, 9, 2)) if weight else None
        for weight in weights
    ]
    expected = weighted_mean(list(zip(trained, weights)), whole, State(np.zeros(size, "float32"), np.zeros(2, "int64")))
    exchanges = [exchange.Exchange(shard, weights, each, whole) for shard, each in enumerate(trained)]
    exchange.in_process(exchanges)
    for each in exchanges:
        assert each.complete
        assert each.mean.values.tobytes() == expected.values.tobytes()
        assert each.mean.integers.tolist() == expected.integers.tolist()


def test_parcels_may_come_in_any_order():
    random = np.random.default_rng(1)
    trained = [State(random.normal(size=9000).astype("float32"), np.zeros(2, "int64")) for _ in range(4)]
    exchanges = [exchange.Exchange(shard, (1, 2, 3, 4), each, layout(9000)) for shard, each in enumerate(trained)]
    underway = [(shard, parcel) for shard, each in enumerate(exchanges) for parcel in each.begin()]
    while underway:
        sender, parcel = underway.pop(random.integers(len(underway)))
        follow = exchanges[parcel.to].receive(sender, parcel.chunk, parcel.averaged, parcel.arrays)
        underway += [(parcel.to, each) for each in follow]
    expected = weighted_mean(list(zip(trained, (1, 2, 3, 4))), layout(9000), trained[0])
    assert {each.mean.values.tobytes() for each in exchanges} == {expected.values.tobytes()}


def test_a_worker_sends_and_receives_twice_the_state_however_many_they_are():
    for workers in (2, 8, 32):
        trained = State(np.zeros(64_000, "float32"), np.zeros(2, "int64"))
        exchanges = [exchange.Exchange(shard, (1,) * workers, trained, layout(64_000)) for shard in range(workers)]
        sent = [0] * workers
        underway = [(shard, parcel) for shard, each in enumerate(exchanges) for parcel in each.begin()]
        while underway:
            sender, parcel = underway.pop()
            sent[sender] += len(parcel.arrays[0])
            follow = exchanges[parcel.to].receive(sender, parcel.chunk, parcel.averaged, parcel.arrays)
            underway += [(parcel.to, each) for each in follow]
        assert sent == [2 * (workers - 1) * 64_000 // workers] * workers


@pytest.mark.parametrize(
    "sender, chunk, averaged, size",
    [
        (1, 99, False, 10),
        (7, 0, False, 10),
        (1, 0, True, 1024),
        (1, 0, False, 3),
        (2, 0, False, 1024),
        (0, 0, True, 1024),
    ],
)
def test_a_parcel_that_nobody_sends_is_refused(sender, chunk, averaged, size):
    one = exchange.Exchange(0, (1, 1, 0), State(np.zeros(3000, "float32"), np.zeros(2, "int64")), layout(3000))
    with pytest.raises(ValueError, match="what no worker sends"):
        list(one.receive(sender, chunk, averaged, [np.zeros(size, "float32"), np.zeros(2, "int64")]))
