"""Shapes of tensors: found once, kept in the columns' metadata, read by the estimators."""

from __future__ import annotations

import keras
import pytest
from conftest import LOCAL, session_for
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F

from spark_keras import KerasTransformer, TensorAnalysis, TensorAnalyzer, printTensorSchema


@pytest.fixture(scope="module")
def df():
    spark = session_for(LOCAL)
    frame = spark.range(4).select(
        F.col("id").cast("int").alias("number"),
        F.array(*[F.array(*[F.col("id").cast("float") + j for j in range(3)])] * 2).alias("image"),
        F.when(F.col("id") != 2, F.array(*[F.lit(float(i)) for i in range(6)])).alias("flat"),
        F.sequence(F.lit(0), F.col("id").cast("int")).alias("ragged"),
        F.lit("text").alias("text"),
    )
    return frame.withColumn("vector", array_to_vector(F.array(F.lit(1.0), F.lit(2.0))))


def test_shapes_are_printed_before_and_after(df, capsys):
    printTensorSchema(df)
    assert capsys.readouterr().out.splitlines() == [
        "root",
        " |-- number: int[?]",
        " |-- image: double[?,?,?]",
        " |-- flat: double[?,?]",
        " |-- ragged: int[?,?]",
        " |-- text: string (no tensor)",
        " |-- vector: double[?,?]",
    ]
    fitted = TensorAnalyzer().fit(df)
    assert fitted.getShapes() == {"image": [2, 3], "flat": [6], "ragged": [-1], "vector": [2]}
    printTensorSchema(fitted.transform(df))
    assert capsys.readouterr().out.splitlines()[2:] == [
        " |-- image: double[?,2,3]",
        " |-- flat: double[?,6]",
        " |-- ragged: int[?,?]",
        " |-- text: string (no tensor)",
        " |-- vector: double[?,2]",
    ]


def test_shapes_stay_with_the_column_and_keep_its_other_metadata(df, tmp_path, spark):
    noted = df.select(F.col("image").alias("image", metadata={"unit": "lux"}), "number")
    shaped = TensorAnalyzer(inputCols=["image"]).fit(noted).transform(noted).where("number > 0")
    assert shaped.schema["image"].metadata["unit"] == "lux"
    assert shaped.columns == ["image", "number"]
    shaped.write.parquet(str(tmp_path / "rows"))
    again = spark.read.parquet(str(tmp_path / "rows"))
    assert again.schema["image"].metadata == shaped.schema["image"].metadata
    assert again.count() == 3


def test_an_estimators_stage_looks_at_no_row_where_metadata_tell_the_shape(spark, df):
    layer = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.GlobalAveragePooling1D()])

    def fails(batches):
        raise RuntimeError("a row was looked at")
        yield from batches

    image = df.select("image")
    shaped = TensorAnalyzer().fit(image)
    never = image.mapInPandas(fails, image.schema)
    transformer = KerasTransformer(model=model, featuresCol="image")
    with pytest.raises(Exception, match="a row was looked at"):
        transformer.transform(never)
    assert transformer.transform(shaped.transform(never)).columns == ["image", "prediction"]


def test_saved_in_a_pipeline(df, tmp_path):
    fitted = Pipeline(stages=[TensorAnalyzer(inputCols=["image"])]).fit(df)
    fitted.save(str(tmp_path / "shapes"))
    loaded = PipelineModel.load(str(tmp_path / "shapes"))
    assert isinstance(loaded.stages[0], TensorAnalysis)
    assert loaded.stages[0].getShapes() == {"image": [2, 3]}
    assert loaded.transform(df).schema == fitted.transform(df).schema


def test_columns_without_a_shape_are_refused(df):
    with pytest.raises(ValueError, match="'text' in Param `inputCols` has no shape to find. Received type: string"):
        TensorAnalyzer(inputCols=["text"]).fit(df)
    with pytest.raises(ValueError, match="Unknown column in Param `inputCols`. Received: 'missing'"):
        TensorAnalyzer(inputCols=["missing"]).fit(df)
    with pytest.raises(ValueError, match="Unknown column in Param `inputCols`. Received: 'gone'"):
        TensorAnalysis({"gone": [1]}).transform(df)
