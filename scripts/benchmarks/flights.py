"""spark_keras on the flights of the example, where there is something to learn and something to get wrong."""

from __future__ import annotations

import functools
import tempfile
from typing import Any

from pyspark.ml import Pipeline

from benchmarks import models
from benchmarks.sessions import session
from examples import flights_delay
from spark_keras import KerasClassifier


@functools.cache
def _encoded(rows: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        flights = flights_delay.flights_with_weather(session(), folder, rows)
        encoded = Pipeline(stages=flights_delay.encoding()).fit(flights).transform(flights)
        encoded = encoded.select("features", "late").cache()
        encoded.count()
    return encoded


def fit(rows: int, epochs: int, batch: int, frequency: int | str, seed: int) -> dict[str, Any]:
    times = models.EpochTimes()
    classifier = KerasClassifier(
        model=flights_delay.network(),
        labelCol="late",
        epochs=epochs,
        batchSize=batch,
        globalBatch=False,
        validationSplit=0.1,
        averagingFrequency=frequency,
        callbacks=[times],
        seed=seed,
        verbose=0,
    )
    summary = classifier.fit(_encoded(rows)).summary
    return {
        "rate": sum(summary.rows) / times.warm,
        "loss": summary.history["val_loss"][-1],
        "auc": summary.history["val_auc"][-1],
    }
