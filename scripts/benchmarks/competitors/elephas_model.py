"""Elephas: its synchronous training, and its transformer. Runs in an environment of its own."""

from __future__ import annotations

import functools
import time
from typing import Any

from elephas.ml_model import ElephasTransformer
from elephas.spark_model import SparkModel
from elephas.utils.model_utils import ModelType
from elephas.utils.rdd_utils import to_simple_rdd
from pyspark.ml.functions import array_to_vector

from benchmarks import models
from benchmarks.data import read
from benchmarks.serving import serve
from benchmarks.sessions import consume, session


@functools.cache
def _pairs(data: str) -> Any:
    """One partition for each core, held in Spark's memory so that no epoch makes them again."""
    rdd = to_simple_rdd(session().sparkContext, *read(data)).coalesce(2).cache()
    rdd.count()
    return rdd


def fit(data: str, network: str, epochs: int, batch: int, seed: int = 0) -> dict[str, Any]:
    rdd = _pairs(data)
    trained = SparkModel(models.compiled(network, seed))
    started = time.perf_counter()
    trained.fit(rdd, epochs=epochs, batch_size=batch, verbose=0, validation_split=0.0)
    seconds = time.perf_counter() - started
    loss = models.loss_of(trained.master_network.get_weights(), network, data)
    # Every epoch is a job of its own that builds the model anew, so that none is warmer than another.
    return {"rate": rdd.count() * epochs / seconds, "loss": loss}


@functools.cache
def _vectors(data: str) -> Any:
    df = session().read.parquet(f"{data}/rows.parquet").select(array_to_vector("features").alias("features")).cache()
    df.count()
    return df


def transform(data: str, network: str) -> dict[str, Any]:
    df = _vectors(data)
    model = models.compiled(network)
    transformer = ElephasTransformer(
        keras_model_config=model.to_json(),
        weights=model.get_weights(),
        featuresCol="features",
        outputCol="prediction",
        model_type=ModelType.CLASSIFICATION,
    )
    started = time.perf_counter()
    consume(transformer.transform(df).select("prediction"))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": df.count() / seconds}


if __name__ == "__main__":
    serve(fit=fit, transform=transform)
