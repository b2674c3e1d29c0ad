"""Frozen weights reach each worker process once, and rounds carry what training changes."""

from __future__ import annotations

import contextlib
import json
import os
import signal

import keras
import numpy as np
import pytest

from spark_keras import KerasRegressor
from spark_keras.training.wire import protocol
from spark_keras.training.wire.server import Server

# Numbers of a state: the head's kernel and bias; of the optimizer its learning rate and momenta; its step counter.
FROZEN, STATE_BYTES = 6 * 500 + 500, 4 * (2 * 501 + 1) + 8
METRICS_BYTES = 2 * 8
HEADER_BYTES = 400


class Traffic:
    """Bytes between the driver and its workers, all of which come over TCP.

    Attributes:
        requests: bytes of each message that asks workers to train.
        answers: bytes of each answer to it.
        frozen: numbers of frozen weights that were pulled.
        processes: of workers that have begun.
        all: bytes of all messages.
    """

    def __init__(self, monkeypatch):
        self.clear()
        begin, sent, opened = Server.__init__, Server._sent, protocol.opened
        monkeypatch.setattr(Server, "__init__", lambda *args: begin(*args, local=False))

        def counted(server, peer, frames, *flags):
            size = self._size(frames)
            if json.loads(bytes(frames[0])).get("request", {}).get("type") == "train":
                self.requests.append(size)
            return sent(server, peer, frames, *flags)

        def read(frames, decoder):
            message, buffers = opened(frames, decoder)
            size = self._size(frames)
            if isinstance(message, protocol.Done):
                self.answers.append(size)
            elif isinstance(message, protocol.Pull) and message.frozen:
                self.frozen += message.stop - message.start
            elif isinstance(message, protocol.Start):
                self.processes.add(message.pid)
            return message, buffers

        monkeypatch.setattr(Server, "_sent", counted)
        monkeypatch.setattr(protocol, "opened", read)

    def clear(self):
        self.requests, self.answers, self.processes, self.frozen, self.all = [], [], set(), 0, 0

    def _size(self, frames):
        size = sum(memoryview(frame).nbytes for frame in frames)
        self.all += size
        return size


@pytest.fixture
def traffic(monkeypatch):
    return Traffic(monkeypatch)


def rows(spark):
    draw = np.random.default_rng(2)
    return spark.createDataFrame(
        [(row.tolist(), float(row[0])) for row in draw.normal(size=(80, 6))], "features array<float>, label float"
    )


class Halved(keras.layers.Layer):
    """A layer of one's own, which Keras cannot find on an executor."""

    def call(self, x):
        return x / 2


def model(seed=1, *before):
    keras.utils.set_random_seed(seed)
    layers = *before, keras.layers.Dense(500, "tanh", trainable=False), keras.layers.Dense(1)
    made = keras.Sequential([keras.Input((6,)), *layers], name="frozen_backbone")
    made.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    return made


def fit(spark, seed=1, **params):
    fixed = {"epochs": 3, "batchSize": 10, "globalBatch": False, "averagingFrequency": 2, "numWorkers": 2}
    fixed |= {"seed": 3, "verbose": 0}
    return KerasRegressor(**{"model": model(seed), **fixed, **params}).fit(rows(spark))


def bits(fitted):
    return [weight.tobytes() for weight in fitted.toKeras().get_weights()]


@pytest.mark.slow
def test_a_round_carries_what_is_trained_and_frozen_weights_come_once_to_a_process(spark, traffic):
    fitted = fit(spark)
    assert fitted.summary.stateBytes == STATE_BYTES
    assert len(traffic.requests) == len(traffic.answers) == 2 * fitted.summary.rounds == 12
    assert all(STATE_BYTES < size < STATE_BYTES + HEADER_BYTES for size in traffic.requests)
    assert all(STATE_BYTES < size < STATE_BYTES + METRICS_BYTES + HEADER_BYTES for size in traffic.answers)
    assert traffic.frozen == 2 * FROZEN
    # Beside the rounds: the weights, and what each worker says when it begins and while it lives.
    assert traffic.all < sum(traffic.requests + traffic.answers) + 2 * (4 * FROZEN + 20 * HEADER_BYTES)
    # A fit may get other idle processes than the one before.
    have, reused = set(traffic.processes), False
    for _ in range(2):
        traffic.clear()
        assert bits(fit(spark)) == bits(fitted)
        assert traffic.frozen == FROZEN * len(traffic.processes - have)
        reused |= bool(traffic.processes & have)
        have |= traffic.processes
    assert reused
    traffic.clear()
    other = fit(spark, seed=2)
    assert traffic.frozen == 2 * FROZEN
    expected, found = model(2).get_weights(), other.toKeras().get_weights()
    np.testing.assert_array_equal(found[0], expected[0])
    assert not np.array_equal(found[2], expected[2])


class Kill(keras.callbacks.Callback):
    """Kills a worker of the fit after the first epoch."""

    def __init__(self, traffic):
        super().__init__()
        self.traffic = traffic

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            os.kill(min(self.traffic.processes), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_a_worker_in_place_of_a_killed_one_gets_the_frozen_weights(spark, traffic, cached):
    undisturbed = fit(spark, seed=4, cacheFrozenFeatures=cached)
    have = set(traffic.processes)
    traffic.clear()
    assert bits(fit(spark, seed=4, callbacks=[Kill(traffic)], cacheFrozenFeatures=cached)) == bits(undisturbed)
    # At least one is new: the one in place of the killed one.
    assert traffic.frozen == FROZEN * len(traffic.processes - have) > 0


class Crash(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


class Calm(keras.callbacks.Callback):
    pass


@pytest.mark.slow
def test_features_of_frozen_layers_are_kept_and_trained_on(spark):
    whole = fit(spark, model=model(5, Halved()))
    on_features = fit(spark, model=model(5, Halved()), cacheFrozenFeatures=True)
    for one, other in zip(on_features.toKeras().get_weights(), whole.toKeras().get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(on_features.summary.history["loss"], whole.summary.history["loss"], rtol=1e-5)
    planned = on_features.summary.plan["planned"]
    # Six features and a label; 500 features of the frozen layer and the label.
    assert planned["bytesPerRow"] == 4 * (7 + 501) and planned["parameters"] == FROZEN + 501
    assert "features of frozen layers" in planned["reasons"]["shardStorage"]
    among = fit(spark, model=model(5, Halved()), cacheFrozenFeatures=True, averaging="workers")
    assert bits(among) == bits(on_features)


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_a_fit_goes_on_from_a_checkpoint_with_the_same_frozen_weights_alone(spark, tmp_path, cached):
    Calm.__qualname__ = Crash.__qualname__
    settings = {"checkpointDir": str(tmp_path), "cacheFrozenFeatures": cached}
    with contextlib.suppress(KeyboardInterrupt):
        fit(spark, callbacks=[Crash()], **settings)
    (*_, last) = sorted(tmp_path.glob("checkpoint-*.npz"))
    with np.load(last) as file:
        assert len(file["values"]) == 2 * 501 + 1 and "frozen" not in file
    with pytest.raises(ValueError, match="initial weights"):
        fit(spark, seed=2, callbacks=[Calm()], **settings)
    resumed = fit(spark, callbacks=[Calm()], **settings)
    assert resumed.summary.epochs == 3 and bits(resumed) == bits(fit(spark, cacheFrozenFeatures=cached))
