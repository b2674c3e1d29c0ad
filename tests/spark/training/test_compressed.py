"""Fits that send compressed changes: what travels, the plan, and the same bits where a worker is killed."""

from __future__ import annotations

import functools

import pytest
from python_workers import KillAWorker
from regression import dropout_model, frame, regression_rows, weights_of

from spark_keras import KerasRegressor
from spark_keras.training import prepared


@pytest.mark.parametrize("coding", ["float16", pytest.param("threshold", marks=pytest.mark.slow)])
def test_a_killed_worker_changes_no_bit_and_the_plan_tells_what_travels(spark, coding, monkeypatch):
    df = frame(spark, *regression_rows(100))
    settings = {"epochs": 2, "batchSize": 8, "averagingFrequency": 1, "numWorkers": 2, "validationSplit": 0.2}
    settings |= {"optimizerState": "local", "combine": "sum", "compression": coding, "verbose": 0}
    killer = KillAWorker(1)
    expected = KerasRegressor(model=dropout_model(), **settings).fit(df)
    # All messages are large, and travel in pieces.
    small = functools.partial(prepared.WorkerTask, inline_bytes=10, shared_bytes=0, piece=7)
    monkeypatch.setattr(prepared, "WorkerTask", small)
    fitted = KerasRegressor(model=dropout_model(), callbacks=[killer], **settings).fit(df)
    assert killer.killed == 1
    assert weights_of(fitted).tobytes() == weights_of(expected).tobytes()
    assert fitted.summary.history == expected.summary.history
    planned = fitted.summary.plan["planned"]
    assert (planned["compression"], planned["combine"]) == (coding, "sum")
    assert planned["roundBytes"] < 2 * planned["stateBytes"]
    if coding == "float16":
        assert fitted.summary.roundBytes == planned["roundBytes"]
    assert fitted.summary.toPandas()["bytes"].max() == fitted.summary.roundBytes
