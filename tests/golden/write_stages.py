"""Saves one of each public stage, and what it gives for `rows.json`, in a folder named after the version.

Run once for each release, before it is published, with the oldest Spark and Keras that are supported, because later
ones read what earlier ones have saved: python tests/golden/write_stages.py 0.1.0
What is written is never written again: it stands for what users have saved with that release.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from pyspark.ml import Pipeline
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession

from spark_keras import (
    DataFrameAnalyzer,
    EarlyStopping,
    KerasClassifier,
    KerasEstimator,
    KerasRegressor,
    KerasTransformer,
    TensorAnalyzer,
)
from spark_keras.preparation import Schema, TransformProcess, col

HERE = Path(__file__).resolve().parent
ROWS = HERE / "rows.json"
SCHEMA = "id int, a double, b double, colour string, features array<float>, label int, amount double, at timestamp"


def frame(spark):
    """Twenty-four rows: numbers, a category, an array, a label of two classes, an amount and a time in UTC."""
    rows = [
        [row["id"], row["a"], row["b"], row["colour"], row["features"], row["label"], row["amount"]]
        for row in json.loads(ROWS.read_text())
    ]
    columns = ["id", "a", "b", "colour", "features", "label", "amount"]
    return spark.createDataFrame(rows, SCHEMA.rpartition(",")[0]).selectExpr(
        *columns, "timestamp_seconds(1600000000 + 3600 * id) AS at"
    )


def numbers(value):
    """What a column holds, as JSON."""
    if hasattr(value, "toArray"):
        value = value.toArray()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [numbers(each) for each in value] if isinstance(value, (list, tuple)) else value


def applied(stage, df, columns):
    """The stage's columns, row by row in the order of the ids."""
    rows = stage.transform(df).orderBy("id").select(*columns).collect()
    return [[numbers(value) for value in row] for row in rows]


def classifier_model(seed=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(4, "tanh", name="hidden"), keras.layers.Dense(2, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def regression_model(seed=2):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def stages(df):
    """Name: (stage, columns that it adds, None for a stage without)."""
    both = {"numWorkers": 1, "verbose": 0, "epochs": 2, "batchSize": 4}
    classifier = KerasClassifier(model=classifier_model(), thresholds=[0.4, 0.6], validationSplit=0.2, **both)
    estimator = KerasEstimator(
        model=regression_model(),
        labelCol="amount",
        predictionCol="p",
        optimizerState="local",
        averagingFrequency="epoch",
        **both,
    )
    regressor = KerasRegressor(model=regression_model(3), featuresCols=["a", "b"], labelCol="amount", **both)
    stopping = EarlyStopping(
        estimator=KerasClassifier(model=classifier_model(4), validationSplit=0.3, **both), maxEpochs=2, patience=1
    )
    transformer = KerasTransformer(
        model=classifier_model(5), outputLayer="hidden", predictionCol="embedding", batchSize=7
    )
    schema = (
        Schema()
        .integer("id")
        .double("a", "b")
        .categorical("colour", ["red", "green", "blue"])
        .double("amount", minimum=0)
        .time("at", zone="Europe/Berlin")
    )
    process = (
        TransformProcess(schema)
        .keepWhere((col("colour") != "blue") | (col("amount") > 1))
        .replaceWhere("amount", 0.0, col("amount") < 0)
        .deriveTime("at", {"hour": "hour"})
        .remove("at", "b")
        .categoricalToOneHot("colour")
    )
    few = df.select("id", "a", "b", "colour", "amount", "at")
    analyzer = DataFrameAnalyzer(inputCols=["a", "b", "colour", "label", "features"], elementStatistics=True)
    tensors = TensorAnalyzer(inputCols=["features"])
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=["a", "b"], outputCol="vector"),
            KerasClassifier(model=classifier_model(6), featuresCol="vector", **both),
        ]
    )
    outputs = ["prediction", "probability", "rawPrediction"]
    return {
        "KerasClassifier": (classifier, None),
        "KerasClassificationModel": (classifier.fit(df), outputs),
        "KerasEstimator": (estimator, None),
        "KerasModel": (estimator.fit(df), ["p"]),
        "KerasRegressor": (regressor, None),
        "KerasRegressionModel": (regressor.fit(df), ["prediction"]),
        "EarlyStopping": (stopping, None),
        "EarlyStoppingModel": (stopping.fit(df), outputs),
        "KerasTransformer": (transformer, ["embedding"]),
        "TransformProcess": (process, ["a", "amount", "hour", "`colour[red]`", "`colour[green]`", "`colour[blue]`"]),
        "DataFrameAnalyzer": (analyzer, None),
        "DataFrameAnalysis": (analyzer.fit(df), None),
        "TensorAnalyzer": (tensors, None),
        "TensorAnalysis": (tensors.fit(df), ["features"]),
        "Pipeline": (pipeline, None),
        "PipelineModel": (pipeline.fit(df), outputs),
    }, few


def write_rows():
    random = np.random.default_rng(7)
    a, b = random.normal(size=24).round(3), random.uniform(-2, 2, 24).round(3)
    rows = [
        {
            "id": index,
            "a": float(a[index]),
            "b": float(b[index]),
            "colour": ["red", "green", "blue"][index % 3],
            "features": [float(a[index]), float(b[index])],
            "label": int(a[index] > 0),
            "amount": float((a[index] + b[index]).round(3)),
        }
        for index in range(24)
    ]
    ROWS.write_text(json.dumps(rows, indent=0) + "\n")


def main(version):
    if not ROWS.exists():
        write_rows()
    spark = SparkSession.builder.master("local[2]").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    df = frame(spark).coalesce(1).cache()
    made, few = stages(df)
    folder = HERE / version
    expected = {}
    for name, (stage, columns) in made.items():
        stage.write().save(str(folder / name))
        expected[name] = columns and {
            "columns": columns,
            "rows": applied(stage, few if "Process" in name else df, columns),
        }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for checksum in folder.rglob(".*.crc"):
        checksum.unlink()
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
