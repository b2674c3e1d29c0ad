"""Each callback class of Keras has the effect on rounds of workers that it has on `Model.fit`."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse

import keras
import numpy as np
import pytest
from in_process import train

ROWS, BATCH = 40, 8
X = np.random.default_rng(3).normal(size=(ROWS + 16, 3)).astype("float32")
Y = (X @ [1.0, -2.0, 0.5])[:, None].astype("float32")
ROWS_TO_TRAIN, HELD_OUT = (X[:ROWS], Y[:ROWS]), (X[ROWS:], Y[ROWS:])


def network(optimizer=None):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return model


def compare(callbacks, epochs=3, optimizer=lambda: None):
    """Trains both ways with callbacks made anew for each of them, compares weights and history, and returns both."""
    mine, other = callbacks("mine"), callbacks("keras")
    here, there = network(optimizer()), network(optimizer())
    settings = {"epochs": epochs, "batch_size": BATCH, "frequency": 1, "validation": HELD_OUT, "callbacks": mine}
    found = train(here, ROWS_TO_TRAIN, **settings).history
    settings = {"epochs": epochs, "batch_size": BATCH, "shuffle": False, "verbose": 0, "callbacks": other}
    history = there.fit(*ROWS_TO_TRAIN, validation_data=HELD_OUT, **settings).history
    for one, two in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert set(found) == set(history)
    for name, values in history.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6)
    return mine, other


HOOKS = (
    "on_train_begin on_epoch_begin on_train_batch_begin on_batch_begin on_batch_end on_train_batch_end on_epoch_end "
    "on_train_end"
).split()


@pytest.mark.parametrize("given", ["as a method", "as an attribute"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_sees_and_changes_the_model_in_each_of_its_hooks_as_in_keras(hook, given):
    """And in the hooks that it does not have, nothing happens."""
    seen = {"mine": [], "keras": []}

    def callbacks(name):
        def change(callback):
            weights = callback.model.layers[0].kernel
            seen[name].append(float(keras.ops.sum(weights.value)))
            weights.assign(1.1 * weights.value)

        if given == "as a method":
            return [type("Changes", (keras.callbacks.Callback,), {hook: lambda self, *_, **__: change(self)})()]
        changes = keras.callbacks.Callback()
        setattr(changes, hook, lambda *_, **__: change(changes))
        return [changes]

    compare(callbacks, epochs=2)
    assert seen["keras"]
    np.testing.assert_allclose(seen["mine"], seen["keras"], rtol=1e-5)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_test_begin"])
def test_training_stops_where_it_stops_in_keras(hook):
    def callbacks(_):
        stop = keras.callbacks.Callback()
        setattr(stop, hook, lambda *_, **__: setattr(stop.model, "stop_training", True))
        return [stop]

    compare(callbacks)


def test_validation_sees_what_callbacks_do_at_its_begin_and_end():
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

    (mine,), (other,) = compare(callbacks)
    np.testing.assert_allclose(mine.seen, other.seen, rtol=1e-4)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapped_averages_of_the_weights(swap_on_epoch):
    def callbacks(_):
        saved = []
        remember = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: saved.append(remember.model.get_weights()))
        remember.saved = saved
        return [keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch), remember]

    def optimizer():
        return keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.8)

    (_, mine), (_, other) = compare(callbacks, optimizer=optimizer)
    for one, two in zip(keras.tree.flatten(mine.saved), keras.tree.flatten(other.saved), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_learning_rates_stopping_histories_and_logs(tmp_path):
    def callbacks(name):
        return [
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.3, patience=0, min_delta=10.0),
            keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=10.0, restore_best_weights=True),
            keras.callbacks.CSVLogger(str(tmp_path / f"{name}.csv")),
            keras.callbacks.History(),
        ]

    mine, other = compare(callbacks, epochs=6)
    assert mine[1].stopped_epoch == other[1].stopped_epoch > 0
    assert mine[3].epoch == other[3].epoch and set(mine[3].history) == set(other[3].history)
    here, there = (np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", names=True) for name in ("mine", "keras"))
    assert set(here.dtype.names) == set(there.dtype.names)
    for name in there.dtype.names:
        np.testing.assert_allclose(here[name], there[name], rtol=1e-4)


def test_model_checkpoints(tmp_path):
    def callbacks(name):
        folder = tmp_path / name
        folder.mkdir()
        checkpoint = keras.callbacks.ModelCheckpoint
        return [
            checkpoint(str(folder / "{epoch}-{val_loss:.3f}.keras"), monitor="val_loss", save_best_only=True),
            checkpoint(str(folder / "{epoch}-{batch}.weights.h5"), save_weights_only=True, save_freq=3),
        ]

    compare(callbacks)
    here, there = ({path.name: path for path in (tmp_path / name).iterdir()} for name in ("mine", "keras"))
    assert set(here) == set(there) and len(there) > 3
    for name in there:
        one, two = network(), network()
        one.load_weights(here[name])
        two.load_weights(there[name])
        for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_orbax_checkpoints(tmp_path):
    def callbacks(name):
        folder, options = str(tmp_path / name), {"max_to_keep": None, "save_on_background": False}
        return [keras.callbacks.OrbaxCheckpoint(folder, save_freq=4, **options)]

    compare(callbacks)
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


def test_a_remote_monitor_is_told_of_each_epoch():
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
        compare(lambda _: [keras.callbacks.RemoteMonitor(f"http://127.0.0.1:{server.server_port}")])
        server.shutdown()
    assert [each["epoch"] for each in told] == [0, 1, 2, 0, 1, 2]
    for mine, other in zip(told[:3], told[3:], strict=True):
        assert mine == pytest.approx(other, rel=1e-4)


def test_tensorboard_gets_the_same_scalars(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    def callbacks(name):
        return [keras.callbacks.TensorBoard(str(tmp_path / name), update_freq=1, histogram_freq=1)]

    def scalars(folder):
        events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
        events.Reload()
        tags = [tag for tag in events.Tags()["tensors"] if tag != "keras" and "histogram" not in tag]
        return {tag: [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)] for tag in tags}

    compare(callbacks)
    for part in ("train", "validation"):
        here, there = (scalars(tmp_path / name / part) for name in ("mine", "keras"))
        assert set(here) == set(there) and there
        for tag in there:
            np.testing.assert_allclose(here[tag], there[tag], rtol=1e-4)
