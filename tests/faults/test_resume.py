"""A fit that is interrupted after any of its rounds and goes on from its checkpoint, compared with a whole one.

The driver's loop and the workers' rounds are the real ones, in this process; Spark and its file systems take no part.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from spark_keras.cluster import files as cluster_files
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.process import ProcessSettings
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import state as states
from spark_keras.keras_model.state import State
from spark_keras.telemetry.phases import Phases
from spark_keras.telemetry.progress import Progress
from spark_keras.training import loop
from spark_keras.training.checkpoints import checkpoints as checkpoint
from spark_keras.training.settings import Schedule
from spark_keras.training.wire import connections
from spark_keras.training.worker import requests
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.worker.minibatches import Minibatches
from spark_keras.training.worker.replica import Replica
from spark_keras.training.worker.shard import MemoryRows, ShardColumns
from spark_keras.training.workers.base import Update

ROWS, BATCH, EPOCHS = (14, 9), 4, 3
ROUNDS = 2  # in an epoch: four minibatches, two between averagings


def model():
    keras.utils.set_random_seed(4)
    layers = [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.BatchNormalization()]
    built = keras.Sequential([*layers, keras.layers.Dropout(0.3), keras.layers.Dense(1)])
    rate = keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.9)
    built.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"])
    return built


def with_fixed_rate():
    built = model()
    built.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    return built


class InProcess:
    """Workers that are no other processes."""

    kernel = "graph"

    def __init__(self, built):
        x, y = TensorColumn("x", "x", ("x",), (3,), "float32", 1), TensorColumn("y", "y", ("y",), (1,), "float32", 0)
        columns = ShardColumns((x,), (y,), None, 0, 0, False, False)
        architectures.build(built, columns.sample())
        settings = ProcessSettings(1, keras.backend.backend(), "float32", ())
        architecture = architectures.architecture(built)
        self.task = WorkerTask(
            connections.Endpoint(""), settings, architecture, True, columns, BATCH, True, 3, 2, prefetch=0
        )
        self.replica = Replica(architecture, settings, True, columns)
        random = np.random.default_rng(8)
        self.shards = []
        for shard, count in enumerate(ROWS):
            rows = {"x0": random.normal(size=(count, 3)), "y0": random.normal(size=(count, 1))}
            rows = MemoryRows({name: array.astype("float32") for name, array in rows.items()})
            self.shards.append(Minibatches(rows, self.task, shard, requests._prepare(self.task, training=True)))

    def train(self, epoch, start, stop, states):
        header = {"epoch": epoch, "start": start, "stop": stop, "frequency": 2, "kernel": "graph"}
        nothing = SimpleNamespace(give=lambda: None)
        for shard, minibatches in enumerate(self.shards):
            answer, arrays = requests._train(
                self.replica, self.task, minibatches, header, states(shard), nothing, Phases()
            )
            state = State(*arrays[:2]) if arrays else None
            yield Update(shard, state, arrays[-1] if arrays else None, answer["rows"], answer["kernel"], 0.0)

    def yielding_slots(self):
        return contextlib.nullcontext()


class Interrupt(keras.callbacks.Callback):
    def __init__(self, after):
        super().__init__()
        self.own = SimpleNamespace(left=after)

    def on_train_batch_begin(self, batch, logs=None):
        if self.own.left == 0:
            raise KeyboardInterrupt
        self.own.left -= 1


@pytest.fixture
def files(monkeypatch):
    """Files of this machine instead of Hadoop's."""

    def place(spark, local, folder, name, unfinished):
        os.makedirs(folder, exist_ok=True)
        shutil.copy(local, f"{folder}/{name}")

    monkeypatch.setattr(
        cluster_files, "list_folder", lambda spark, path: os.listdir(path) if os.path.isdir(path) else []
    )
    monkeypatch.setattr(cluster_files, "place_file", place)
    monkeypatch.setattr(cluster_files, "fetch_file", lambda spark, path, local: shutil.copy(path, local))
    monkeypatch.setattr(cluster_files, "delete_file", lambda spark, path: os.unlink(path))
    # After each round.
    monkeypatch.setattr(checkpoint.Checkpoints, "due", lambda self, position: True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer_state, build",
    [
        ("average", model),
        ("local", with_fixed_rate),
        ("reset", with_fixed_rate),
    ],
)
def test_after_any_round_the_rest_gives_the_same_bits(files, tmp_path, optimizer_state, build):
    workers = InProcess(build())
    schedule = Schedule(EPOCHS, ROWS, False, BATCH, 2, optimizer_state)

    def fit(folder, rounds=-1):
        built = build()
        architectures.build(built, workers.task.columns.sample())
        best = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="loss", save_best_only=True)
        early = keras.callbacks.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True, min_delta=1e-4)
        callbacks = [early, best, Interrupt(rounds)]
        if build is with_fixed_rate:  # Keras refuses to change the rate of a schedule
            slower = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=0.5, factor=0.5)
            callbacks.insert(0, slower)
        checkpoints = folder and checkpoint.Checkpoints(None, folder, 1, {"model": "this one"})
        if checkpoints:
            checkpoints.open()
            checkpoints.resume(["rows", "rows"])
        outcome = loop.train(built, workers, schedule, callbacks, Progress(0, EPOCHS, sum(ROWS)), checkpoints)
        state = states.read(built, states.layout_of(built))
        kept = {name: value for callback in callbacks for name, value in vars(callback).items() if name in KEPT}
        return state.values.tobytes(), state.integers.tobytes(), outcome.history, outcome.epochs, outcome.rounds, kept

    whole = fit(None)
    assert whole[3] == EPOCHS and whole[4] == EPOCHS * ROUNDS
    for rounds in range(1, EPOCHS * ROUNDS):
        folder = f"{tmp_path}/after {rounds}"
        with pytest.raises(KeyboardInterrupt):
            fit(folder, rounds)
        assert len(os.listdir(folder)) == min(2, rounds)
        assert fit(folder) == whole


KEPT = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "min_delta")
