"""Resident workers: killed ones are replaced, and nothing stays behind."""

from __future__ import annotations

import functools
import gc
import threading

import keras
import numpy as np
import psutil
import pytest
from python_workers import KillAWorker
from regression import dropout_model, frame, regression_rows, weights_of

from spark_keras import KerasRegressor


@pytest.mark.slow
def test_killed_worker_changes_no_bit(spark):
    df = frame(spark, *regression_rows(200))
    fitted = {}
    for times in (0, 2):
        killer = KillAWorker(times)
        estimator = KerasRegressor(
            model=dropout_model(), epochs=4, batchSize=8, numWorkers=2, callbacks=[killer], verbose=0
        )
        fitted[times] = estimator.fit(df)
        assert killer.killed == times
    assert weights_of(fitted[0]).tobytes() == weights_of(fitted[2]).tobytes()
    assert fitted[0].summary.history == fitted[2].summary.history


@pytest.mark.slow
def test_a_fit_leaves_no_thread_and_no_socket(spark):
    df = frame(spark, *regression_rows(40))
    estimator = KerasRegressor(model=dropout_model(), verbose=0)
    estimator.fit(df)
    gc.collect()
    before = threading.active_count(), len(psutil.Process().net_connections())
    for _ in range(3):
        estimator.fit(df)
    gc.collect()
    after = threading.active_count(), len(psutil.Process().net_connections())
    assert after[0] <= before[0] + 1 and after[1] <= before[1] + 2


@pytest.mark.parametrize("local", [True, False], ids=["same machine", "over the network"])
@pytest.mark.slow
def test_a_state_too_large_for_one_message_travels_in_pieces_to_the_same_bits(spark, monkeypatch, local):
    from spark_keras.training.rules import mean
    from spark_keras.training.wire import server
    from spark_keras.training.worker.closure import WorkerTask

    df = frame(spark, *regression_rows(100))
    estimator = KerasRegressor(model=dropout_model(), epochs=2, numWorkers=2, verbose=0)
    whole = weights_of(estimator.fit(df))
    small = functools.partial(WorkerTask, inline_bytes=0, shared_bytes=0, piece=7)
    monkeypatch.setattr("spark_keras.training.prepared.WorkerTask", small)
    monkeypatch.setattr(
        "spark_keras.training.strategies.averaging.weighted_mean", functools.partial(mean.weighted_mean, piece=5)
    )
    monkeypatch.setattr("spark_keras.training.wire.server.Server", functools.partial(server.Server, local=local))
    np.testing.assert_array_equal(weights_of(estimator.fit(df)), whole)


@pytest.mark.slow
def test_the_network_gives_the_same_bits_as_shared_memory(spark, monkeypatch):
    from spark_keras.training.wire import server

    df = frame(spark, *regression_rows(100))
    estimator = KerasRegressor(model=dropout_model(), epochs=2, numWorkers=2, verbose=0)
    encode, for_all = server.Server.encode_for_all, []

    def encode_for_all(*arguments):
        for_all.append(encode(*arguments))
        return for_all[-1]

    monkeypatch.setattr(server.Server, "encode_for_all", encode_for_all)
    fitted = estimator.fit(df)
    shared = weights_of(fitted)
    assert len(for_all) == fitted.summary.rounds and None not in for_all
    for_all.clear()
    # From the second round on, each worker has a state of its own.
    estimator.setOptimizerState("local").fit(df)
    assert len(for_all) == 1
    estimator.setOptimizerState("average")
    monkeypatch.setattr(server.Server, "encode_for_all", lambda *_: None)
    np.testing.assert_array_equal(weights_of(estimator.fit(df)), shared)
    monkeypatch.setattr("spark_keras.training.wire.server.Server", functools.partial(server.Server, local=False))
    np.testing.assert_array_equal(weights_of(estimator.fit(df)), shared)


def test_interrupting_a_fit_ends_its_job(spark):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    df = frame(spark, *regression_rows(40))
    with pytest.raises(KeyboardInterrupt):
        KerasRegressor(model=dropout_model(), epochs=5, callbacks=[Interrupt()], verbose=0).fit(df)
    assert list(spark.sparkContext.statusTracker().getActiveJobsIds()) == []
    assert KerasRegressor(model=dropout_model(), verbose=0).fit(df).summary.epochs == 1
