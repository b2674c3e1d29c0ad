"""The fit that is disturbed: everything that can make bits differ takes part in it."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import keras
import numpy as np

from spark_keras import KerasClassifier

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOCAL, CLUSTER = "local[2]", "local-cluster[2,1,1024]"


def session(master: str) -> Any:
    """A Spark session of this kind, the only one of the process."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    context = SparkContext._active_spark_context
    if context is not None and context.master != master:
        SparkSession.builder.getOrCreate().stop()
    spark = (
        SparkSession.builder.master(master)
        .appName("spark_keras reliability")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.shuffle.partitions", "4")
        # A machine that kills executors for a quarter of an hour would otherwise get no new ones.
        .config("spark.deploy.maxExecutorRetries", "-1")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    return spark


def rows(spark: Any, count: int = 600) -> Any:
    """A DataFrame that is computed anew from its definition wherever it is needed."""
    return spark.range(0, count, 1, 4).selectExpr(
        "transform(sequence(0, 7), i -> cast(sin(id * (i + 1)) as float)) AS features",
        "cast(sin(id) * sin(2 * id) > 0 as int) AS label",
    )


def model() -> keras.Model:
    """Random numbers, batch statistics and an optimizer with moments and a step counter."""
    keras.utils.set_random_seed(5)
    layers = [
        keras.Input((8,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    built = keras.Sequential(layers)
    rate = keras.optimizers.schedules.ExponentialDecay(0.02, 20, 0.9)
    built.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return built


def estimator(**params: Any) -> KerasClassifier:
    fixed = {"epochs": 4, "batchSize": 10, "averagingFrequency": 2, "numWorkers": 2, "validationSplit": 0.2, "seed": 3}
    return KerasClassifier(model=model(), verbose=0, **{**fixed, **params})


def bits(fitted: Any) -> str:
    """Of the weights, the optimizer's variables and the history."""
    trained = fitted.toKeras()
    digest = hashlib.sha256()
    for variable in [*trained.weights, *trained.optimizer.variables]:
        digest.update(np.asarray(variable.value).tobytes())
    digest.update(repr(sorted(fitted.summary.history.items())).encode())
    return digest.hexdigest()
