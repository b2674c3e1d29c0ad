"""The rows that `validationSplit` holds out: a sample of the rows, whatever repeats among them."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_keras import KerasClassifier
from spark_keras.columns.validation_rows import with_held_out

XOR = {(0.0, 0.0): 0, (0.0, 1.0): 1, (1.0, 0.0): 1, (1.0, 1.0): 0}


def repeated(spark, contents, copies):
    """Rows id, x: so many copies of each content."""
    return spark.range(contents * copies).select("id", (F.col("id") % contents).cast("double").alias("x"))


def held_out(df, share=0.2, seed=0):
    marked = with_held_out(df, [F.col("x")], "held out", share, seed)
    assert marked.columns == [*df.columns, "held out"]
    return marked.where("`held out`").drop("held out")


def counts_of(df):
    return Counter(row.x for row in df.select("x").collect())


@pytest.mark.parametrize("contents, copies", [(1, 1000), (4, 250), (8, 125)])
def test_each_content_gives_its_share(spark, contents, copies):
    for seed in range(3):
        counts = counts_of(held_out(repeated(spark, contents, copies), seed=seed))
        assert counts == dict.fromkeys(map(float, range(contents)), copies // 5)


def test_contents_of_odd_sizes_give_their_share_rounded_up_or_down(spark):
    df = repeated(spark, 40, 7).where("x < 20 or id < 200")
    there = counts_of(df)
    counts = counts_of(held_out(df, 0.3))
    assert all(np.floor(0.3 * n) <= counts[x] <= np.ceil(0.3 * n) for x, n in there.items())
    assert sum(counts.values()) == pytest.approx(0.3 * sum(there.values()), abs=3 * np.sqrt(40 / 4))


def test_rows_that_occur_once_are_drawn_by_their_hash(spark):
    df = repeated(spark, 3000, 1)
    draws = df.withColumn("draw", F.pmod(F.xxhash64(F.lit("validation 5"), "x"), F.lit(2**31))).collect()
    chosen = {row.x for row in held_out(df, 0.25, seed=5).collect()}
    assert chosen == {row.x for row in draws if row.draw < 2**29}
    assert len(chosen) == pytest.approx(750, abs=3 * np.sqrt(3000 * 0.25 * 0.75))


def test_the_choice_depends_neither_on_partitions_nor_on_the_order_of_rows(spark):
    df = repeated(spark, 5, 30).union(repeated(spark, 200, 1))
    first = sorted(held_out(df.coalesce(1)).collect())
    assert first == sorted(held_out(df.orderBy(F.desc("id")).repartition(7)).collect())
    assert first != sorted(held_out(df, seed=1).collect())


def test_rows_that_spark_cannot_hash_and_names_that_occur_twice_may_stand_beside(spark):
    df = repeated(spark, 2, 50).select("x", F.create_map(F.lit("a"), "id").alias("a map"), "id", "id")
    assert counts_of(held_out(df.select("*", F.col("x").alias("y`.z")))) == {0.0: 10, 1.0: 10}


def test_a_fit_on_a_table_of_four_cases_validates_on_a_fifth_of_each(spark):
    rows = [([a, b], label) for (a, b), label in XOR.items()] * 250
    df = spark.createDataFrame(rows, "features array<float>, label int").repartition(3)
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    summary = KerasClassifier(model=model, validationSplit=0.2, epochs=12, numWorkers=2, verbose=0).fit(df).summary
    assert sum(summary.validationRows) == 200 and sum(summary.rows) == 800
    assert summary.history["val_accuracy"][-1] == 1.0
