"""Checkpoints: a fit goes on where another one stopped, to the same bits; and what is refused."""

from __future__ import annotations

import os
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from regression import frame, regression_rows

from spark_keras import KerasRegressor
from spark_keras.training.checkpoints import callback_state


def model(units=4):
    keras.utils.set_random_seed(2)
    layers = [keras.Input((5,)), keras.layers.Dense(units, "tanh"), keras.layers.BatchNormalization()]
    built = keras.Sequential([*layers, keras.layers.Dropout(0.1), keras.layers.Dense(1)])
    built.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    return built


def estimator(**params):
    fixed = {"epochs": 4, "batchSize": 10, "averagingFrequency": 2, "numWorkers": 2, "validationSplit": 0.2}
    fixed["globalBatch"] = False
    return KerasRegressor(**{"model": model(), "verbose": 0, **fixed, **params})


def bits(fitted):
    trained = fitted.toKeras()
    return [np.asarray(variable.value).tobytes() for variable in [*trained.weights, *trained.optimizer.variables]]


def same(fitted, expected):
    return bits(fitted) == bits(expected) and fitted.summary.history == expected.summary.history


class Crash(keras.callbacks.Callback):
    """The end of a driver, as far as the fit's own process can play it."""

    def __init__(self, rounds):
        super().__init__()
        # No plain data, so that it is this process's own.
        self.own = SimpleNamespace(left=rounds)

    def on_train_batch_end(self, batch, logs=None):
        self.own.left -= 1
        if self.own.left == 0:
            raise KeyboardInterrupt


def stateful():
    """Callbacks whose state decides the result."""
    return [
        keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=0, min_delta=0.5, cooldown=1),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, min_delta=1e-3, restore_best_weights=True),
    ]


@pytest.fixture
def rows(spark):
    return frame(spark, *regression_rows(101)).cache()


def files(folder):
    return sorted(name for name in os.listdir(folder) if not name.endswith(".crc"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "interval, optimizer_state",
    [pytest.param(1, "average", id="each epoch"), pytest.param("0.001s", "local", id="within epochs")],
)
def test_a_fit_goes_on_to_the_same_bits(rows, tmp_path, interval, optimizer_state):
    expected = estimator(callbacks=[*stateful(), Crash(0)], optimizerState=optimizer_state).fit(rows)
    folder = str(tmp_path / "checkpoints")
    settings = {"checkpointDir": folder, "checkpointInterval": interval, "optimizerState": optimizer_state}
    for rounds in (4, 5):  # three make an epoch
        with pytest.raises(KeyboardInterrupt):
            estimator(callbacks=[*stateful(), Crash(rounds)], **settings).fit(rows)
        assert len(files(folder)) <= 2
    resumed = estimator(callbacks=[*stateful(), Crash(0)], **settings).fit(rows)
    assert same(resumed, expected)
    assert resumed.summary.epochs == expected.summary.epochs
    assert resumed.summary.rounds == expected.summary.rounds
    assert resumed.summary.seconds["checkpoint"] > 0

    # Nothing is left to train, and a model that was built again is the same model.
    counter = Crash(1)
    again = estimator(callbacks=[*stateful(), counter], **settings).fit(rows)
    assert counter.own.left == 1 and same(again, expected)


@pytest.mark.slow
def test_what_is_another_fit_is_refused_and_named(spark, rows, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    folder = f"file:{tmp_path}/checkpoints"
    settings = {"epochs": 2, "checkpointDir": folder}
    fitted = estimator(**settings).fit(rows)
    before = files(tmp_path / "checkpoints")
    assert len(before) == 2 and all(name.startswith("checkpoint-") for name in before)

    def refused(message, df=rows, **changed):
        with pytest.raises(ValueError, match=rf"(?s)another fit.*{message}"):
            estimator(**{**settings, **changed}).fit(df)
        assert files(tmp_path / "checkpoints") == before

    refused(r"model \(", model=model(units=3))
    other = model()
    other.layers[0].set_weights([weight + 1 for weight in other.layers[0].get_weights()])
    refused("initial weights", model=other)
    refused(r"batchSize \(10, in this fit 20\)", batchSize=20)
    refused(r"rows per minibatch and worker \(None, in this fit 5\)", globalBatch=True)
    refused("epochs", epochs=3)
    refused("callbacks", callbacks=stateful())
    refused("rows of workers 0, 1", frame(spark, *regression_rows(102)))
    with monkeypatch.context() as driver:
        driver.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
        refused(r"TF_ENABLE_ONEDNN_OPTS \(None, in this fit 0\)")
    assert same(estimator(**settings).fit(rows), fitted)


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(rows, tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    settings = {"epochs": 3, "checkpointDir": str(folder)}
    expected = estimator(**settings).fit(rows)
    _, last = files(folder)
    content = (folder / last).read_bytes()
    (folder / last).write_bytes(content[:-100] + bytes(100))
    for name in os.listdir(folder):  # Hadoop's own checksums would find it, too
        if name.endswith(".crc"):
            os.unlink(folder / name)
    (folder / "_checkpoint-00000009-abc.npz.unfinished").write_bytes(b"a driver was killed here")
    assert same(estimator(**settings).fit(rows), expected)
    assert "is damaged: its content has another SHA-256 sum" in caplog.text
    assert len(files(folder)) == 2 and not any("unfinished" in name for name in files(folder))

    for name in files(folder):
        (folder / name).write_bytes(b"")
    with pytest.raises(ValueError, match="No checkpoint in Param `checkpointDir` can be read"):
        estimator(**settings).fit(rows)


def test_two_fits_do_not_share_a_folder(rows, tmp_path):
    settings = {"epochs": 1, "checkpointDir": str(tmp_path / "checkpoints")}

    class Second(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(ValueError, match="`checkpointDir` is in use by another fit"):
                estimator(**settings).fit(rows)

    estimator(callbacks=[Second()], **settings).fit(rows)


@pytest.mark.parametrize("value", [0, -1, "30", "0s", "s", "5 days", True, 1.5])
def test_an_interval_that_is_none_is_refused(value):
    with pytest.raises((ValueError, TypeError), match="`checkpointInterval`"):
        estimator(checkpointInterval=value)


def test_the_state_of_callbacks_comes_back_as_it_was():
    values = {
        "none": None,
        "whole": 2**70,
        "float": 0.1,
        "infinite": float("-inf"),
        "nested": [{"a": (1, [2.5, "x"]), 3: {4}}, True],
        "array": np.arange(6, dtype="float32").reshape(2, 3),
        "scalar": np.float32(0.1),
        "weights": [np.ones(2), np.zeros((1, 2), "int64")],
        "function": keras.ops.less,
        "ufunc": np.greater,
    }
    before, after = keras.callbacks.Callback(), keras.callbacks.Callback()
    before.unchanged, after.unchanged = 1, 2
    begun = callback_state.baseline([before])
    vars(before).update(values, file=open(os.devnull), own=lambda: 1)
    vars(before)["file"].close()
    arrays = {}
    [state] = callback_state.read([before], begun, arrays)
    assert after.unchanged == 2 and "unchanged" not in state
    assert "file" not in state and "own" not in state
    callback_state.write([after], [state], arrays)
    for name, value in values.items():
        got = getattr(after, name)
        assert type(got) is type(value)
        if name in ("array", "scalar"):
            assert got.dtype == value.dtype and np.array_equal(got, value)
        elif name == "weights":
            assert all(np.array_equal(one, two) and one.dtype == two.dtype for one, two in zip(got, value, strict=True))
        else:
            assert got == value


def test_nothing_in_a_checkpoint_is_executed():
    assert callback_state.decoded({"function": ["os", "system"]}, {}) is None
    assert callback_state.decoded({"function": ["keras.not_imported_yet", "x"]}, {}) is None
