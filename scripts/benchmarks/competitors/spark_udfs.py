"""Inference with what Spark itself has: `predict_batch_udf`; and an Arrow UDF that computes nothing, as upper bound."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType

from benchmarks import models
from benchmarks.data import CLASSES, SHAPES
from benchmarks.serving import serve
from benchmarks.sessions import cached_rows, consume


def predict(data: str, network: str, batch: int, call: str) -> dict[str, Any]:
    """Inference as the documentation of `predict_batch_udf` shows it."""
    return _timed(data, _prediction(network, batch, call))


@functools.cache
def _prediction(network: str, batch: int, call: str) -> Callable[[str], Any]:
    """One function for all runs: Spark's workers keep its model.

    Args:
        batch: rows that the function gets at a time.
        call: what it calls: "predict" or "predict_on_batch" of the model.
    """
    model = models.compiled(network)
    weights, architecture = model.get_weights(), model.to_json()
    width = int(np.prod(SHAPES[network]))

    def make_predict_fn() -> Callable[[np.ndarray], np.ndarray]:
        import keras

        replica = keras.models.model_from_json(architecture)
        replica.set_weights(weights)
        if call == "predict":
            return lambda x: replica.predict(x, batch_size=batch, verbose=0)
        return replica.predict_on_batch

    return predict_batch_udf(
        make_predict_fn, return_type=ArrayType(FloatType()), batch_size=batch, input_tensor_shapes=[[width]]
    )


def copy(data: str, network: str) -> dict[str, Any]:
    """Of each row as many numbers go back as the network gives, copied from its features."""
    width = CLASSES[network]

    def first_numbers(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for array in batches:
            rows = array.flatten().to_numpy().reshape(len(array), -1)
            copied = np.ascontiguousarray(rows[:, :width]).reshape(-1)
            offsets = np.arange(0, len(copied) + 1, width, dtype="int32")
            yield pa.ListArray.from_arrays(pa.array(offsets), pa.array(copied))

    first_numbers.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    return _timed(data, F.arrow_udf(first_numbers, "array<float>"))


def _timed(data: str, function: Callable[[str], Any]) -> dict[str, Any]:
    df = cached_rows(data)
    started = time.perf_counter()
    consume(df.select(function("features").alias("prediction")))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": df.count() / seconds}


if __name__ == "__main__":
    serve(predict=predict, copy=copy)
