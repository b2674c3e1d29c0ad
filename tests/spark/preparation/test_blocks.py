"""Functions over blocks of rows against numpy: shapes found without data, nulls, empty partitions, groups."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F

from spark_keras.preparation import aggregate, mapBlocks, mapRows, reduceBlocks

IDS = np.arange(10)


@pytest.fixture(scope="module")
def frame():
    """Ten rows in five partitions, of which two are empty: numbers, arrays, vectors, nulls."""
    from conftest import LOCAL, session_for

    frame = session_for(LOCAL).range(10).selectExpr(
        "id",
        "CAST(id AS float) AS x",
        "IF(id = 4, double('NaN'), id * 2.0D) AS y",
        "array(id * 1.0D, 2.0D) AS pair",
        "array(array(id, 1L, 2L), array(3L, 4L, id)) AS matrix",
        "IF(id < 3, NULL, id) AS n",
        "transform(sequence(0L, id % 3), k -> CAST(id + k AS float)) AS ragged",
        "IF(id = 5, array(1.0D, NULL), array(1.0D, 2.0D)) AS holes",
        "id % 3 AS key",
        "'text' AS `a.text`",
    )  # fmt: skip
    return frame.withColumn("vector", array_to_vector("pair")).repartition(5, "key").cache()


def columns(df, *names):
    """Columns in the order of id, as arrays."""
    rows = sorted(df.select("id", *names).collect(), key=lambda row: row.id)
    return [np.asarray([row[name] for row in rows]) for name in names]


def types(df, *names):
    return [df.schema[name].dataType.simpleString() for name in names]


@pytest.mark.oldest
def test_blocks_of_numpy(frame):
    made = mapBlocks(
        frame, lambda x, y, pair: {"sum": x + y, "twice": pair * 2, "large": x > 4, "whole": x.astype("int64")}
    )
    assert made.columns == [*frame.columns, "sum", "twice", "large", "whole"]
    assert types(made, "sum", "twice", "large", "whole") == ["double", "array<double>", "boolean", "bigint"]
    total, twice, large, whole = columns(made, "sum", "twice", "large", "whole")
    y = np.where(IDS == 4, np.nan, IDS * 2.0)
    assert np.array_equal(total, IDS + y, equal_nan=True)
    assert np.array_equal(twice, np.stack([IDS * 2.0, np.full(10, 4.0)], axis=1))
    assert np.array_equal(large, IDS > 4) and np.array_equal(whole, IDS)
    assert [row["a.text"] for row in made.select("`a.text`").collect()] == ["text"] * 10


@pytest.mark.slow
def test_blocks_of_keras_ops(frame):
    weights = np.array([[1.0], [0.5]])

    def layer(vector, matrix):
        return keras.ops.relu(keras.ops.matmul(vector, weights)), keras.ops.transpose(matrix, (0, 2, 1))

    made = mapBlocks(frame, layer, ["out", "turned"], shapes={"vector": (2,), "matrix": (2, 3)})
    assert types(made, "out", "turned") == ["array<double>", "array<array<bigint>>"]
    out, turned = columns(made, "out", "turned")
    assert np.allclose(out, (IDS + 1.0)[:, None])
    assert turned.shape == (10, 3, 2) and turned[7].tolist() == [[7, 3], [1, 4], [2, 7]]
    # An output that is filtered by does not make the function run twice or fail.
    assert made.where(F.col("out")[0] > 8).count() == 2


def test_rows_of_any_length(frame):
    def numpy_row(ragged):
        return {"mean": np.mean(ragged), "back": ragged[::-1]}

    def keras_row(ragged):
        return {"mean": keras.ops.mean(ragged), "back": keras.ops.flip(ragged)}

    for function in (numpy_row, keras_row):
        made = mapRows(frame, function)
        assert types(made, "mean", "back") == ["float", "array<float>"]
        rows = {row.id: row for row in made.collect()}
        for i in IDS:
            row = np.arange(i, i + i % 3 + 1)
            assert rows[i]["mean"] == row.mean() and rows[i].back == row[::-1].tolist()


@pytest.mark.slow
def test_nulls_by_rule(frame):
    made = mapBlocks(frame, lambda n, holes: {"m": n + holes[:, 0]}, nulls="null")
    found = {row.id: row.m for row in made.collect()}
    assert found == {i: (None if i < 3 or i == 5 else i + 1.0) for i in range(10)}
    only = mapRows(frame.where("id < 3"), lambda n: {"m": n + 1}, nulls="null")
    assert [row.m for row in only.collect()] == [None] * 3
    for function in (mapBlocks, mapRows):
        with pytest.raises(Exception, match="Null in column 'n' \\(inputs\\). Received: . such rows"):
            function(frame, lambda n: n + 1, "m").collect()
    with pytest.raises(Exception, match="Null in column 'holes'"):
        reduceBlocks(frame, lambda holes: holes.sum(axis=0))


@pytest.mark.slow
def test_reductions_are_those_of_numpy_whatever_the_partitions(frame):
    for df in (frame, frame.coalesce(1), frame.repartition(3)):
        assert reduceBlocks(df, lambda x: np.sum(x, axis=0)) == 45.0
    made = reduceBlocks(frame, lambda pair, matrix: {"pair": pair.max(axis=0), "matrix": matrix.sum(axis=0)})
    assert made["pair"].tolist() == [9.0, 2.0]
    assert made["matrix"].tolist() == [[45, 10, 20], [30, 40, 45]] and made["matrix"].dtype == np.int64
    largest = reduceBlocks(frame, lambda n: keras.ops.max(n, axis=0), nulls="skip")
    assert largest == 9 and largest.dtype == np.int64
    with pytest.raises(ValueError, match="Nothing to reduce in reduceBlocks"):
        reduceBlocks(frame.where("id > 99"), lambda x: x.sum(axis=0))


@pytest.mark.oldest
@pytest.mark.slow
def test_groups_are_those_of_pandas(frame):
    def figures(x, pair):
        return {"median": np.median(x), "pair": pair.sum(axis=0), "rows": len(x)}

    made = aggregate(frame.groupBy("key", (F.col("id") > 7).alias("late")), figures)
    assert made.columns == ["key", "late", "median", "pair", "rows"]
    table = pd.DataFrame({"key": IDS % 3, "late": IDS > 7, "x": IDS})
    expected = table.groupby(["key", "late"]).x.agg(["median", "sum", "size"])
    found = {(row.key, row.late): (row["median"], row.pair, row.rows) for row in made.collect()}
    assert found == {
        key: (row["median"], [float(row["sum"]), 2.0 * row["size"]], row["size"]) for key, row in expected.iterrows()
    }
    by_keras = aggregate(
        frame.groupBy("key"), lambda vector: keras.ops.max(vector, axis=0), "most", shapes={"vector": (2,)}
    )
    assert {row.key: row.most for row in by_keras.collect()} == {0: [9.0, 2.0], 1: [7.0, 2.0], 2: [8.0, 2.0]}
    with_null = aggregate(frame.groupBy("key"), lambda holes: holes.sum(axis=0), "sum", nulls="null")
    assert {row.key: row["sum"] for row in with_null.collect()} == {0: [4.0, 8.0], 1: [3.0, 6.0], 2: None}


def test_shapes_are_found_before_any_job(frame):
    # The function would fail on these rows, and no job has run when its outputs are known.
    empty = frame.where("assert_true(id < 0) IS NULL AND id < 0")
    made = mapBlocks(empty, lambda x, pair: {"z": x + 1, "p": pair.mean(axis=1, keepdims=True)})
    assert types(made, "z", "p") == ["float", "array<double>"]
    assert mapBlocks(frame.where("id > 99"), lambda x: {"z": x + 1}).count() == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda df: mapBlocks(df, lambda q: q, "z"), "Unknown column in Param `inputs`. Received: 'q'"),
        (
            lambda df: mapBlocks(df, lambda x: x, "y"),
            "Output columns of mapBlocks are already present. Received: \\['y'\\]",
        ),
        (lambda df: mapBlocks(df, lambda x: x), "Outputs of the function of mapBlocks have no names"),
        (lambda df: mapBlocks(df, lambda x: x, ["a", "b"]), "Wrong number of outputs .* Received: 1. Expected: 2"),
        (lambda df: mapBlocks(df, lambda x: x.sum(), "z"), "Received: shape \\(\\). Expected: \\(rows, …\\)"),
        (
            lambda df: mapBlocks(df, lambda pair: pair @ np.ones((3, 1)), "z", shapes={"pair": (2,)}),
            "pair \\(None, 2\\) float64. Called with arrays of ones: matmul",
        ),
        (
            lambda df: mapBlocks(df, lambda pair: pair, "z", shapes={"pair": (2, 1)}),
            "Expected: 1 dimensions, as the column",
        ),
        (lambda df: mapBlocks(df, lambda x: x, "z", shapes={"pair": (2,)}), "Unknown columns in Param `shapes`"),
        (lambda df: mapBlocks(df, lambda x: x.astype(str), "z"), "Wrong output 'z' .* Expected: one of"),
        (lambda df: mapBlocks(df, lambda *x: x, "z"), "No inputs for mapBlocks"),
        (
            lambda df: mapBlocks(df, lambda x: x, "z", inputs=["a.text"]),
            "Column 'a.text' in Param `inputs` cannot become",
        ),
        (lambda df: mapBlocks(df, lambda x: x, "z", nulls="skip"), "Invalid value for Param `nulls` of mapBlocks"),
        (lambda df: reduceBlocks(df, lambda x: x), "Wrong output 'x' .* reduceBlocks. Received: shape \\(None,\\)"),
        (lambda df: aggregate(df.groupBy("key"), lambda x: x.sum(), "key"), "already present. Received: \\['key'\\]"),
    ],
)
def test_bad_input_is_refused_before_any_job(frame, call, message):
    with pytest.raises(ValueError, match=message):
        call(frame)


def test_blocks_that_break_their_promise_are_named(frame):
    def loses_rows(x):
        return {"z": x[: max(2, len(x) - 1)] if len(x) != 3 else x}

    with pytest.raises(Exception, match="Wrong output 'z' of the function of mapBlocks. Received: shape"):
        mapBlocks(frame.coalesce(1), loses_rows).collect()
    with pytest.raises(Exception, match="Ragged arrays in column 'ragged'"):
        mapBlocks(frame.coalesce(1), lambda ragged: ragged, "z").collect()


def test_names_with_backticks_and_dots_are_names_in_every_function(spark):
    df = spark.range(6).selectExpr("id * 1.0D AS `a``b.c d`", "id % 2 AS `k``.`")
    name, key = "a`b.c d", "k`."
    assert reduceBlocks(df, lambda x: x.sum(axis=0), inputs=[name]) == 15.0
    both = reduceBlocks(df, lambda x, k: (x.sum(axis=0), k.sum(axis=0)), inputs=[name, key])
    assert both == {name: 15.0, key: 3}
    made = mapBlocks(df, lambda x: x + 1, "n`.", inputs=[name])
    assert made.columns == [name, key, "n`."] and made.agg({"`n``.`": "sum"}).first()[0] == 21.0
    assert mapRows(df, lambda x: x + 1, "n`.", inputs=[name]).columns == [name, key, "n`."]
    grouped = aggregate(df.groupBy("`k``.`"), lambda x: x.sum(), "s`.", inputs=[name])
    assert sorted(map(tuple, grouped.collect())) == [(0, 6.0), (1, 9.0)]
