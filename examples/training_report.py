"""Where did the time go? One fit, and the report on it: as a table, as figures, as a page that opens offline.

python examples/training_report.py
python examples/training_report.py --report report.html --logs logs    # then: tensorboard --logdir logs
"""

import argparse
import os
import tempfile

import keras
import numpy as np
from pyspark.sql import SparkSession

from spark_keras import KerasClassifier, WorkerThroughput


def rings(spark, rows):
    """Points on two rings around each other."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, rows)
    angle, radius = rng.uniform(0, 2 * np.pi, rows), 1 + label + 0.3 * rng.normal(size=rows)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    pairs = [(point.tolist(), int(ring)) for point, ring in zip(points, label)]
    return spark.createDataFrame(pairs, "features array<double>, label int")


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(64, activation="relu", name="wide"),
            keras.layers.Dense(32, activation="relu", name="narrow"),
            keras.layers.Dense(1, activation="sigmoid", name="ring"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy"])
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--report", help="where to write the page; default: a temporary folder")
    parser.add_argument("--logs", help="folder for TensorBoard; default: a temporary folder")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("training report").getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        # Keras' own callback writes curves and histograms of the weights. What stands before it in the list puts the
        # throughput of each worker among its curves.
        logs = arguments.logs or os.path.join(folder, "logs")
        callbacks = [WorkerThroughput(), keras.callbacks.TensorBoard(logs, histogram_freq=1)]
        classifier = KerasClassifier(
            model=network(), epochs=arguments.epochs, validationSplit=0.2, callbacks=callbacks, verbose=0
        )
        summary = classifier.fit(rings(spark, arguments.rows).cache()).summary
        print(summary)

        table = summary.toPandas()
        workers = table[table.worker >= 0].groupby("worker")
        phases = ["loading", "importing", "building", "waiting", "wire", "compiling", "computing", "evaluating"]
        print(workers[["rows", *phases]].sum().round(3).astype({"rows": int}).to_string())
        slowest = summary.timeline["slowest"][0]
        print(f"Slowest round: number {slowest['round']}, {1000 * slowest['seconds']:.1f} ms")

        path = arguments.report or os.path.join(folder, "report.html")
        page = summary.toHTML(path, title="Two rings")
        print(f"The page has {len(page) / 1000:.0f} kB: {path}")
        written = [name for _, _, names in os.walk(logs) for name in names]
        print(f"TensorBoard has {len(written)} files of events.")


if __name__ == "__main__":
    main()
