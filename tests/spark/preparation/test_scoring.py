"""One process for the rows that a model is trained on and for those that it is to score: no labels, other columns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from spark_keras import KerasClassifier
from spark_keras.preparation import Schema, TransformProcess, col, countRows

SCHEMA = (
    Schema()
    .string("customer")
    .double("amount", "income")
    .categorical("country", ["USA", "CAN"])
    .string("churned")
    .labels("churned")
)
ROWS = [("a", 1.0, 2.0, "USA", "yes"), ("b", 3.0, 4.0, "CAN", "no"), ("c", None, 6.0, "USA", None)]


def start():
    return TransformProcess(SCHEMA)


@pytest.fixture
def rows(spark):
    return spark.createDataFrame(ROWS, "customer string, amount double, income double, country string, churned string")


def prepared():
    return (
        start()
        .remove("customer")
        .removeMissing("amount", "churned")
        .toCategorical("churned", ["no", "yes"])
        .categoricalToInteger("country", "churned")
        .rename({"churned": "label"})
        .arithmetic("share", "/", "amount", "income")
        .arithmetic("gain", "-", "label", "share")
        .duplicate("gain", "again")
        .keepWhere(col("label") < 2)
    )


def test_what_is_made_of_labels_is_missing_where_they_are_and_nothing_else_changes(rows):
    process = prepared()
    trained = process.transform(rows)
    assert trained.columns == process.schema.names
    scored = process.transform(rows.drop("churned"))
    assert scored.columns == ["amount", "income", "country", "share"]
    # The row without a label counts as any other; the one without an amount is still removed.
    assert sorted(scored.collect()) == sorted(trained.select(scored.columns).collect())


def test_columns_that_the_schema_does_not_know_pass_through_every_step_of_rows(rows):
    others = rows.withColumn("id.x`y", F.lit(7)).withColumn("vector", F.array(F.lit(1.5)))
    made = prepared().transform(others)
    assert made.columns == [*prepared().schema.names, "id.x`y", "vector"]
    assert [tuple(row[-2:]) for row in made.collect()] == [(7, [1.5])] * 2
    # What they hold decides nothing: not even by a filter over all columns, nor by a choice of columns.
    empty = rows.withColumn("note", F.lit(None).cast("string"))
    assert start().removeMissing().transform(empty).count() == start().removeMissing().transform(rows).count() == 2
    assert start().keep("amount").transform(empty).columns == ["amount", "note"]
    windows = (
        start().keep("customer", "amount").join(rows.select("customer", F.lit(1).alias("n")), on="customer", how="left")
    )
    assert windows.transform(empty).columns == ["customer", "amount", "n", "note"]
    # One row of several has none of them.
    grouped = start().groupBy("country").agg(rows=countRows())
    assert grouped.transform(empty).columns == ["country", "rows"]
    sequences = start().toSequences(by="country", orderBy="income")
    assert "note" not in sequences.transform(empty).columns


def test_columns_that_no_step_needs_may_be_missing(rows):
    process = start().remove("customer").function("log", "log", "amount")
    assert process.transform(rows.drop("customer", "income", "churned")).columns == ["amount", "country", "log"]
    with pytest.raises(ValueError) as error:
        process.arithmetic("x", "+", "amount", "income").transform(
            rows.drop("amount", "income").withColumn("country", F.lit(1))
        )
    for part in (
        "no column 'amount' (double), which step 'function' needs",
        "no column 'income' (double), which step 'arithmetic' needs",
        "column 'country' is int, not string",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "process, message",
    [
        (
            start().replaceWhere("amount", 0.0, col("churned") == "yes"),
            "no column 'churned' \\(string\\), a label, which step 'replaceWhere' needs for other columns",
        ),
        (start().keepWhere((col("churned") == "yes") & (col("amount") > 0)), "a label, which step 'keepWhere' needs"),
        (start().groupBy("churned").agg(n=countRows()), "a label, which step 'groupBy' needs"),
        (start().rename({"customer": "client"}).changeCase("client", case="upper"), "which step 'rename' needs"),
    ],
)
def test_a_step_that_would_change_more_than_labels_needs_them(rows, process, message):
    with pytest.raises(ValueError, match=message):
        process.transform(rows.drop("churned", "customer"))


def test_reductions_of_a_label_are_left_out_and_the_others_stay(rows):
    process = start().groupBy("country").agg(total=col("amount").sum(), latest=col("churned").max())
    assert sorted(process.transform(rows.drop("churned")).collect()) == [("CAN", 3.0), ("USA", 1.0)]


def test_an_unknown_column_of_the_name_of_a_new_one_is_refused_before_a_job(rows):
    with pytest.raises(ValueError, match="New column of step function is there already. Received: 'log'"):
        start().function("log", "log", "amount").transform(rows.withColumn("LOG", F.lit(1)))


def test_names_are_found_as_spark_finds_them(rows):
    process = start().function("log", "log", "amount")
    made = process.transform(rows.withColumnRenamed("amount", "Amount"))
    assert made.columns == process.schema.names
    spark = rows.sparkSession
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(ValueError, match="no column 'amount'"):
            process.transform(rows.withColumnRenamed("amount", "Amount"))
        both = rows.withColumn("Amount", F.lit(1))
        assert process.transform(both).columns == [*process.schema.names, "Amount"]
        assert Schema().integer("a").integer("A").names == ["a", "A"]
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_marks_of_labels_are_kept_in_every_form(rows, tmp_path):
    process = TransformProcess(rows, labels="churned").toCategorical("churned", ["no", "yes"])
    assert "churned: string, label" in str(process)
    assert Schema.of(SCHEMA.toStructType()) == SCHEMA == Schema.fromJSON(SCHEMA.toJSON())
    process.save(str(tmp_path / "process"))
    for copy in (TransformProcess.load(str(tmp_path / "process")), TransformProcess.fromJSON(process.toJSON())):
        assert copy.transform(rows.drop("churned")).columns == ["customer", "amount", "income", "country"]
    with pytest.raises(ValueError, match="Unknown column in Schema.labels. Received: 'churn'"):
        TransformProcess(rows, labels=["churn"])


def test_problems_of_rows_without_labels_are_those_of_the_other_columns(rows):
    process = start().toCategorical("churned", ["no"]).toCategorical("country", ["USA"])
    assert [problem.column for problem in process.problems(rows)] == ["churned", "country"]
    assert [problem.column for problem in process.problems(rows.drop("churned"))] == ["country"]


@pytest.mark.slow
def test_a_pipeline_fitted_with_labels_scores_rows_without_them(spark, tmp_path):
    rng = np.random.default_rng(3)
    rows = [(i, float(x), "yes" if x > 0 else "no") for i, x in enumerate(rng.normal(size=64))]
    df = spark.createDataFrame(rows, "id long, x double, churned string").coalesce(1).cache()
    process = (
        TransformProcess(Schema().double("x").string("churned").labels("churned"))
        .toCategorical("churned", ["no", "yes"])
        .categoricalToInteger("churned")
    )
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    stages = [process, VectorAssembler(inputCols=["x"], outputCol="features")]
    classifier = KerasClassifier(model=model, labelCol="churned", epochs=3, batchSize=16, numWorkers=1)
    fitted = Pipeline(stages=[*stages, classifier]).fit(df)
    fitted.save(str(tmp_path / "fitted"))
    expected = fitted.transform(df).orderBy("id").select("id", "prediction", "probability").collect()
    for scorer in (fitted, PipelineModel.load(str(tmp_path / "fitted"))):
        scored = scorer.transform(df.drop("churned").withColumn("note", F.lit("new")))
        assert "churned" not in scored.columns and {"id", "note"} < set(scored.columns)
        assert scored.orderBy("id").select("id", "prediction", "probability").collect() == expected
    df.unpersist()
