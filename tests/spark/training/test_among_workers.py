"""Fits that average among the workers: the bits of averaging on the driver, also where workers are killed."""

from __future__ import annotations

import pytest
from python_workers import KillAWorker
from regression import dropout_model, frame, regression_rows, weights_of

from spark_keras import KerasRegressor

NESTEROV = {"class_name": "SGD", "config": {"learning_rate": 0.7, "momentum": 0.9, "nesterov": True}}


def estimator(**more):
    settings = {"epochs": 3, "batchSize": 8, "averagingFrequency": 2, "numWorkers": 2, "validationSplit": 0.2}
    return KerasRegressor(model=dropout_model(), outerOptimizer=NESTEROV, verbose=0, **settings | more)


def result(fitted):
    return weights_of(fitted).tobytes(), fitted.summary.history, fitted.summary.rounds


def test_bits_are_those_of_averaging_on_the_driver(spark):
    df = frame(spark, *regression_rows(100))
    expected = estimator().fit(df)
    among = estimator(averaging="workers").fit(df)
    assert result(among) == result(expected)
    assert among.summary.plan["planned"]["averaging"] == "workers"


@pytest.mark.slow
@pytest.mark.parametrize("optimizer_state", ["average", "local"])
def test_killed_worker_changes_no_bit(spark, optimizer_state):
    df = frame(spark, *regression_rows(100))
    killer = KillAWorker(2)
    settings = {"optimizerState": optimizer_state}
    expected = estimator(**settings).fit(df)
    among = estimator(averaging="workers", callbacks=[killer], **settings).fit(df)
    assert killer.killed == 2
    assert result(among) == result(expected)
