"""Outputs as Spark's own learners take them: arrays without null elements, or vectors with ML attributes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from spark_keras import KerasEstimator, KerasModel, KerasRegressor, KerasTransformer

FEATURES = np.random.default_rng(3).normal(size=(24, 3)).astype("float32")
LABELS = (FEATURES @ [1.0, -2.0, 0.5] > 0).astype("float64")


@pytest.fixture(scope="module")
def df():
    return labelled_frame(FEATURES, LABELS)


def network(*last):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "tanh", name="hidden"), *last])
    model.compile("sgd", "mse")
    return model


def predicted(model):
    return model.predict(FEATURES, verbose=0)


def column(df, name):
    rows = sorted(df.select("id", name).collect(), key=lambda row: row[0])
    return np.array([row[1].toArray() if hasattr(row[1], "toArray") else row[1] for row in rows])


def nullable_elements(data_type):
    if not isinstance(data_type, ArrayType):
        return False
    return data_type.containsNull or nullable_elements(data_type.elementType)


# --- arrays --------------------------------------------------------------------------------------------------------


@pytest.mark.compat
def test_arrays_have_no_nullable_elements_and_cluster_as_they_are(df):
    model = network()
    out = KerasTransformer(model=model).transform(df).cache()
    assert out.schema["prediction"].dataType.simpleString() == "array<float>"
    assert not nullable_elements(out.schema["prediction"].dataType)
    np.testing.assert_allclose(column(out, "prediction"), predicted(model), atol=1e-6)
    clusters = KMeans(k=2, seed=1, featuresCol="prediction", predictionCol="cluster").fit(out)
    centres = np.array(clusters.clusterCenters())
    nearest = ((predicted(model)[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(column(clusters.transform(out), "cluster"), nearest)


@pytest.mark.oldest
def test_nested_arrays_several_outputs_and_regressors_have_none_either(df):
    inputs = keras.Input((3,), name="features")
    outputs = [keras.layers.Reshape((2, 3), name="table")(keras.layers.Dense(6)(inputs)), inputs]
    model = keras.Model(inputs, outputs)
    stage = KerasTransformer(model=model, outputCols=["table", "same"], handleInvalid="keep")
    out = stage.transform(df.withColumn("features", F.when(F.col("id") != 4, F.col("features")))).cache()
    for name in ("table", "same"):
        assert not nullable_elements(out.schema[name].dataType)
        assert [row.id for row in out.where(F.col(name).isNull()).collect()] == [4]
    rest = out.where("id != 4")
    np.testing.assert_allclose(column(rest, "table"), np.delete(predicted(model)[0], 4, axis=0), atol=1e-6)
    both = df.withColumn("both", F.array("label", "id").cast("array<double>"))
    fitted = KerasRegressor(model=network(keras.layers.Dense(2)), labelCol="both", numWorkers=1, verbose=0).fit(both)
    out = fitted.transform(df)
    assert out.schema["prediction"].dataType == ArrayType(out.schema["label"].dataType, containsNull=False)
    np.testing.assert_allclose(column(out, "prediction"), predicted(fitted.toKeras()), atol=1e-6)


# --- vectors -------------------------------------------------------------------------------------------------------


@pytest.mark.compat
def test_vectors_enter_the_stages_of_spark_in_one_pipeline(df, tmp_path):
    model = network(keras.layers.Dense(1))
    embedding = keras.Model(model.inputs, model.get_layer("hidden").output)
    extract = KerasTransformer(model=model, outputLayer="hidden", outputFormat="vector", predictionCol="embedding")
    stages = [
        extract,
        VectorAssembler(inputCols=["embedding", "id"], outputCol="both"),
        StandardScaler(inputCol="both", outputCol="scaled", withMean=True),
        LogisticRegression(featuresCol="scaled", maxIter=5, regParam=0.1),
    ]
    Pipeline(stages=stages).fit(df).save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    assert loaded.stages[0].getOutputFormat() == "vector"
    out = loaded.transform(df).cache()
    assert out.schema["embedding"].dataType.simpleString() == "vector"
    assert out.schema["embedding"].metadata["ml_attr"]["num_attrs"] == 6
    np.testing.assert_allclose(column(out, "embedding"), predicted(embedding), atol=1e-6)
    # By hand, what the stages behind it make of it.
    both = np.concatenate([predicted(embedding), np.arange(24)[:, None]], axis=1)
    regression = loaded.stages[-1]
    margin = (both - both.mean(axis=0)) / both.std(axis=0, ddof=1) @ regression.coefficients.toArray()
    np.testing.assert_array_equal(column(out, "prediction"), margin + regression.intercept > 0)


def test_vectors_are_flat_in_row_major_order_for_every_output(df):
    inputs = keras.Input((3,), name="features")
    table = keras.layers.Reshape((2, 3), name="table")(keras.layers.Dense(6)(inputs))
    model = keras.Model(inputs, [table, keras.layers.Dense(1, name="number")(inputs)])
    stage = KerasTransformer(model=model, outputFormat="vector", handleInvalid="keep", predictionCol="p")
    out = stage.transform(df.withColumn("features", F.when(F.col("id") != 4, F.col("features")))).cache()
    assert [out.schema[name].metadata["ml_attr"]["num_attrs"] for name in ("p_table", "p_number")] == [6, 1]
    assert [row.id for row in out.where("p_table IS NULL AND p_number IS NULL").collect()] == [4]
    tables, numbers = (np.delete(output, 4, axis=0) for output in predicted(model))
    np.testing.assert_allclose(column(out.where("id != 4"), "p_table"), tables.reshape(23, 6), atol=1e-6)
    np.testing.assert_allclose(column(out.where("id != 4"), "p_number"), numbers, atol=1e-6)


@pytest.mark.slow
def test_an_estimator_hands_the_format_to_its_model(df, tmp_path):
    options = {"numWorkers": 1, "verbose": 0, "outputCols": ["scores"], "outputFormat": "vector"}
    KerasEstimator(model=network(keras.layers.Dense(1)), **options).fit(df).save(str(tmp_path / "model"))
    fitted = KerasModel.load(str(tmp_path / "model"))
    out = fitted.transform(df)
    assert out.schema["scores"].dataType.simpleString() == "vector"
    np.testing.assert_allclose(column(out, "scores"), predicted(fitted.toKeras()), atol=1e-6)
    out = fitted.setOutputFormat("array").transform(df)
    assert out.schema["scores"].dataType.simpleString() == "array<float>" and not out.schema["scores"].metadata
