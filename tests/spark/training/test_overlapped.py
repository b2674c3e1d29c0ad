"""Fits whose workers train on while states are averaged: the same bits where one is killed, and over a network."""

from __future__ import annotations

import functools

from python_workers import KillAWorker
from regression import dropout_model, frame, regression_rows, weights_of

from spark_keras import KerasRegressor
from spark_keras.training import prepared


def test_a_killed_worker_changes_no_bit_nor_do_states_that_travel_in_pieces(spark, monkeypatch):
    df = frame(spark, *regression_rows(100))
    settings = {"epochs": 3, "batchSize": 8, "averagingFrequency": 2, "numWorkers": 2, "validationSplit": 0.2}
    settings |= {"optimizerState": "local", "overlap": True, "verbose": 0}
    killer = KillAWorker(1)
    expected = KerasRegressor(model=dropout_model(), **settings).fit(df)
    # All states are large: pieces are fetched from a worker that trains meanwhile.
    small = functools.partial(prepared.WorkerTask, inline_bytes=100, shared_bytes=0, piece=16)
    monkeypatch.setattr(prepared, "WorkerTask", small)
    fitted = KerasRegressor(model=dropout_model(), callbacks=[killer], **settings).fit(df)
    assert killer.killed == 1
    assert weights_of(fitted).tobytes() == weights_of(expected).tobytes()
    assert fitted.summary.history == expected.summary.history
