"""Each column that enters an evaluation is checked by the same rules, in one pass over the rows."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras import ClassificationEvaluation, RegressionEvaluation
from spark_keras.evaluation import curves

NAN, INF = float("nan"), float("inf")


def scored(spark, y, p, prediction=None, w=None, partitions=2):
    """Labels, predictions and vectors of probabilities, as Spark's classifiers give them."""
    p = np.asarray(p, "float64")
    prediction = p.argmax(axis=1) if prediction is None else prediction
    w = np.ones(len(p)) if w is None else w
    rows = [(float(a), float(b), Vectors.dense(c), float(d)) for a, b, c, d in zip(y, prediction, p, w, strict=True)]
    return spark.sparkContext.parallelize(rows, partitions).toDF(["label", "prediction", "probability", "w"])


def drawn(rows=300, classes=3, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    p = random.dirichlet(np.ones(classes), rows)
    p[np.arange(rows), y] += 0.4
    # With ties, which areas count half.
    return y, (p / p.sum(axis=1, keepdims=True)).round(2), random.uniform(0.5, 2.0, rows)


def test_a_model_that_gives_only_nan_is_refused_or_never_right(spark):
    y, p, _ = drawn(40)
    p[:] = NAN
    df = scored(spark, y, p, prediction=np.zeros(40))
    with pytest.raises(ValueError, match=r"Received: 40 rows with NaN or infinite .* in column 'probability' \(prob"):
        ClassificationEvaluation.of(df)
    report = ClassificationEvaluation.of(df, nonFinite="wrong")
    assert [report.topK(k) for k in (1, 2, 3)] == [0.0, 0.0, 0.0]
    assert report.accuracy == np.mean(y == 0)
    assert all(curve.areaUnderROC == 0.0 for curve in report.curves)


def test_rows_with_infinite_scores_are_refused_or_wrong_as_in_keras(spark):
    y, p, _ = drawn(40)
    p[np.arange(40), y] = 0.9
    p[:10, 0] = [INF, -INF, NAN, INF, INF, -INF, INF, INF, NAN, INF]
    df = scored(spark, y, p, prediction=y)
    with pytest.raises(ValueError, match="Received: 10 rows with NaN or infinite numbers"):
        ClassificationEvaluation.of(df)
    report = ClassificationEvaluation.of(df, nonFinite="wrong")
    for k in (1, 2):
        expected = keras.metrics.SparseTopKCategoricalAccuracy(k)
        expected.update_state(y, p.astype("float32"))
        assert report.topK(k) == pytest.approx(float(expected.result())) == 0.75
    assert report.accuracy == 1.0


@pytest.mark.parametrize(
    "column, values, message",
    [
        ("prediction", [-1.0, 0.7, 5.0], r"3 rows with what is no class index \(-1, 0.7, 5\) in column 'prediction'"),
        ("prediction", [NAN], r"1 rows with NaN or infinite numbers \(nan\) in column 'prediction' \(predictionCol\)"),
        ("label", [-1.0, 0.7, 5.0], r"labels \[-1.0, 0.7, 5.0\] and vectors of 2 scores, in 3 rows of column 'label'"),
        ("label", [None, None], r"2 rows with null in column 'label' \(labelCol\)"),
        ("label", [INF], r"1 rows with NaN or infinite numbers \(inf\) in column 'label'"),
        ("w", [-1.0], r"1 rows with negative numbers \(-1\) in column 'w' \(weightCol\)"),
        ("w", [NAN, INF], r"2 rows with NaN or infinite numbers .* in column 'w'"),
        ("w", [None], r"Weights are missing. Received: 1 rows with null in column 'w'"),
        ("probability", [None], r"1 rows with null in column 'probability' \(probabilityCol\)"),
        ("probability", [[1.0, None]], r"1 rows with null in column 'probability'"),
        ("probability", [[0.2, 0.5, 0.3]], r"vectors of 2 and 3 scores in column 'probability'"),
        ("probability", [[]], r"vectors of 0 and 2 scores in column 'probability'"),
        ("probability", [[-2.0, 3.0]], r"1 rows with numbers outside \[0, 1\] \(-2\) in column .* `rawPredictionCol`"),
    ],
)
def test_rows_at_fault_are_counted_and_their_column_is_named(spark, column, values, message):
    whole = {"label": 1.0, "prediction": 1.0, "probability": [0.2, 0.8], "w": 1.0}
    rows = [whole] * 4 + [{**whole, column: value} for value in values]
    kinds = "label double, prediction double, probability array<double>, w double"
    df = spark.createDataFrame([tuple(row[name] for name in whole) for row in rows], kinds).repartition(2)
    with pytest.raises(ValueError, match=message):
        ClassificationEvaluation.of(df, weightCol="w")
    assert (
        ClassificationEvaluation.of(df.limit(0).union(spark.createDataFrame([tuple(whole.values())], kinds))).rows == 1
    )


def test_all_columns_at_fault_are_named_at_once(spark):
    df = scored(spark, [0, 1, 9], [[0.9, 0.1], [0.2, 0.8], [NAN, 0.5]], prediction=[0, -1, 1], w=[1, -1, 1])
    with pytest.raises(ValueError) as error:
        ClassificationEvaluation.of(df, weightCol="w")
    for column in ("'label' (labelCol)", "'prediction' (predictionCol)", "'probability' (probabilityCol)", "'w'"):
        assert column in str(error.value)


def test_rows_without_a_prediction_are_left_out_and_counted(spark):
    y, p, _ = drawn(20, 2)
    df = scored(spark, y, p).withColumn("prediction", F.when(F.col("label") == 1, F.col("prediction")))
    report = ClassificationEvaluation.of(df)
    assert report.leftOut == np.count_nonzero(y == 0) and report.rows == np.count_nonzero(y == 1)
    assert "left out" in str(report)
    with pytest.raises(ValueError, match="no rows to evaluate. Received: 20 that do not count"):
        ClassificationEvaluation.of(df.withColumn("prediction", F.lit(None).cast("double")))
    with pytest.raises(ValueError, match="weights sum to 0"):
        ClassificationEvaluation.of(df.withColumn("w", F.lit(0.0)), weightCol="w")


def test_columns_of_a_wrong_kind_are_refused_before_a_job(spark):
    df = scored(spark, *drawn(4, 2)[:2])
    for column in ("label", "prediction", "w"):
        text = df.withColumn(column, F.col(column).cast("string"))
        with pytest.raises(ValueError, match=rf"Column '{column}' in Param `\w+` cannot .*string.*StringIndexer"):
            ClassificationEvaluation.of(text, weightCol="w")
    with pytest.raises(ValueError, match=r"Column 'probability' in `predictionCol` is an array"):
        ClassificationEvaluation.of(df, predictionCol="probability")
    with pytest.raises(ValueError, match="Unknown column in Param `maskCol`. Received: 'seen'"):
        ClassificationEvaluation.of(df, maskCol="seen")
    for argument, value in (("bins", -1), ("nonFinite", "skip")):
        with pytest.raises(ValueError, match=f"Invalid value for argument `{argument}`"):
            ClassificationEvaluation.of(df, **{argument: value})


def test_booleans_and_decimals_are_labels(spark):
    y, p, _ = drawn(30, 2)
    df = scored(spark, y, p)
    expected = ClassificationEvaluation.of(df).confusionMatrix
    for kind in ("boolean", "decimal(3,0)"):
        cast = df.withColumn("label", F.col("label").cast(kind)).withColumn(
            "prediction", F.col("prediction").cast(kind)
        )
        np.testing.assert_array_equal(ClassificationEvaluation.of(cast).confusionMatrix, expected)


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("prediction", INF, r"1 rows with NaN or infinite numbers \(inf\) in column 'prediction' \(predictionCol\)"),
        ("prediction", NAN, r"1 rows with NaN or infinite numbers \(nan\) in column 'prediction'"),
        ("label", -INF, r"1 rows with NaN or infinite numbers \(-inf\) in column 'label' \(labelCol\)"),
        ("w", -0.5, r"1 rows with negative numbers \(-0.5\) in column 'w' \(weightCol\)"),
        ("w", NAN, r"1 rows with NaN or infinite numbers \(nan\) in column 'w'"),
        ("seen", 0.5, r"1 rows with neither 0 nor 1 \(0.5\) in column 'seen' \(maskCol\)"),
    ],
)
def test_rows_of_a_regression_at_fault_are_counted_and_their_column_is_named(spark, column, value, message):
    whole = {"label": 1.0, "prediction": 1.5, "w": 1.0, "seen": 1.0}
    rows = [tuple(row.values()) for row in (whole, {**whole, column: value}, whole)]
    df = spark.createDataFrame(rows, list(whole))
    with pytest.raises(ValueError, match=message):
        RegressionEvaluation.of(df, weightCol="w", maskCol="seen")


def test_each_row_is_looked_at_once_and_in_few_tasks(spark):
    y, p, w = drawn(2000, 3)
    seen = spark.sparkContext.accumulator(0)

    @F.udf(T.DoubleType())
    def counted(weight):
        seen.add(1)
        return weight

    df = scored(spark, y, p, w=w).withColumn("w", counted("w"))
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "200")
    spark.sparkContext.setJobGroup("evaluation", "")
    try:
        report = ClassificationEvaluation.of(df, weightCol="w")
        tracker = spark.sparkContext.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup("evaluation")]
        stages = [tracker.getStageInfo(stage) for job in jobs for stage in job.stageIds]
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert seen.value == 2000
    assert sum(stage.numTasks for stage in stages if stage) <= 8
    from sklearn import metrics

    for index, curve in enumerate(report.curves):
        expected = metrics.roc_auc_score(y == index, p[:, index], sample_weight=w)
        assert curve.areaUnderROC == pytest.approx(expected, abs=1e-12)


def test_curves_of_more_points_than_the_driver_takes_are_the_same(spark, monkeypatch):
    y, p, w = drawn(2000, 3, seed=1)
    df = scored(spark, y, p, w=w, partitions=3)
    short = ClassificationEvaluation.of(df, weightCol="w").curves
    monkeypatch.setattr(curves, "DRIVER_POINTS", 10)
    for one, other in zip(short, ClassificationEvaluation.of(df, weightCol="w").curves, strict=True):
        for name in ("positives", "negatives", "areaUnderROC", "areaUnderPR", "calibrationError"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12)
        for name in ("thresholds", "truePositiveRate", "falsePositiveRate", "precision", "binCounts"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)
