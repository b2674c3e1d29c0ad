"""A fit that is interrupted after any of its rounds and goes on from its checkpoint, compared with a whole one.

The driver's loop and the workers' rounds are the real ones, in this process; Spark and its file systems take no part.
"""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from in_process import train

from spark_keras.cluster import files as cluster_files
from spark_keras.keras_model import first_step, frozen
from spark_keras.keras_model import state as states
from spark_keras.training.checkpoints import checkpoints as checkpoint
from spark_keras.training.worker.closure import AmongWorkers
from spark_keras.training.workers.in_process import InProcessWorkers

ROWS, BATCH, EPOCHS = (14, 9), 4, 3
ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.1}}
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


def workers_of(built, among_workers=None):
    random = np.random.default_rng(8)
    x, y = (random.normal(size=(sum(ROWS), width)).astype("float32") for width in (3, 1))
    return InProcessWorkers.of_arrays(built, (x, y), ROWS, BATCH, seed=3, shuffle=True, among_workers=among_workers)


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
    "optimizer_state, build, outer, averaging",
    [
        ("average", model, None, "driver"),
        ("local", with_fixed_rate, None, "driver"),
        ("reset", with_fixed_rate, None, "driver"),
        ("local", model, ADAM, "driver"),
        ("average", model, ADAM, "workers"),
        ("local", with_fixed_rate, None, "workers"),
    ],
)
def test_after_any_round_the_rest_gives_the_same_bits(files, tmp_path, optimizer_state, build, outer, averaging):
    workers = workers_of(build(), AmongWorkers(optimizer_state, outer) if averaging == "workers" else None)

    def fit(folder, rounds=-1):
        built = build()
        first_step.build_symbolically(built, workers.task.columns.sample())
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
        settings = {"frequency": 2, "optimizer_state": optimizer_state, "kernel": "graph"}
        settings |= {"outer": keras.optimizers.get(outer)} if outer else {}
        outcome = train(
            built, None, workers=workers, epochs=EPOCHS, batch_size=BATCH, callbacks=callbacks, checkpoints=checkpoints,
            **settings,
        )  # fmt: skip
        state = states.read(built, states.layout_of(built))
        kept = {name: value for callback in callbacks for name, value in vars(callback).items() if name in KEPT}
        return state.values.tobytes(), state.integers.tobytes(), outcome.history, outcome.epochs, outcome.rounds, kept

    whole = fit(None)
    assert whole[3] == EPOCHS and whole[4] == EPOCHS * ROUNDS
    # After each where all of the state is averaged; else within an epoch, at its end, and before the last round.
    for rounds in range(1, EPOCHS * ROUNDS) if optimizer_state == "average" else (1, 2, EPOCHS * ROUNDS - 1):
        folder = f"{tmp_path}/after {rounds}"
        with pytest.raises(KeyboardInterrupt):
            fit(folder, rounds)
        assert len(os.listdir(folder)) == min(2, rounds)
        assert fit(folder) == whole


KEPT = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "min_delta")


def with_frozen_layer():
    built = model()
    built.layers[0].trainable = False
    built.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    return built


class Shift(keras.callbacks.Callback):
    """Changes a frozen weight in the first epoch's end, where it is told to."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0 and self.by:
            self.model.layers[0].bias.assign_add([self.by] * 4)


@pytest.mark.parametrize("whole", [False, True], ids=["without frozen weights", "as version 0.1.0 writes it"])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_frozen_weights_are_those_of_the_caller_or_of_the_callback_that_changed_them(
    files, tmp_path, monkeypatch, whole, shift
):
    def fit(folder, rounds=-1):
        built = with_frozen_layer()
        workers = workers_of(built)
        checkpoints = folder and checkpoint.Checkpoints(None, folder, 1, {"model": "this one"})
        if checkpoints:
            checkpoints.open()
            checkpoints.resume(["rows", "rows"])
        callbacks = [Shift(shift), Interrupt(rounds)]
        train(
            built, None, workers=workers, epochs=EPOCHS, batch_size=BATCH, callbacks=callbacks, checkpoints=checkpoints,
            frequency=2, optimizer_state="local", kernel="graph",
        )  # fmt: skip
        return [np.asarray(states.to_numpy(each.value)).tobytes() for each in states.all_variables(built)]

    folder = str(tmp_path / "folder")
    with monkeypatch.context() as patched:
        if whole:
            patched.setattr(frozen, "of", lambda model: [])
        with pytest.raises(KeyboardInterrupt):
            fit(folder, rounds=3)
    with np.load(max(os.scandir(folder), key=lambda file: file.name)) as file:
        assert ("frozen" in file) == bool(shift and not whole)
    assert fit(folder) == fit(None)
