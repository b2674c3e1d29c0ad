"""Fits with an outer optimizer: workers that are killed change no bit, and it is saved with the estimator."""

from __future__ import annotations

import keras
import pytest
from python_workers import KillAWorker
from regression import dropout_model, frame, regression_rows, weights_of

from spark_keras import KerasRegressor


def estimator(outer, **more):
    settings = {"model": dropout_model(), "epochs": 3, "batchSize": 8, "averagingFrequency": 2, "numWorkers": 2}
    return KerasRegressor(outerOptimizer=outer, verbose=0, **settings, **more)


@pytest.mark.slow
def test_killed_worker_changes_no_bit(spark):
    df = frame(spark, *regression_rows(100))
    nesterov = keras.optimizers.SGD(0.7, momentum=0.9, nesterov=True)
    killer = KillAWorker(2)
    whole, killed = estimator(nesterov).fit(df), estimator(nesterov, callbacks=[killer]).fit(df)
    assert killer.killed == 2
    assert weights_of(killed).tobytes() == weights_of(whole).tobytes()


def test_it_is_held_as_its_configuration_and_saved(spark, tmp_path):
    rate = keras.optimizers.schedules.CosineDecay(0.7, 100)
    saved = estimator(keras.optimizers.SGD(rate, momentum=0.5))
    saved.write().overwrite().save(f"file://{tmp_path}/estimator")
    loaded = KerasRegressor.load(f"file://{tmp_path}/estimator").getOuterOptimizer()
    assert loaded == saved.getOuterOptimizer()
    again = keras.optimizers.get(loaded)
    assert again.momentum == 0.5 and float(again._learning_rate(50)) == pytest.approx(0.35)


def test_what_cannot_be_made_is_refused_before_a_job_starts(spark):
    df = frame(spark, *regression_rows(20))
    unknown = {"class_name": "Unknown", "config": {}}
    with pytest.raises(ValueError, match="Param `outerOptimizer`.*Unknown.*Expected: a Keras optimizer"):
        estimator(unknown).fit(df)
