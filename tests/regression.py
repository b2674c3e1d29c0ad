"""Rows, models and weights for fits that are compared with plain Keras."""

from __future__ import annotations

import keras
import numpy as np
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F


def regression_rows(count, seed=3):
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 5)).astype("float32")
    y = (x @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + 0.1 * random.normal(size=count)).astype("float32")
    return x, y


def frame(spark, x, y, partitions=1):
    rows = [(Vectors.dense([float(v) for v in row]), float(label)) for row, label in zip(x, y, strict=True)]
    return spark.createDataFrame(rows, ["features", "label"]).repartition(partitions)


def in_training_order(df):
    """Rows in the order of a single worker with shuffle=False: by the hash of the columns as they travel."""
    travelling = df.select(vector_to_array("features", "float32").alias("x"), F.col("label").cast("float").alias("y"))
    rows = travelling.orderBy(F.xxhash64("x", "y")).collect()
    return np.array([row.x for row in rows], "float32"), np.array([row.y for row in rows], "float32")


def mlp(optimizer, loss="mse", seed=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, loss, metrics=["mae"])
    return model


def linear(optimizer, seed=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def weights_of(fitted):
    return np.concatenate([weight.ravel() for weight in fitted.toKeras().get_weights()])


def keras_weights(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def dropout_model():
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model
