"""A driver is killed in the middle of a fit, the job is started again, and the result has the same bits.

The job is this script itself, in a process of its own: killed with SIGKILL, and started again. For comparison, the
second one then trains without checkpoints, too, from the first epoch to the last.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

import keras


class Told(keras.callbacks.Callback):
    """Tells when an epoch ends."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        print(f"epoch {epoch + 1}: loss {logs['loss']:.6f}", flush=True)


def build() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    return model


def job(master: str, epochs: int, checkpoints: str, compare: bool) -> None:
    """What one would give to spark-submit; with `compare`, followed by the same fit undisturbed."""
    from pyspark.sql import SparkSession

    from spark_keras import KerasClassifier

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.master(master).config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    columns = ["array(id % 7, id % 5, id % 3, 1) AS features", "int((id % 7 + id % 5) / 4) AS label"]
    df = spark.range(600).selectExpr(*columns)
    estimator = KerasClassifier(modelFn=build, epochs=epochs, batchSize=16, numWorkers=2, callbacks=[Told()], verbose=0)
    resumed = estimator.copy({estimator.checkpointDir: checkpoints}).fit(df)
    if compare:
        print("undisturbed, from the first epoch on:", flush=True)
        undisturbed = estimator.fit(df)
        print("the weights are the same, bit by bit:", weights(resumed) == weights(undisturbed), flush=True)
    spark.stop()


def weights(fitted: object) -> bytes:
    return b"".join(weight.tobytes() for weight in fitted.toKeras().get_weights())


def run_job(arguments: list[str], kill_after_epoch: int | None = None) -> None:
    """Runs the job in a process of its own, and kills it where that is wanted."""
    command = [sys.executable, __file__, "--job", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print("  ", line.rstrip())
            if kill_after_epoch is not None and line.startswith(f"epoch {kill_after_epoch}:"):
                process.kill()
                print("   killed")
                return
    if process.returncode:
        raise SystemExit(f"The job ended with status {process.returncode}.")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--checkpoints", help="folder of the checkpoints; default: a temporary one")
    parser.add_argument("--job", action="store_true", help="only the fit itself")
    parser.add_argument("--compare", action="store_true", help="with --job: and the same fit undisturbed")
    options = parser.parse_args(arguments)
    if options.job:
        job(options.master, options.epochs, options.checkpoints, options.compare)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = options.checkpoints or folder
        common = ["--master", options.master, "--epochs", str(options.epochs), "--checkpoints", checkpoints]
        print("killed in the middle:")
        run_job(common, kill_after_epoch=options.epochs // 2)
        print("started again:")
        run_job([*common, "--compare"])


if __name__ == "__main__":
    main()
