"""Shards in files: the same rows in the same order as in memory, bounded memory, and nothing left behind."""

from __future__ import annotations

import contextlib
import time

import keras
import numpy as np
import pytest
from open_files import only_linux, open_files
from pyspark.sql import functions as F
from python_workers import KillAWorker, python_workers

from spark_keras import KerasRegressor

# --- nothing stays behind ------------------------------------------------------------------------------------------


# --- in a fit ------------------------------------------------------------------------------------------------------


def linear():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


@pytest.fixture
def large(spark):
    """Twice 4 MB, so that each of two workers needs a file under a limit of 1 MB."""
    features = F.transform(F.sequence(F.lit(1), F.lit(100)), lambda i: F.sin(F.col("id") * i).cast("float"))
    return spark.range(20_000).select(features.alias("features"), F.cos("id").alias("label"))


@pytest.mark.slow
def test_a_fit_from_files_equals_one_from_memory(large):
    fitted = {}
    for limit in ("8g", "1m"):
        fitted[limit] = KerasRegressor(
            model=linear(), epochs=2, validationSplit=0.2, maxShardMemory=limit, numWorkers=2, verbose=0
        ).fit(large)
    memory, file = fitted["8g"], fitted["1m"]
    assert memory.summary.shardStorage == ["memory", "memory"]
    assert file.summary.shardStorage == ["file", "file"]
    assert memory.summary.history == file.summary.history
    for kept, stored in zip(memory.toKeras().get_weights(), file.toKeras().get_weights()):
        np.testing.assert_array_equal(kept, stored)


@pytest.mark.slow
def test_a_killed_worker_with_a_file_changes_no_bit(large):
    fitted = {}
    for times in (0, 1):
        killer = KillAWorker(times)
        fitted[times] = KerasRegressor(
            model=linear(), epochs=2, maxShardMemory="1m", numWorkers=2, callbacks=[killer], verbose=0
        ).fit(large)
        assert killer.killed == times
        assert fitted[times].summary.shardStorage == ["file", "file"]
    for one, other in zip(*(each.toKeras().get_weights() for each in fitted.values())):
        np.testing.assert_array_equal(one, other)


@only_linux
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_a_fit_leaves_no_files_however_it_ends(large, error):
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            held.append(len(files_of_workers()))
            if error:
                raise error

    held = []
    estimator = KerasRegressor(model=linear(), maxShardMemory="1m", numWorkers=2, callbacks=[Look()], verbose=0)
    with pytest.raises(error) if error else contextlib.nullcontext():
        estimator.fit(large)
    assert held == [4], "training and validation rows of two workers"
    deadline = time.monotonic() + 20
    while files_of_workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files_of_workers() == []


def files_of_workers():
    """Files without a name that Spark's Python workers hold in a local directory of Spark."""
    held = [path for process in python_workers() for path in open_files(process.pid, "")]
    return [path for path in held if "blockmgr" in path and path.endswith("(deleted)")]


# --- the limit -----------------------------------------------------------------------------------------------------
