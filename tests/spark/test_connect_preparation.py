"""Analysis and preparation on Spark Connect."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.linalg import Vectors

from spark_keras import (
    DataFrameAnalysis,
    DataFrameAnalyzer,
    DriftError,
    TensorAnalyzer,
)
from spark_keras.preparation import (
    DataQuality,
    Schema,
    TransformProcess,
    aggregate,
    col,
    countRows,
    mapBlocks,
    mapRows,
    reduceBlocks,
    sqlReduction,
)

ROWS = 100
COLUMNS = (
    "id",
    "id / 4 AS x",
    "concat('s', id % 3) AS s",
    "array(id * 1.0D, 2.0D) AS v",
    "timestamp_seconds(id * 60) AS t",
    "struct(id % 5 AS a) AS inner",
    "string(id % 2) AS k",
)


@pytest.fixture
def spark(connect_session, monkeypatch):
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    # For a hundred rows, compiling each plan would take longer than running it.
    settings = {"spark.sql.session.timeZone": "UTC", "spark.sql.codegen.wholeStage": "false"}
    before = {name: connect_session.conf.get(name) for name in settings}
    for name, value in settings.items():
        connect_session.conf.set(name, value)
    yield connect_session
    for name, value in before.items():
        connect_session.conf.set(name, value)


@pytest.fixture
def df(spark):
    return spark.range(ROWS, numPartitions=1).selectExpr(*COLUMNS)


@pytest.fixture
def analysis(df):
    return DataFrameAnalyzer(elementStatistics=True, correlationCols=["id", "x"]).fit(df)


def test_analysis(spark, df, analysis, tmp_path):
    ids = np.arange(ROWS)
    assert analysis["x"].variance == pytest.approx(np.var(ids / 4, ddof=1))
    assert analysis["x"].histogram.counts == (10,) * 10
    assert dict(analysis["s"].mostFrequent) == {"s0": 34, "s1": 33, "s2": 33}
    assert (analysis["v"].tensorShape, analysis["v"].elements[0].max) == ((2,), 99.0)
    assert analysis["inner.a"].positives == 80
    assert analysis.toDF(spark).count() == len(analysis)
    analysis.save(str(tmp_path / "analysis"))
    assert DataFrameAnalysis.load(str(tmp_path / "analysis")).toJSON() == analysis.toJSON()

    vectors = spark.createDataFrame([(Vectors.dense([1.0, 2.0]),), (Vectors.sparse(2, [0], [3.0]),)], ["f"])
    assert DataFrameAnalyzer().fit(vectors)["f"].tensorShape == (2,)
    shaped = TensorAnalyzer(inputCols=["v"]).fit(df).transform(df)
    assert shaped.schema["v"].metadata == {"tensor_shape": [2]}


def test_preparation_and_drift_check_in_a_pipeline(spark, df, analysis, tmp_path):
    names = spark.createDataFrame([("0", "even"), ("1", "odd")], "k string, name string")
    process = (
        TransformProcess(df)
        .remove("inner", "s")
        .keepWhere(col("x") >= 5)
        .deriveTime("t", {"minute": "minute"})
        .standardise("x", analysis=analysis)
        .join(names, on="k", how="left")
    )
    Pipeline(stages=[process, DataFrameAnalyzer()]).fit(df).save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    last = loaded.transform(df).orderBy("id").tail(1)[0]
    assert (last.id, last.minute, last["name"]) == (99, 39, "odd")
    assert last.x == pytest.approx(49.5 / np.std(np.arange(ROWS), ddof=1))
    with pytest.raises(DriftError, match="'x', distribution"):
        loaded.transform(df.where("id < 60"))

    groups = TransformProcess(df).groupBy("k").agg(n=countRows(), last=col("id").last(by="t")).transform(df)
    assert sorted(map(tuple, groups.collect())) == [("0", 50, 98), ("1", 50, 99)]
    windows = (
        TransformProcess(df)
        .keep("k", "t", "x")
        .toSequences(by="k", orderBy="t")
        .windows(4, step=2)
        .stackSequences("features", "x")
    )
    features = [row.features for row in windows.transform(df).collect()]
    assert np.shape(features) == (2 * 24, 4, 1) and np.ptp(np.diff(features, axis=1)) == 0
    reduced = (
        TransformProcess(df)
        .keep("id", "k", "t", "s")
        .termsToIndices("s", "terms", ["s0", "s1", "s2"])
        .reduceArray("term", "sum", "terms")
        .remove("terms")
        .toSequences(by="k", orderBy="t")
        .function("root", "sqrt", "term")
        .cast({"term": "integer"})
        .keepSteps(col("id") >= 90)
        .timeWindows("4 minutes", on="t", start="from")
        .reduceSequences(n=countRows(), terms=col("term").sum(), largest=col("root").max())
        .toRows()
        .groupBy("k")
        .agg(ids=sqlReduction("sort_array(collect_list(id))"), roots=col("root").sum())
    )
    found = {row.k: (row.ids, row.roots) for row in reduced.transform(df).collect()}
    ids = {str(k): [i for i in range(90, ROWS) if i % 2 == k] for k in (0, 1)}
    assert found == {k: (some, pytest.approx(sum((i % 3) ** 0.5 for i in some))) for k, some in ids.items()}
    with pytest.raises(ValueError, match="Invalid sqlReduction in step agg"):
        TransformProcess(df).groupBy("k").agg(x=sqlReduction("sum(nothing)"))
    (problem,) = TransformProcess(df).parseTime("s", "yyyy").problems(df)
    assert (problem.count, problem.examples) == (100, ("s0", "s1", "s2"))


def test_quality(df):
    assert Schema.of(df, categorical=["s"])["s"].states == ("s0", "s1", "s2")
    quality = DataQuality.of(df, Schema().double("x", maximum=24).categorical("s", ["s0", "s1"]))
    assert (quality["x"].invalid, quality["x"].examples) == (3, ("24.25", "24.5", "24.75"))
    assert (quality["s"].valid, quality["s"].examples) == (67, ("s2",))


def test_blocks(df):
    v = np.stack([np.arange(ROWS), np.full(ROWS, 2.0)], 1)
    mapped = mapBlocks(df, keras.ops.softmax, "p", inputs=["v"]).select("id", "p").collect()
    # Softmax of two numbers is the logistic function of their difference.
    expected = 1 / (1 + np.exp(v[:, 1] - v[:, 0]))
    np.testing.assert_allclose([row.p[0] for row in sorted(mapped)], expected, rtol=1e-5)
    assert mapRows(df, lambda v: {"m": np.mean(v)}).selectExpr("sum(m)").first()[0] == v.mean(axis=1).sum()
    assert reduceBlocks(df, lambda v: np.sum(v, axis=0)).tolist() == v.sum(axis=0).tolist()
    medians = aggregate(df.groupBy("k"), lambda x: {"m": np.median(x)}).collect()
    assert {row.k: row.m for row in medians} == {"0": 12.25, "1": 12.5}
