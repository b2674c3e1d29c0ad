"""A search over Params computes the rows that its fits share once, and keeps nothing afterwards."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from spark_keras import EarlyStopping, KerasRegressor

ROWS = 40
FEATURES = np.random.default_rng(3).normal(size=(ROWS, 3))


def build(rate=0.1):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def on_one_number():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def estimator(**params):
    return KerasRegressor(**{"modelFn": build, "batchSize": 5, "numWorkers": 2, "verbose": 0, **params})


@pytest.fixture
def counted(spark):
    """(a DataFrame, a function that gives how many of its rows were computed so far)."""
    computed = spark.sparkContext.accumulator(0)

    def row(index):
        computed.add(1)
        features = [float(value) for value in FEATURES[index]]
        return features, sum(features), -sum(features)

    rows = spark.sparkContext.parallelize(range(ROWS), 2).map(row)
    frame = spark.createDataFrame(rows, "features array<double>, label double, other double")
    return frame, lambda: computed.value


@pytest.fixture
def kept(spark):
    """What tells whether Spark keeps rows that it did not keep before the test."""

    def ids():
        return set(spark.sparkContext._jsc.getPersistentRDDs())

    before = ids()
    return lambda: bool(ids() - before)


def weights(fitted):
    return [weight.tobytes() for weight in fitted.toKeras().get_weights()]


@pytest.mark.slow
def test_rows_of_all_fits_are_computed_once(counted, kept):
    df, computed = counted
    chosen = estimator()
    maps = [{chosen.epochs: 1}, {chosen.epochs: 2}, {chosen.modelParams: {"rate": 0.01}}]
    found = dict(chosen.fitMultiple(df, maps))
    assert computed() == ROWS
    assert not kept()
    for index, each in enumerate(maps):
        assert weights(found[index]) == weights(chosen.fit(df, each))
    assert computed() == 4 * ROWS


@pytest.mark.slow
def test_fits_on_other_rows_get_theirs(counted, kept):
    df, computed = counted
    chosen = estimator(validationSplit=0.3)
    maps = [{chosen.labelCol: "label", chosen.seed: seed} for seed in (0, 0, 1)] + [{chosen.labelCol: "other"}]
    found = dict(chosen.fitMultiple(df, maps))
    # Another seed holds out other rows, another label has others: only the first two fits share theirs.
    assert computed() == 3 * ROWS
    assert not kept()
    for index, each in enumerate(maps):
        assert weights(found[index]) == weights(chosen.fit(df, each))
    assert weights(found[0]) == weights(found[1]) != weights(found[2])


@pytest.mark.slow
def test_what_a_model_makes_of_the_rows_is_told_apart(spark, kept):
    def network(dtype):
        model = keras.Sequential([keras.Input((3,), dtype=dtype), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    df = spark.range(ROWS).select(F.array(*[F.col("id") % n for n in (2, 3, 5)]).alias("features"), "id")
    chosen = estimator(modelFn=network, labelCol="id")
    maps = [{chosen.modelParams: {"dtype": dtype}} for dtype in ("float32", "int32", "float32", "int32")]
    for index, fitted in chosen.fitMultiple(df, maps):
        assert weights(fitted) == weights(chosen.fit(df, maps[index]))
    assert not kept()


@pytest.mark.slow
def test_nothing_stays_when_a_fit_fails(counted, kept):
    df, _ = counted
    chosen = estimator()
    several = [{chosen.epochs: 1}, {chosen.modelParams: {"unknown": 1}}, {chosen.epochs: 2}, {chosen.epochs: 3}]
    fits = chosen.fitMultiple(df, several)
    next(fits)
    assert kept()
    # The failure holds the search, as a notebook's last error does.
    with pytest.raises(TypeError, match="unknown") as failure:
        next(fits)
    assert not kept()
    next(fits)
    assert not kept() and failure.value is not None


def test_nothing_stays_of_a_search_that_nobody_carries_on(counted, kept):
    df, _ = counted
    chosen = estimator()
    fits = chosen.fitMultiple(df, [{chosen.epochs: 1}, {chosen.epochs: 2}])
    next(fits)
    assert kept()
    del fits
    gc.collect()
    deadline = time.monotonic() + 30
    while kept() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not kept()


def test_fits_at_the_same_time_share_the_rows(spark, counted, kept):
    df, computed = counted
    df = VectorAssembler(inputCols=["features"], outputCol="vector").transform(
        df.withColumn("features", F.col("label"))
    )
    chosen = estimator(featuresCol="vector", numWorkers=1, modelFn=on_one_number)
    maps = [{chosen.epochs: epochs} for epochs in (1, 2, 3, 4)]
    fits = chosen.fitMultiple(df, maps)
    with ThreadPoolExecutor(2) as threads:
        found = dict(threads.map(lambda _: next(fits), maps))
    assert computed() == ROWS
    assert not kept()
    assert [found[index].summary.epochs for index in range(4)] == [1, 2, 3, 4]
    assert weights(found[3]) == weights(chosen.fit(df, maps[3]))


@pytest.mark.oldest
def test_early_stopping_shares_the_rows_of_its_estimator(counted, kept):
    df, computed = counted
    stopping = EarlyStopping(estimator=estimator(), monitor="loss", maxEpochs=2)
    maps = [{stopping.maxEpochs: 1}, {stopping.getEstimator().batchSize: 8}]
    found = dict(stopping.fitMultiple(df, maps))
    assert computed() == ROWS
    assert [found[index].result.totalEpochs for index in (0, 1)] == [1, 2]
    assert not kept()


def test_early_stopping_that_keeps_the_best_of_a_failed_fit_goes_on_sharing(counted, kept):
    class Failing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("in epoch 2")

    df, computed = counted
    stopping = EarlyStopping(
        estimator=estimator(callbacks=[Failing()]), monitor="loss", maxEpochs=2, onError="keepBest"
    )
    maps = [{stopping.minDelta: delta} for delta in (0.0, 0.1, 0.2)]
    with pytest.warns(RuntimeWarning, match="in epoch 2"):
        found = dict(stopping.fitMultiple(df, maps))
    assert [found[index].result.reason for index in range(3)] == ["error"] * 3
    assert computed() == ROWS
    assert not kept()
