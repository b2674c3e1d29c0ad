"""Small campaigns: what is killed, hangs or is cancelled changes no bit and leaves nothing. Large ones are a script."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
from pathlib import Path
from time import sleep

import keras
import psutil
import pytest
from conftest import CLUSTER, LOCAL
from faults import campaigns, fits, page
from faults.processes import Killer, Log

from spark_keras import KerasRegressor, WorkerError
from spark_keras.cluster import jobs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("averaging", ["driver", "workers"])
@pytest.mark.parametrize("spark", [pytest.param(LOCAL, id="local")], indirect=True)
def test_a_worker_killed_at_a_random_moment_changes_no_bit(spark, averaging):
    *_, figures = campaigns.kills(spark, fits_count=1, kills_per_fit=1, executor_share=0.0, seed=6, averaging=averaging)
    assert (figures["same"], figures["kills"]) == (1, 1)


@pytest.mark.parametrize("averaging", ["driver", pytest.param("workers", marks=pytest.mark.slow)])
@pytest.mark.parametrize("spark", [CLUSTER], indirect=True)
def test_executors_and_workers_killed_at_random_moments_change_no_bit(spark, averaging):
    *_, figures = campaigns.kills(spark, fits_count=1, kills_per_fit=2, executor_share=0.7, seed=7, averaging=averaging)
    # An executor, and then a worker.
    assert (figures["same"], figures["kills"], figures["executors"]) == (1, 2, 1)


class Stopped(keras.callbacks.Callback):
    """Stops a worker process for good after the first epoch, without killing it."""

    def __init__(self):
        super().__init__()
        self.log, self.stopped = Log(), None

    def on_epoch_end(self, epoch, logs=None):
        if self.stopped is None:
            self.stopped = psutil.Process(self.log.workers[1])
            self.stopped.send_signal(signal.SIGSTOP)


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced_to_the_same_bits(spark, caplog):
    rows = fits.rows(spark)
    expected = fits.bits(fits.estimator().fit(rows))
    stopped = Stopped()
    with caplog.at_level(logging.WARNING):
        fitted = fits.estimator(callbacks=[stopped], workerTimeout=3.0, maxFailures=20).fit(rows)
    assert fits.bits(fitted) == expected
    assert f"worker 1 (process {stopped.stopped.pid} on" in caplog.text and "gave no sign of life" in caplog.text
    # Stopped as it is, it has gone.
    assert campaigns.wait_for_end([stopped.stopped]) == []


@pytest.mark.slow
def test_after_the_last_failure_the_fit_fails_and_names_the_round(spark):
    class KillAll(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            for pid in log.workers.values():
                with contextlib.suppress(psutil.Error):
                    psutil.Process(pid).kill()

    log = Log()
    with pytest.raises(WorkerError, match=r"failed 1 times in a row.*of epoch 2\."):
        fits.estimator(callbacks=[KillAll()], maxFailures=1).fit(fits.rows(spark))


class Poisoned(keras.layers.Layer):
    """Ends the process that trains a certain row."""

    def call(self, inputs):
        import tensorflow as tf

        def look(values):
            if (values > 1000).any():
                os._exit(1)
            return values

        return tf.ensure_shape(tf.numpy_function(look, [inputs], inputs.dtype), inputs.shape)


@pytest.mark.slow
@pytest.mark.parametrize("averaging", ["driver", "workers"])
def test_a_worker_that_always_dies_in_a_later_round_ends_the_fit(spark, averaging):
    rows = spark.range(0, 100, 1, 2).selectExpr("float(if(id = 42, 1e6, id / 100)) AS x", "float(id) AS label")
    model = keras.Sequential([keras.Input((1,)), Poisoned(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    sizes = {"numWorkers": 2, "globalBatch": False, "batchSize": 5, "averagingFrequency": 1}
    estimator = KerasRegressor(
        model=model, featuresCols=["x"], averaging=averaging, maxFailures=2, jitCompile=False, verbose=0, **sizes
    )
    with pytest.raises(WorkerError, match=r"failed 2 times in a row.*training minibatches ([2-9]|10) to"):
        estimator.fit(rows)


@pytest.mark.slow
def test_a_fit_that_gets_no_slot_says_so_in_time(spark):
    # One row in each of as many partitions as there are slots, and no shuffle, during which a slot would be free.
    two_rows = spark.range(0, 2, 1, 2)
    sleep_in_tasks = "java_method('java.lang.Thread', 'sleep', 15000L)"
    job = jobs.Job(spark, "busy", "holds all slots", two_rows.selectExpr(sleep_in_tasks).collect)
    try:
        while job.activity()[1] < 2:
            sleep(0.1)
        model = keras.Sequential([keras.Input(()), keras.layers.Reshape((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        rows = spark.range(10).selectExpr("cast(id as float) AS x", "cast(id as float) AS y")
        estimator = KerasRegressor(model=model, featuresCol="x", labelCol="y", numWorkers=2, joinTimeout=2.0)
        with pytest.raises(WorkerError, match=r"no slot came free within 2 s for 2 of 2 workers \(0, 1\)"):
            estimator.fit(rows)
    finally:
        job.cancel()
        job.join(30)


@pytest.mark.slow
def test_cancelled_fits_leave_nothing(spark):
    *_, figures = campaigns.cancelled(spark, fits_count=4, cancelled_fits=2)
    before, after = figures["before"], figures["after"]
    assert figures["cancelled"] >= 1 and figures["same"] == figures["finished"] == 2
    assert figures["maxEndSeconds"] < 30 and figures["jobs"] == 0
    assert after["listening"] == before["listening"] and after["folders"] <= before["folders"]
    # Python's gateway to Spark keeps connections of threads that used it until they are collected; a leak in each fit
    # would be four or more.
    assert after["threads"] < before["threads"] + 4 and after["descriptors"] <= before["descriptors"] + 6
    assert after["processes"] <= before["processes"] + 2


def test_the_page_is_that_of_the_figures_that_are_kept():
    figures = json.loads((ROOT / "docs" / "reliability.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert page.with_figures(text, figures) == text
    assert all(part["same"] == part.get("finished", part["fits"]) for part in figures.values())


def test_kills_are_drawn_again_as_they_were():
    pauses = []
    for _ in range(2):
        killer = Killer(Log(), random.Random(3), 1, executor_share=0.0)
        killer._over.set()
        pauses.append([killer._pause() for _ in range(5)])
    assert pauses[0] == pauses[1] and max(pauses[0]) > 0.5


def test_kinds_of_kills_do_not_depend_on_how_long_each_took():
    kinds = []
    for pauses in (1, 50):
        killer = Killer(Log(), random.Random(3), 10, executor_share=0.5)
        killer._over.set()
        found = []
        for _ in range(10):
            for _ in range(pauses):
                killer._pause()
            found.append(killer._kind())
        kinds.append(found)
    assert kinds[0] == kinds[1] and set(kinds[0]) == {"executor", "worker"}
