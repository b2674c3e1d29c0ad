"""Rows that come in odd numbers, sizes and partitions: each is trained once in each epoch, or refused in time."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_keras import KerasRegressor


def linear(width):
    model = keras.Sequential([keras.Input((width,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1e-6), "mse", metrics=["mae"])
    return model


def fit(df, width, **params):
    fixed = {"epochs": 1, "batchSize": 16, "averagingFrequency": 4, "numWorkers": 2}
    return KerasRegressor(model=linear(width), verbose=0, **{**fixed, **params}).fit(df)


def trained_rows(fitted):
    return sum(fitted.summary.rows)


def narrow(df):
    """The id as features, an array with one element, and as the label."""
    return df.select(F.array(F.col("id").cast("float")).alias("features"), F.col("id").cast("float").alias("label"))


def test_an_empty_dataframe_is_refused(spark):
    with pytest.raises(ValueError, match="no rows"):
        fit(narrow(spark.range(0)), 1)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_rows_than_workers_or_as_many(spark, count):
    fitted = fit(narrow(spark.range(1, count + 1)), 1)
    assert trained_rows(fitted) == count
    # With weights of zero, the error is the label: the mean of 1 to count.
    assert fitted.summary.history["mae"] == pytest.approx([(count + 1) / 2], rel=1e-4)


@pytest.mark.slow
def test_one_giant_partition_and_many_empty_ones(spark):
    df = spark.range(0, 500 * 60, 1, 60).where("id < 500")
    assert [len(rows) for rows in df.rdd.glom().collect()] == [500] + 59 * [0]
    fitted = fit(narrow(df), 1)
    assert sorted(fitted.summary.rows) == [250, 250]


@pytest.mark.slow
def test_two_thousand_partitions(spark):
    numbers = spark.range(0, 2_000, 1, 2_000).select((F.col("id") / 2_000).alias("id"))
    fitted = fit(narrow(numbers), 1)
    assert trained_rows(fitted) == 2_000


@pytest.mark.slow
def test_two_thousand_columns(spark):
    names = [f"c{i}" for i in range(2_000)]
    df = spark.range(0, 40, 1, 2).selectExpr(*(f"(id + {i}) / 2000 AS {name}" for i, name in enumerate(names)))
    fitted = fit(df, 2_000, featuresCols=names, labelCol="c0", batchSize=40, globalBatch=True)
    assert trained_rows(fitted) == 40
    # One step with all rows, from weights of zero: each weight is the rate times twice the mean of feature times label.
    table = (np.arange(40)[:, None] + np.arange(2_000)) / 2_000
    expected = 1e-6 * 2 * (table * table[:, :1]).mean(axis=0)
    np.testing.assert_allclose(fitted.toKeras().get_weights()[0].ravel(), expected, rtol=1e-4)


@pytest.mark.slow
def test_rows_of_a_megabyte(spark):
    width = 2**18
    df = spark.range(0, 24, 1, 3).selectExpr(f"array_repeat(cast(id as float), {width}) AS features", "id AS label")
    fitted = fit(df, width, batchSize=4)
    assert trained_rows(fitted) == 24
    assert np.isfinite(fitted.summary.history["loss"]).all()
