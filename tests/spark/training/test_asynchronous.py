"""Asynchronous training by workers on Spark: every row counts once in each epoch, also where workers are killed."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from conftest import every_session
from counting import counting_model
from interruption import Interrupt
from pyspark.sql import functions as F
from python_workers import KillAWorker
from regression import dropout_model, frame, in_training_order, keras_weights, mlp, regression_rows, weights_of

from spark_keras import EarlyStopping, KerasRegressor


def estimator(**params):
    return KerasRegressor(**{"mode": "asynchronous", "numWorkers": 2, "verbose": 0, **params})


def counting(spark, rows, **params):
    """A fit whose weight ends at minus the sum of all rows, each as often as there are epochs, over two: each of two
    workers with equally many rows counts half.
    """
    values = [float(2.0 ** -(i % 16)) for i in range(rows)]
    df = spark.createDataFrame([(value, 0.0) for value in values], ["x", "label"]).coalesce(1)
    fitted = estimator(model=counting_model(), featuresCols=["x"], **params).fit(df)
    return fitted, weights_of(fitted)[0], -sum(values) / 2


@every_session
def test_one_worker_equals_plain_keras(spark):
    df = frame(spark, *regression_rows(103))
    expected = mlp(keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.02, 7, 0.8)))
    settings = {"epochs": 3, "batchSize": 8, "shuffle": False, "averagingFrequency": 3}
    fitted = estimator(model=expected, numWorkers=1, **settings).fit(df)
    x, y = in_training_order(df)
    history = expected.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-5)
    for name, values in history.items():
        np.testing.assert_allclose(fitted.summary.history[name], values, rtol=1e-4)
    assert fitted.toKeras().optimizer.iterations == 3 * 13


@every_session
def test_every_row_is_trained_once_in_each_epoch(spark):
    fitted, weight, expected = counting(spark, 80, batchSize=4, averagingFrequency=3, epochs=3)
    assert weight == pytest.approx(3 * expected, rel=1e-6)
    summary = fitted.summary
    assert summary.rows == [40, 40] and (summary.epochs, summary.rounds) == (3, 3 * 4)
    # Each record tells what the workers had trained by then; those of an epoch are its rows.
    records = summary.timeline["records"]
    assert sum(sum(record["rows"]) for record in records) == 3 * 80
    assert summary.plan["planned"]["mode"] == "asynchronous"


@pytest.mark.slow
def test_killed_workers_lose_and_repeat_no_row(spark):
    killer = KillAWorker(2)
    _, weight, expected = counting(spark, 80, batchSize=4, averagingFrequency=2, epochs=4, callbacks=[killer])
    # One that has trained all its rows already need not be replaced.
    assert killer.killed >= 1
    assert weight == pytest.approx(4 * expected, rel=1e-6)


class CountRows(keras.callbacks.Callback):
    """Starts a Spark job within an epoch, while workers are busy: they give up their slots for it."""

    def __init__(self, df):
        super().__init__()
        self.df, self.counted = df, 0

    def __deepcopy__(self, memo):
        return self

    def on_train_batch_end(self, batch, logs=None):
        self.counted = self.counted or self.df.count()


@pytest.mark.slow
def test_a_callback_that_starts_a_job_within_an_epoch_loses_no_row(spark):
    count = CountRows(spark.range(5))
    _, weight, expected = counting(spark, 80, batchSize=4, averagingFrequency=2, epochs=2, callbacks=[count])
    assert count.counted == 5
    assert weight == pytest.approx(2 * expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("local", [True, False], ids=["same machine", "over the network"])
def test_states_too_large_for_one_message_lose_no_row(spark, monkeypatch, local):
    from spark_keras.training.rules import mean
    from spark_keras.training.wire import server
    from spark_keras.training.worker.closure import WorkerTask

    small = functools.partial(WorkerTask, inline_bytes=0, shared_bytes=0, piece=1)
    monkeypatch.setattr("spark_keras.training.prepared.WorkerTask", small)
    monkeypatch.setattr(
        "spark_keras.training.strategies.asynchronous.weighted_mean", functools.partial(mean.weighted_mean, piece=1)
    )
    monkeypatch.setattr("spark_keras.training.wire.server.Server", functools.partial(server.Server, local=local))
    _, weight, expected = counting(spark, 80, batchSize=4, averagingFrequency=2, epochs=2)
    assert weight == pytest.approx(2 * expected, rel=1e-6)


def test_validation_is_of_the_model_that_is_left(spark):
    rows = frame(spark, *regression_rows(120)).withColumn("held_out", F.rand(3) < 0.3).cache()
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=1e9)  # nothing is good enough
    settings = {"epochs": 9, "batchSize": 8, "averagingFrequency": 2, "validationIndicatorCol": "held_out"}
    fitted = estimator(model=dropout_model(), callbacks=[stop], **settings).fit(rows)
    assert fitted.summary.epochs == 2
    expected = fitted.evaluate(rows.where("held_out"))["loss"]
    assert fitted.summary.history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_early_stopping_ends_it(spark):
    rows = frame(spark, *regression_rows(120))
    trainer = estimator(model=dropout_model(), epochs=50, batchSize=8, validationSplit=0.2)
    model = EarlyStopping(estimator=trainer, monitor="val_loss", patience=0, minDelta=1e9).fit(rows)
    assert model.bestModel.summary.epochs < 50


@pytest.mark.slow
def test_a_fit_that_goes_on_from_a_checkpoint_loses_and_repeats_no_row(spark, tmp_path):
    settings = {"batchSize": 4, "averagingFrequency": 2, "epochs": 4, "checkpointDir": f"file://{tmp_path}/folder"}
    with pytest.raises(KeyboardInterrupt):
        counting(spark, 80, callbacks=[Interrupt(2)], **settings)
    fitted, weight, expected = counting(spark, 80, callbacks=[Interrupt(99)], **settings)
    assert fitted.summary.epochs == 4
    assert weight == pytest.approx(4 * expected, rel=1e-6)
