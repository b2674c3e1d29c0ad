"""spark_keras where memory is what counts: a large model, and more rows than a worker may hold. Linux only."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import functions as F

from benchmarks import models
from benchmarks.serving import serve
from benchmarks.sessions import session
from spark_keras import KerasClassifier


def one_round(folder: str, workers: int, side: int) -> dict[str, Any]:
    """One round of VGG16 with a row for each worker, in a process that has done nothing before.

    `modelFn` makes the model, so that there is no other one in the process than the one that is trained.

    Args:
        side: of the images; 224 gives the 138 357 544 parameters of the paper.

    Returns:
        the driver's memory in sizes of the model's state: when the model stands, above what was held before the fit;
        and its peak, above what was held when the model stood.
    """
    process, standing = Path("/proc/self"), []

    def network() -> keras.Model:
        model = keras.applications.VGG16(weights=None, input_shape=(side, side, 3))
        model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
        standing.append(_status(process, "VmRSS"))
        return model

    spark = session(workers)
    x = np.random.default_rng(0).random((workers, side * side * 3), "float32")
    features = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1]).cast(pa.list_(pa.float32()))
    path = Path(folder) / f"images_{workers}.parquet"
    pq.write_table(pa.table({"features": features, "label": np.arange(workers)}), path)
    df = spark.read.parquet(str(path))
    df.count()

    before = _status(process, "VmRSS")
    (process / "clear_refs").write_text("5")  # the peak starts anew from here
    started = time.perf_counter()
    classifier = KerasClassifier(
        modelFn=network, epochs=1, batchSize=1, averagingFrequency=1, numWorkers=workers, verbose=0
    )
    fitted = classifier.fit(df)
    peak, (built,) = _status(process, "VmHWM"), standing
    summary, parameters = fitted.summary, fitted.toKeras().count_params()
    return {
        "parameters": parameters,
        "rounds": summary.rounds,
        "seconds": time.perf_counter() - started,
        "loss": summary.history["loss"][-1],
        "built": (built - before) / (4 * parameters),
        "states": (peak - built) / (4 * parameters),
    }


def large_shards(gigabytes: float, epochs: int, batch: int, frequency: int, memory: int) -> dict[str, Any]:
    """A fit on rows of so many gigabytes while a worker may hold `memory` bytes of them.

    Args:
        memory: Param `maxShardMemory`.

    Returns:
        where the rows were, and the largest anonymous memory of a Python worker: pages of files do not count.
    """
    rows = int(gigabytes * 1e9 / 400)
    df = (
        session()
        .range(rows)
        .select(
            F.array(*[F.randn(seed).cast("float") for seed in range(100)]).alias("features"),
            F.pmod(F.xxhash64("id"), F.lit(10)).alias("label"),
        )
    )
    times = models.EpochTimes()
    classifier = KerasClassifier(
        model=models.compiled("mlp"),
        epochs=epochs,
        batchSize=batch,
        globalBatch=False,
        averagingFrequency=frequency,
        maxShardMemory=memory,
        callbacks=[times],
        verbose=0,
    )
    with _peak_of_workers() as peak:
        summary = classifier.fit(df).summary
    return {
        "rate": sum(summary.rows) / times.warm,
        "loss": summary.history["loss"][-1],
        "storage": ", ".join(sorted(set(summary.shardStorage))),
        "start seconds": summary.seconds["start"],
        "worker bytes": peak["bytes"],
    }


@contextlib.contextmanager
def _peak_of_workers() -> Iterator[dict[str, int]]:
    peak, done = {"bytes": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                # It may have ended meanwhile.
                with contextlib.suppress(psutil.Error, OSError):
                    if process.name() != "java":
                        peak["bytes"] = max(peak["bytes"], _status(Path(f"/proc/{process.pid}"), "RssAnon"))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield peak
        finally:
            done.set()
        watching.result()  # what ended it before the fit did would make the figure too small


def _status(process: Path, field: str) -> int:
    """A field of /proc/PID/status, in bytes."""
    for line in (process / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise ProcessLookupError(f"{process}/status has no field {field!r}: it has ended.")


if __name__ == "__main__":
    serve(one_round=one_round, large_shards=large_shards)
