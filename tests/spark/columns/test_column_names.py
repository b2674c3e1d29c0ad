"""Params name columns as Spark does: fields of structs, another case, backticks; ambiguous names are refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from py4j.java_gateway import GatewayClient
from pyspark.sql import functions as F

from spark_keras import (
    KerasClassificationModel,
    KerasClassifier,
    KerasEstimator,
    KerasRegressionModel,
    KerasRegressor,
    KerasTransformer,
)
from spark_keras.columns import names as column_names


@pytest.fixture
def df(spark):
    rows = spark.range(8).coalesce(1).selectExpr("id", "float(id) / 8 AS x", "double(id % 2) AS label")
    return rows.selectExpr(
        "id",
        "label",
        "array(x, 1 - x) AS Features",
        "named_struct('f', array(x, 2 * x), 'in', named_struct('n', x, 'my-n', x + 1), 'flag', id % 4 = 0) AS s",
        "array(named_struct('v', x), named_struct('v', x + 1)) AS items",
        "map('a', x, 'b', 2 * x) AS m",
        "x AS `s.x`",
        "x + 5 AS `a``b`",
        "array(x, 3 * x) AS `s.f.g`",
    )


def values(df, name):
    """Spark's own word for what the name means."""
    return [row[0] for row in df.orderBy("id").select(F.col(name)).collect()]


SPARKS = [
    "features",
    "FEATURES",
    "s.f",
    "S.F",
    "`s`.`f`",
    "`Features`",
    "s.in.n",
    "s.in.my-n",
    "items.v",
    "m.a",
    "`s.x`",
]


@pytest.mark.parametrize("name", SPARKS)
def test_names_mean_what_they_mean_to_spark(df, name):
    found = column_names.field(df, "featuresCol", name)
    assert found.data_type == df.select(F.col(name)).schema[0].dataType
    assert [row[0] for row in df.orderBy("id").select(F.expr(found.sql)).collect()] == values(df, name)


def test_whole_names_go_before_fields(df):
    inner = df.withColumn("s", F.struct(F.lit(9.0).alias("x")))
    assert column_names.field(inner, "p", "s.x").sql == "`s.x`"
    assert column_names.field(inner.drop("s.x"), "p", "s.x").sql == "`s`.`x`"
    assert column_names.field(df, "p", "a`b").sql == "`a``b`" == column_names.field(df, "p", "`a``b`").sql


@pytest.mark.parametrize("name", ["nothing", "s.nothing", "s.f.nothing", "`s", "s..f", "nothing.f", "id.f", "`s.f`"])
def test_unknown_names_are_refused_with_what_there_is(df, name):
    with pytest.raises(ValueError, match=r"Unknown column in Param `p`. Received: .*Expected: .*'s', 's.f', 's.in'"):
        column_names.field(df, "p", name)


def test_ambiguous_names_are_refused(spark, df):
    two = df.withColumnRenamed("id", "ID2").selectExpr("*", "label AS other").toDF(*df.columns, "LABEL")
    twice = df.select("id", "label", "label")
    nested = df.selectExpr("named_struct('a', 1, 'A', 2) AS s")
    for frame, name in ((two, "label"), (two, "Label"), (twice, "label"), (nested, "s.a")):
        with pytest.raises(ValueError, match=f"Ambiguous column in Param `p`. Received: '{name}'.*Expected"):
            column_names.field(frame, "p", name)


def test_case_counts_where_spark_is_told_so(spark, df):
    two = df.selectExpr("id", "label", "label + 1 AS LABEL")
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        assert column_names.field(two, "p", "LABEL").sql == "`LABEL`"
        with pytest.raises(ValueError, match="Unknown column"):
            column_names.field(two, "p", "Label")
        column_names.check_new(two, [("predictionCol", "Label"), ("probabilityCol", "laBel")])
    finally:
        spark.conf.unset("spark.sql.caseSensitive")
    with pytest.raises(ValueError, match="Ambiguous"):
        column_names.field(two, "p", "LABEL")


def test_spark_is_not_asked_for_each_of_many_names(spark, monkeypatch):
    wide = spark.range(1).select(*[F.lit(1.0).alias(f"C{index}") for index in range(500)])
    wide.schema  # noqa: B018  (asks Spark once)
    asked = []
    send = GatewayClient.send_command

    def noted(self, command, *more, **options):
        asked.append(command)
        return send(self, command, *more, **options)

    monkeypatch.setattr(GatewayClient, "send_command", noted)
    column_names.field(wide, "p", "C0")
    first = len(asked)
    assert all(column_names.field(wide, "p", f"C{index}").sql == f"`C{index}`" for index in range(500))
    assert len(asked) <= 2 * first


# --- new columns ---------------------------------------------------------------------------------------------------


def regression_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


def classification_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


def test_output_columns_that_spark_takes_for_others_are_found_before_the_fit(df):
    frame = df.withColumn("Prediction", F.lit(1.0))
    stages = [KerasRegressor(model=regression_model()), KerasClassifier(model=classification_model())]
    stages += [KerasEstimator(model=regression_model()), KerasTransformer(model=regression_model())]
    for stage in stages:
        with pytest.raises(ValueError, match="`predictionCol` is already present.*'prediction', beside 'Prediction'"):
            stage.fit(frame) if hasattr(stage, "fit") else stage.transform(frame)
    with pytest.raises(ValueError, match="Two outputs have one column.*'P' in Param .*'p' in Param"):
        KerasClassifier(model=classification_model(), predictionCol="p", probabilityCol="P").fit(df)
    with pytest.raises(ValueError, match="Two outputs have one column"):
        KerasClassificationModel(model=classification_model()).setRawPredictionCol("PREDICTION").transform(df)


# --- fits ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fit_transform_and_evaluation_with_nested_names_are_those_of_flat_ones(df, tmp_path):
    flat = df.selectExpr("id", "s.f AS features", "s.in.n AS label", "s.in.`my-n` AS w", "s.flag AS held_out")
    params = {"numWorkers": 1, "batchSize": 4, "epochs": 2, "verbose": 0}
    names = {"featuresCol": "S.f", "labelCol": "s.IN.n", "weightCol": "s.in.my-n", "validationIndicatorCol": "s.flag"}
    nested = KerasRegressor(model=regression_model(), **names, **params).fit(df)
    plain = {"weightCol": "w", "validationIndicatorCol": "held_out"}
    expected = KerasRegressor(model=regression_model(), **plain, **params).fit(flat)
    assert nested.summary.history == expected.summary.history and "val_mae" in nested.summary.history

    nested.save(str(tmp_path / "m"))
    loaded = KerasRegressionModel.load(str(tmp_path / "m"))
    assert loaded.getFeaturesCol() == "S.f" and loaded.getLabelCol() == "s.IN.n"
    predicted, wanted = (
        [r.prediction for r in each.orderBy("id").collect()]
        for each in (loaded.transform(df), expected.transform(flat))
    )
    np.testing.assert_array_equal(predicted, wanted)
    assert loaded.evaluate(df) == pytest.approx(expected.evaluate(flat), rel=1e-6)
    report, plain_report = loaded.evaluateRegression(df), expected.evaluateRegression(flat)
    assert report.rmse == pytest.approx(plain_report.rmse, rel=1e-9)
    scored = loaded.scoreExamples(df).agg(F.sum("loss")).first()[0]
    assert scored == pytest.approx(expected.scoreExamples(flat).agg(F.sum("loss")).first()[0], rel=1e-6)


def test_several_columns_may_be_fields(df):
    model = regression_model()
    stage = KerasTransformer(model=model, featuresCols=["s.in.n", "`s.x`"])
    given = [row.prediction for row in stage.transform(df).orderBy("id").collect()]
    x = np.array([[v, v] for v in values(df, "s.in.n")], "float32")
    np.testing.assert_allclose(given, model.predict(x, verbose=0), rtol=1e-6, atol=1e-7)
