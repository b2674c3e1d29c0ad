"""Callbacks that begin a fit anew, end it or print; `tests/long/test_callbacks.py` tries all that need no Spark."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from interruption import Interrupt
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
