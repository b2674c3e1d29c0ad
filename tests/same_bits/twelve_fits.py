"""Twelve small fits, and the digests that their weights have on each platform, in `digests.json` beside this file.

The digests stand for the promise "the same rows, model, Params and seed give the same bits". A digest that changes
breaks it for everyone who compares a fit with one of an earlier release, so a change needs a line in CHANGELOG.md that
says which fits change and why. A new platform (another CPU, backend, Keras or NumPy) only adds digests, of code that
has those on record on another platform, or of the last release.

    python tests/same_bits/twelve_fits.py           compares with the digests on record; they are those of KERAS_BACKEND
    python tests/same_bits/twelve_fits.py --write   puts the digests of this platform on record

This file uses the public names of `spark_keras` only, so that it also runs on other versions: run it in the root of
such a version, with that folder on PYTHONPATH.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

import keras
import numpy as np

from spark_keras import KerasClassifier, KerasRegressor

DIGESTS = Path(__file__).resolve().parent / "digests.json"
COMMAND = "python tests/same_bits/twelve_fits.py --write"
BACKEND = keras.backend.backend()
PACKAGES = {"tensorflow": ["tensorflow"], "jax": ["jax", "jaxlib"], "torch": ["torch"]}
# What else makes a backend round differently.
VARIABLES = ["TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "XLA_FLAGS", "TF_XLA_FLAGS", "ATEN_CPU_CAPABILITY"]
# Of a CPU's flags, those of instructions that compute with floating-point numbers.
INSTRUCTIONS = re.compile(r"(sse4|avx|fma|amx|asimd|sve|sme(?!p))\w*|f16c|bf16|i8mm")


# --- platforms ---


def cpu() -> str:
    """The processor as compilers and libraries tell it from others: its kind, and the instructions that it offers."""
    if platform.system() == "Darwin":
        name = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(name, capture_output=True, text=True, check=True).stdout.strip()
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = [line.partition(":") for line in info.read_text().split("\n\n")[0].splitlines()]
    said = {name.strip(): value.strip() for name, _, value in lines}
    kind = ["vendor_id", "cpu family", "model", "CPU implementer", "CPU part", "CPU variant"]
    flags = said.get("flags", said.get("Features", "")).split()
    kinds = [said[name] for name in kind if name in said]
    return " ".join([*kinds, *sorted(flag for flag in flags if INSTRUCTIONS.fullmatch(flag))])


def platform_of(backend: str) -> str:
    """What decides how a backend rounds: two machines with the same of it have the same bits.

    Raises:
        PackageNotFoundError: the backend is not installed.
    """
    versions = [f"{name} {importlib.metadata.version(name)}" for name in [*PACKAGES[backend], "keras", "numpy"]]
    variables = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return "; ".join([f"{platform.system()} {platform.machine()}", cpu(), ", ".join(versions), *variables])


def on_record() -> dict[str, dict[str, str]]:
    """Platform to fit to digest."""
    return json.loads(DIGESTS.read_text(encoding="utf-8"))


def unrecorded() -> list[str]:
    """For each installed backend without digests on record a sentence that says so, and what to do."""
    found = []
    for backend in PACKAGES:
        try:
            here = platform_of(backend)
        except importlib.metadata.PackageNotFoundError:
            continue
        if here not in on_record():
            command = f"KERAS_BACKEND={backend} {COMMAND}"
            found.append(f"No digests of fits are on record for this platform: {here}. `{command}` records them.")
    return found


# --- rows and models: whole numbers divided by powers of two, which no platform rounds ---


def rows(spark: Any) -> Any:
    """240 rows: 36 features, a token of 10, a target, a class of 3 and a weight."""
    draw = np.random.RandomState(1)
    x = draw.randint(-256, 256, (240, 36)) / 128
    token = draw.randint(0, 10, 240)
    target = x[:, 0] - 2 * x[:, 1] + x[:, 2] * x[:, 3] + token / 4
    kind = (x[:, 0] + x[:, 1] > 0).astype(int) + (x[:, 2] > 0)
    weight = draw.randint(1, 9, 240) / 4
    columns = [column.tolist() for column in (x, token, target, kind, weight)]
    schema = "features array<float>, token int, target float, kind int, weight float"
    return spark.createDataFrame(list(zip(*columns)), schema)


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: str = "mse") -> keras.Model:
    """The model with drawn weights, which no initializer of a backend decides."""
    draw = np.random.RandomState(2)
    for variable in model.trainable_variables:
        variable.assign(draw.randint(-128, 128, variable.shape) / 512)
    model.compile(optimizer, loss)
    return model


def sequential(shape: tuple[int, ...], *layers: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


def dense() -> keras.Model:
    rate = keras.optimizers.schedules.ExponentialDecay(0.02, 20, 0.9)
    layers = keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.25, seed=7), keras.layers.Dense(1)
    return compiled(sequential((36,), *layers), keras.optimizers.Adam(rate))


def convolutional() -> keras.Model:
    convolution, pool = keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.MaxPooling2D()
    layers = convolution, pool, keras.layers.Flatten(), keras.layers.Dense(3, "softmax")
    model = sequential((6, 6, 1), *layers)
    return compiled(model, keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")


def recurrent() -> keras.Model:
    layers = keras.layers.LSTM(8), keras.layers.Dense(1)
    return compiled(sequential((6, 6), *layers), keras.optimizers.RMSprop(0.01))


def batch_normalization() -> keras.Model:
    layers = keras.layers.Dense(16, "tanh"), keras.layers.BatchNormalization(), keras.layers.Dense(1)
    return compiled(sequential((36,), *layers), keras.optimizers.SGD(0.02, momentum=0.9))


def two_inputs() -> keras.Model:
    numbers, token = keras.Input((36,), name="numbers"), keras.Input((), dtype="int32", name="token")
    parts = [keras.layers.Dense(8, "tanh")(numbers), keras.layers.Embedding(10, 4)(token)]
    output = keras.layers.Dense(1)(keras.layers.Concatenate()(parts))
    return compiled(keras.Model([numbers, token], output), keras.optimizers.AdamW(0.01))


def wide() -> keras.Model:
    layers = keras.layers.Reshape((128, 36)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)
    return compiled(sequential((128 * 36,), *layers), keras.optimizers.Adam(0.01))


def softmax() -> keras.Model:
    layers = keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)
    return compiled(sequential((36,), *layers), optimizer, "sparse_categorical_crossentropy")


# --- fits ---

FIXED: dict[str, Any] = {
    "epochs": 3,
    "batchSize": 10,
    "averagingFrequency": 3,
    "numWorkers": 2,
    "seed": 3,
    "verbose": 0,
    # Releases without this Param know of no other batch.
    **({"globalBatch": False} if hasattr(KerasRegressor, "globalBatch") else {}),
}


def regression(df: Any, model: keras.Model, **params: Any) -> Any:
    return KerasRegressor(model=model, labelCol="target", **{**FIXED, **params}).fit(df)


def classification(df: Any, model: keras.Model, **params: Any) -> Any:
    return KerasClassifier(model=model, labelCol="kind", **{**FIXED, **params}).fit(df)


def validated(df: Any, **params: Any) -> Any:
    """The dense model, beside rows that are held out."""
    return regression(df, dense(), validationSplit=0.2, **params)


def from_file(df: Any) -> Any:
    """Rows of 18 kB, more of them than the least that `maxShardMemory` can be."""
    long = df.selectExpr("flatten(array_repeat(features, 128)) AS features", "target")
    fitted = regression(long, wide(), maxShardMemory="1m")
    if fitted.summary.shardStorage != ["file", "file"]:
        raise RuntimeError(f"The shards were not in files. Received: {fitted.summary.shardStorage}.")
    return fitted


class Crash(keras.callbacks.Callback):
    """The end of a driver after some rounds, as far as the fit's own process can play it."""

    def __init__(self, rounds: int):
        super().__init__()
        # No plain data, so that it is no part of what a checkpoint compares.
        self.own = SimpleNamespace(left=rounds)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.own.left -= 1
        if self.own.left == 0:
            raise KeyboardInterrupt


def resumed(df: Any) -> Any:
    """The fit with local optimizer state, which its checkpoint holds for each worker."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {"checkpointDir": folder, "checkpointInterval": "0.001s", "optimizerState": "local"}
        with contextlib.suppress(KeyboardInterrupt):
            validated(df, callbacks=[Crash(6)], **checkpoints)
        rest = Crash(0)
        fitted = validated(df, callbacks=[rest], **checkpoints)
        if not 0 < -rest.own.left < fitted.summary.rounds:
            raise RuntimeError(
                f"The fit was not resumed. Received: {-rest.own.left} of {fitted.summary.rounds} rounds."
            )
        return fitted


class Starts(logging.Handler):
    """Shard to the process that works on it, as the log of a fit tells."""

    SENTENCE = re.compile(r"worker (\d+) starts as process (\d+) on")

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.processes: dict[int, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if started := self.SENTENCE.search(record.getMessage()):
            self.processes[int(started[1])] = int(started[2])


class Kill(keras.callbacks.Callback):
    """kill -9 of a worker of the fit after the first epoch, which another process must replace."""

    def __init__(self) -> None:
        super().__init__()
        self.starts, self.logger, self.killed = Starts(), logging.getLogger("spark_keras"), 0
        self.logger.addHandler(self.starts)
        self.logger.setLevel(logging.INFO)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 0:
            self.killed = self.starts.processes[0]
            os.kill(self.killed, signal.SIGKILL)

    def on_train_end(self, logs: Any = None) -> None:
        self.logger.removeHandler(self.starts)
        if self.starts.processes[0] == self.killed:
            raise RuntimeError(f"No worker was replaced. Received: process {self.killed} from the first round on.")


FITS: dict[str, Callable[[Any], Any]] = {
    "dense": validated,
    "convolutional": lambda df: classification(df, convolutional()),
    "recurrent": lambda df: regression(df, recurrent()),
    "batch normalization": lambda df: regression(df, batch_normalization()),
    "two inputs": lambda df: regression(df, two_inputs(), inputCols={"numbers": "features", "token": "token"}),
    "weights and classes": lambda df: classification(
        df, softmax(), averagingFrequency="epoch", weightCol="weight", classWeight={0: 2.0, 2: 0.5}
    ),
    "other kernel": lambda df: validated(df, jitCompile=BACKEND == "tensorflow"),
    "file shards": from_file,
    "local optimizer state": lambda df: validated(df, optimizerState="local"),
    "reset optimizer state": lambda df: validated(df, optimizerState="reset"),
    "checkpoint and resume": resumed,
    "killed worker": lambda df: regression(df, batch_normalization(), callbacks=[Kill()]),
}
if BACKEND == "torch":  # which has one kernel
    del FITS["other kernel"]

# Fits that have the bits of another one, on any platform.
SAME = {"checkpoint and resume": "local optimizer state", "killed worker": "batch normalization"}


def digest(spark: Any, name: str) -> str:
    """SHA-256 of the fit's weights and of its optimizer's variables: each one's dtype, shape and bytes, in order."""
    model = FITS[name](rows(spark)).toKeras()
    found = hashlib.sha256()
    for variable in [*model.weights, *model.optimizer.variables]:
        value = np.asarray(variable)
        found.update(f"{value.dtype.str} {value.shape}\n".encode() + value.tobytes())
    return found.hexdigest()


def main(arguments: list[str]) -> int:
    from pyspark.sql import SparkSession

    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 2
    here, known = platform_of(BACKEND), on_record()
    print(here)
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    digests = {}
    for name in FITS:
        digests[name] = digest(spark, name)
        same = digests[name] == known.get(here, {}).get(name)
        print(digests[name], name, "" if same else "(another one, or none, is on record)", flush=True)
    spark.stop()
    if arguments:
        known = on_record() | {here: digests}
        DIGESTS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    return int(digests != known.get(here))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
