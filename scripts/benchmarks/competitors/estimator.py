"""spark_keras: its estimator and its transformer."""

from __future__ import annotations

import functools
import time
from typing import Any

import psutil

from benchmarks import flights, models, timeline
from benchmarks.serving import serve
from benchmarks.sessions import cached_rows, consume, session
from spark_keras import KerasClassifier, KerasTransformer

# Of a round; a worker waits while the driver averages and, after an epoch, runs the callbacks.
WORKER_PHASES = ("computing", "loading", "wire", "waiting")
DRIVER_PHASES = ("averaging", "callbacks")


def fit(data: str, network: str, epochs: int, batch: int, frequency: int | str, seed: int = 0) -> dict[str, Any]:
    df = cached_rows(data)
    times = models.EpochTimes()
    trained = _classifier(network, epochs, batch, frequency, seed, [times]).fit(df)
    summary = trained.summary
    return {
        "rate": sum(summary.rows) / times.warm,
        "loss": _loss(trained, network, data),
        "milliseconds per round": 1000 * times.warm * summary.epochs / summary.rounds,
        "kernel": summary.kernel,
        "state bytes": summary.stateBytes,
        **_phases(summary),
    }


def _phases(summary: Any) -> dict[str, float]:
    """Milliseconds of a round after the first epoch, by phase: the workers' mean, and the driver's own."""
    table = summary.toPandas()
    table = table[table["epoch"] > 1]
    by_driver = table["worker"] < 0
    told = {}
    for rows, phases in ((table[~by_driver], WORKER_PHASES), (table[by_driver], DRIVER_PHASES)):
        told |= {f"{phase}, ms": float(1000 * rows[phase].sum() / rows["rounds"].sum()) for phase in phases}
    return told


def whole_job(data: str, network: str, epochs: int, batch: int, frequency: int | str, seed: int = 0) -> dict[str, Any]:
    """From files to a trained model."""
    spark = session()
    started = time.perf_counter()
    df = spark.read.parquet(f"{data}/rows.parquet")
    trained = _classifier(network, epochs, batch, frequency, seed).fit(df)
    seconds = time.perf_counter() - started
    rows = sum(trained.summary.rows)
    return {"seconds": seconds, "rate": rows * epochs / seconds, "loss": _loss(trained, network, data)}


def transform(data: str, network: str) -> dict[str, Any]:
    df = cached_rows(data)
    transformer = _transformer(network)
    started = time.perf_counter()
    consume(transformer.transform(df).select("prediction"))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": df.count() / seconds}


@functools.cache
def _transformer(network: str) -> KerasTransformer:
    """One for all runs: the workers keep its model."""
    return KerasTransformer(model=models.compiled(network))


def fits_in_a_row(data: str, network: str, batch: int, fits: int) -> dict[str, Any]:
    """Resident memory after each fit: of the driver's Python, and of all Python workers together."""
    df = cached_rows(data)
    driver, workers = [], []
    for seed in range(fits):
        _classifier(network, 1, batch, 10, seed).fit(df)
        driver.append(psutil.Process().memory_info().rss)
        workers.append(sum(process.memory_info().rss for process in _python_workers()))
    return {"driver": driver, "workers": workers}


def _classifier(
    network: str, epochs: int, batch: int, frequency: int | str, seed: int, callbacks: list[Any] | None = None
) -> KerasClassifier:
    return KerasClassifier(
        model=models.compiled(network, seed),
        epochs=epochs,
        batchSize=batch,
        globalBatch=False,  # as the others count
        averagingFrequency=frequency,
        callbacks=callbacks or [],
        seed=seed,
        verbose=0,
    )


def _loss(trained: Any, network: str, data: str) -> float:
    return models.loss_of(trained.toKeras().get_weights(), network, data)


def _python_workers() -> list[psutil.Process]:
    """Spark's Python processes: they are below the JVM."""
    descendants = psutil.Process().children(recursive=True)
    return [process for process in descendants if process.name() != "java"]


if __name__ == "__main__":
    serve(
        fit=fit,
        whole_job=whole_job,
        transform=transform,
        fits_in_a_row=fits_in_a_row,
        flights=flights.fit,
        timeline=timeline.cost,
    )
