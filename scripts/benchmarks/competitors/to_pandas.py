"""`toPandas()` and `model.fit`: what one does without a library."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.data import SHAPES
from benchmarks.serving import serve
from benchmarks.sessions import session


def whole_job(data: str, network: str, epochs: int, batch: int, seed: int = 0, **options: Any) -> dict[str, Any]:
    """From files to a trained model."""
    spark = session()
    started = time.perf_counter()
    table = spark.read.parquet(f"{data}/rows.parquet").toPandas()
    x, y = np.stack(table["features"]).reshape(-1, *SHAPES[network]), table["label"].to_numpy()
    model = models.compiled(network, seed, **options)
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - started
    loss = models.loss_of(model.get_weights(), network, data)
    return {"seconds": seconds, "rate": len(x) * epochs / seconds, "loss": loss}


if __name__ == "__main__":
    serve(whole_job=whole_job)
