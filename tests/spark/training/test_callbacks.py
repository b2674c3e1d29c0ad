"""Each callback class of Keras has the effect on a fit that it has on `Model.fit`."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse

import keras
import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_keras import EarlyStopping, KerasRegressor

ROWS, BATCH = 40, 8
SETTINGS = {"batchSize": BATCH, "numWorkers": 1, "shuffle": False, "averagingFrequency": 1, "verbose": 0}


@pytest.fixture(scope="module")
def data():
    """Rows to train and to validate on, as a DataFrame and, in the worker's order, as arrays."""
    from conftest import LOCAL, session_for

    random = np.random.default_rng(3)
    x = random.normal(size=(ROWS + 16, 3)).astype("float32")
    y = (x @ [1.0, -2.0, 0.5] + 0.1 * random.normal(size=len(x))).astype("float32")
    rows = [(row.tolist(), float(label), index >= ROWS) for index, (row, label) in enumerate(zip(x, y, strict=True))]
    df = session_for(LOCAL).createDataFrame(rows, "features array<float>, label float, held_out boolean")
    df = df.coalesce(1).cache()
    ordered = df.where("not held_out").orderBy(F.xxhash64("features", "label")).collect()
    return df, arrays(ordered), arrays(df.where("held_out").collect())


def arrays(rows):
    return np.array([row.features for row in rows], "float32"), np.array([row.label for row in rows], "float32")


def network(optimizer=None):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return model


def fitted(data, callbacks, epochs=3, optimizer=None, **params):
    estimator = KerasRegressor(
        model=network(optimizer and optimizer()), epochs=epochs, callbacks=callbacks, validationIndicatorCol="held_out"
    )
    return estimator.fit(data[0], {estimator.getParam(name): value for name, value in (SETTINGS | params).items()})


def by_keras(data, callbacks, epochs=3, optimizer=None, **arguments):
    model = network(optimizer and optimizer())
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0} | arguments
    model.fit(*data[1], epochs=epochs, callbacks=callbacks, validation_data=data[2], **options)
    return model


def compare(data, callbacks, **arguments):
    """Trains both ways with callbacks made anew for each of them, compares weights and history, and returns both."""
    mine, other = callbacks("mine"), callbacks("keras")
    here, there = fitted(data, mine, **arguments), by_keras(data, other, **arguments)
    for one, two in zip(here.toKeras().get_weights(), there.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    history = there.history.history
    assert set(here.summary.history) == set(history)
    for name, values in history.items():
        np.testing.assert_allclose(here.summary.history[name], values, rtol=1e-4, atol=1e-6)
    return mine, other


class Interrupt(keras.callbacks.Callback):
    """Fails once, as training is interrupted."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("save_freq", ["epoch", 3])
def test_backup_and_restore_goes_on_where_training_was_interrupted(data, tmp_path, save_freq):
    def callbacks(name, *others):
        return [keras.callbacks.BackupAndRestore(str(tmp_path / name), save_freq=save_freq), *others]

    with pytest.raises(KeyboardInterrupt):
        fitted(data, callbacks("mine", Interrupt(4)), epochs=10)
    with pytest.raises(KeyboardInterrupt):
        by_keras(data, callbacks("keras", Interrupt(4)), epochs=10)
    here, there = fitted(data, callbacks("mine"), epochs=10), by_keras(data, callbacks("keras"), epochs=10)
    epochs = len(there.history.epoch)
    assert here.summary.epochs == epochs == len(here.summary.history["loss"])
    assert here.summary.initialEpoch == there.history.epoch[0] == 10 - epochs
    np.testing.assert_allclose(here.summary.history["loss"], there.history.history["loss"], rtol=1e-4)
    if save_freq == "epoch":
        assert epochs == 6
        # As if it had never been interrupted.
        whole = fitted(data, [], epochs=10)
        for one, other in zip(here.toKeras().get_weights(), whole.toKeras().get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_initial_epoch_counts_as_in_keras(data):
    seen = []
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: seen.append(epoch) or 0.1 / (epoch + 1))
    here = fitted(data, [schedule], epochs=10, initialEpoch=4)
    mine, seen[:] = list(seen), []
    there = by_keras(data, [schedule], epochs=10, initial_epoch=4)
    assert mine == seen == [4, 5, 6, 7, 8, 9]
    np.testing.assert_allclose(here.summary.history["loss"], there.history.history["loss"], rtol=1e-4)
    assert (here.summary.initialEpoch, here.summary.epochs) == (4, 6)
    with pytest.warns(RuntimeWarning, match="`initialEpoch`.*Received: 3, where `epochs` is 3.*no epoch is trained"):
        nothing = fitted(data, [], epochs=3, initialEpoch=3)
    assert nothing.summary.epochs == 0 and nothing.summary.history == {}
    np.testing.assert_array_equal(nothing.toKeras().get_weights()[0], network().get_weights()[0])


def test_early_stopping_counts_from_the_initial_epoch(data):
    estimator = KerasRegressor(
        model=network(), initialEpoch=2, validationIndicatorCol="held_out", **SETTINGS, callbacks=[]
    )
    result = EarlyStopping(estimator=estimator, maxEpochs=5).fit(data[0]).result
    assert list(result.scores) == [3, 4, 5] and result.totalEpochs == 3


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_test_begin"])
def test_training_stops_where_it_stops_in_keras(data, hook):
    def callbacks(_):
        stop = keras.callbacks.Callback()
        setattr(stop, hook, lambda *_, **__: setattr(stop.model, "stop_training", True))
        return [stop]

    compare(data, callbacks)


def test_validation_sees_what_callbacks_do_at_its_begin_and_end(data):
    def callbacks(_):
        class Changed(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.seen = []

            def on_test_begin(self, logs=None):
                self.kept = self.model.get_weights()
                self.model.set_weights([2 * weight for weight in self.kept])

            def on_test_end(self, logs=None):
                self.model.set_weights(self.kept)
                self.seen.append(logs["loss"])

        return [Changed()]

    (mine,), (other,) = compare(data, callbacks)
    np.testing.assert_allclose(mine.seen, other.seen, rtol=1e-4)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapped_averages_of_the_weights(data, swap_on_epoch):
    def callbacks(_):
        saved = []
        remember = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: saved.append(remember.model.get_weights()))
        remember.saved = saved
        return [keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch), remember]

    def optimizer():
        return keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.8)

    (_, mine), (_, other) = compare(data, callbacks, optimizer=optimizer)
    for one, two in zip(keras.tree.flatten(mine.saved), keras.tree.flatten(other.saved), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_learning_rates_stopping_histories_and_logs(data, tmp_path):
    def callbacks(name):
        return [
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.3, patience=0, min_delta=10.0),
            keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=10.0, restore_best_weights=True),
            keras.callbacks.CSVLogger(str(tmp_path / f"{name}.csv")),
            keras.callbacks.History(),
        ]

    mine, other = compare(data, callbacks, epochs=6)
    assert mine[1].stopped_epoch == other[1].stopped_epoch > 0
    assert mine[3].epoch == other[3].epoch and set(mine[3].history) == set(other[3].history)
    here, there = (np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", names=True) for name in ("mine", "keras"))
    assert set(here.dtype.names) == set(there.dtype.names)
    for name in there.dtype.names:
        np.testing.assert_allclose(here[name], there[name], rtol=1e-4)


def test_model_checkpoints(data, tmp_path):
    def callbacks(name):
        folder = tmp_path / name
        folder.mkdir()
        checkpoint = keras.callbacks.ModelCheckpoint
        return [
            checkpoint(str(folder / "{epoch}-{val_loss:.3f}.keras"), monitor="val_loss", save_best_only=True),
            checkpoint(str(folder / "{epoch}-{batch}.weights.h5"), save_weights_only=True, save_freq=3),
        ]

    compare(data, callbacks)
    here, there = ({path.name: path for path in (tmp_path / name).iterdir()} for name in ("mine", "keras"))
    assert set(here) == set(there) and len(there) > 3
    for name in there:
        one, two = network(), network()
        one.load_weights(here[name])
        two.load_weights(there[name])
        for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_orbax_checkpoints(data, tmp_path):
    def callbacks(name):
        folder, options = str(tmp_path / name), {"max_to_keep": None, "save_on_background": False}
        return [keras.callbacks.OrbaxCheckpoint(folder, save_freq=4, **options)]

    compare(data, callbacks)
    assert {name: {path.name for path in (tmp_path / name).iterdir()} for name in ("mine", "keras")} == {
        "mine": {"4", "8", "12"},
        "keras": {"4", "8", "12"},
    }
    # Of the last step.
    one, two = network(), network()
    one.load_weights(str(tmp_path / "mine"))
    two.load_weights(str(tmp_path / "keras"))
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_progress_bars_of_keras(data, capsys):
    def lines():
        return [line for line in capsys.readouterr().out.replace("\r", "\n").splitlines() if line.startswith("Epoch")]

    for verbose in (0, 2, "auto"):
        fitted(data, [keras.callbacks.ProgbarLogger()], epochs=2, verbose=verbose)
        # And no line of ours beside.
        mine = lines()
        by_keras(data, [keras.callbacks.ProgbarLogger()], epochs=2, verbose=verbose)
        assert mine == lines() == (["Epoch 1/2", "Epoch 2/2"] if verbose else [])
    # It has as many steps as minibatches, also where there are several in a round.
    bar = keras.callbacks.ProgbarLogger()
    fitted(data, [bar], epochs=1, verbose=1, averagingFrequency=2)
    assert bar.target == ROWS // BATCH == bar.seen


def test_a_remote_monitor_is_told_of_each_epoch(data):
    told = []

    class Monitor(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            told.append(json.loads(urllib.parse.parse_qs(text)["data"][0]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Monitor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        compare(data, lambda _: [keras.callbacks.RemoteMonitor(f"http://127.0.0.1:{server.server_port}")])
        server.shutdown()
    assert [each["epoch"] for each in told] == [0, 1, 2, 0, 1, 2]
    for mine, other in zip(told[:3], told[3:], strict=True):
        assert mine == pytest.approx(other, rel=1e-4)


def test_tensorboard_gets_the_same_scalars(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    def callbacks(name):
        return [keras.callbacks.TensorBoard(str(tmp_path / name), update_freq=1, histogram_freq=1)]

    def scalars(folder):
        events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
        events.Reload()
        tags = [tag for tag in events.Tags()["tensors"] if tag != "keras" and "histogram" not in tag]
        return {tag: [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)] for tag in tags}

    compare(data, callbacks)
    for part in ("train", "validation"):
        here, there = (scalars(tmp_path / name / part) for name in ("mine", "keras"))
        assert set(here) == set(there) and there
        for tag in there:
            np.testing.assert_allclose(here[tag], there[tag], rtol=1e-4)


@pytest.mark.parametrize("raises", [False, True])
def test_training_that_becomes_nan_is_terminated(data, raises):
    def callbacks(_):
        return [keras.callbacks.TerminateOnNaN(**({"raise_error": True} if raises else {}))]

    def optimizer():
        return keras.optimizers.SGD(1e30)

    if not raises:
        here = fitted(data, callbacks(""), optimizer=optimizer)
        assert here.summary.epochs == len(by_keras(data, callbacks(""), optimizer=optimizer).history.epoch) == 1
        return
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        by_keras(data, callbacks(""), optimizer=optimizer)
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        fitted(data, callbacks(""), optimizer=optimizer)


def test_callbacks_come_in_whatever_keras_takes(data):
    def counting():
        calls = []
        return keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: calls.append(1)), calls

    for wrap in (
        lambda callback: callback,
        lambda callback: [[callback], []],
        lambda callback: (callback,),
        lambda callback: keras.callbacks.CallbackList([callback]),
    ):
        callback, calls = counting()
        estimator = KerasRegressor(model=network(), callbacks=wrap(callback), epochs=2, **SETTINGS)
        assert estimator.getCallbacks() == [callback]
    estimator.fit(data[0])
    assert len(calls) == 2
    with pytest.raises(TypeError, match="`callbacks`.*Received: 3"):
        KerasRegressor(callbacks=[[3]])
