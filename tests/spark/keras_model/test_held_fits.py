"""Fits of models whose training changes more than weights, one optimizer and metrics, compared with plain Keras."""

from __future__ import annotations

import io
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from held_models import Growing, X, Y, alone, dense, package, prepared, warm
from python_workers import KillAWorker
from regression import frame, in_training_order, keras_weights, regression_rows, weights_of

from spark_keras import KerasEstimator, KerasModel, KerasRegressor, KerasTransformer
from spark_keras.backend import kernels
from spark_keras.keras_model import first_step, held
from spark_keras.keras_model import state as states
from spark_keras.keras_model.archive import KerasArchive


@package
class Counting(keras.losses.Loss):
    """The n-th minibatch's loss is n."""

    def __init__(self, name="counting", **keywords):
        super().__init__(name=name, **keywords)
        self.n = keras.Variable(0.0, trainable=False, name="n")

    def call(self, y, predicted):
        self.n.assign_add(1.0)
        return 0 * keras.ops.mean(predicted, -1) + self.n


def linear(loss, seed=1, rate=0.0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


class End(keras.callbacks.Callback):
    """What the driver's model holds when a fit ends."""

    def on_train_end(self, logs=None):
        self.state = states.read(self.model, states.layout_of(self.model))
        self.held = {path: states.to_numpy(each.value) for path, each in held.of(self.model).variables.items()}
        optimizers = getattr(self.model, "own_optimizers", [])
        self.iterations = [int(each.iterations) for each in optimizers]
        self.rates = [float(each.learning_rate) for each in optimizers]


def test_a_variable_of_a_loss_begins_anew_with_each_fit(spark):
    df = frame(spark, *regression_rows(64))
    estimator = KerasRegressor(model=linear(Counting()), epochs=2, batchSize=64, numWorkers=1, verbose=0)
    assert [estimator.fit(df).summary.history["loss"] for _ in range(2)] == [[1.0, 2.0], [1.0, 2.0]]


def test_a_variable_of_a_loss_is_averaged_and_set_by_callbacks(spark):
    df = frame(spark, *regression_rows(64), partitions=2)
    end = End()

    class Set(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.loss.n.assign(10.0 * epoch)

    estimator = KerasRegressor(
        model=linear(Counting()),
        epochs=2,
        batchSize=8,
        numWorkers=2,
        averagingFrequency=2,
        verbose=0,
        callbacks=[Set(), end],
    )
    # 4 minibatches on each of two workers: 1 to 4, and 11 to 14.
    assert estimator.fit(df).summary.history["loss"] == [2.5, 12.5]
    assert end.held == {"model.loss.n": 14.0}


def test_a_model_with_two_optimizers_is_trained_as_by_plain_keras_in_each_fit(spark):
    df = frame(spark, *regression_rows(103))

    class Slower(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            for optimizer in self.model.own_optimizers:
                optimizer.learning_rate = 0.5 * float(optimizer.learning_rate)

    keras.utils.set_random_seed(1)
    expected, end = warm(), End()
    expected.build((None, 5))
    estimator = KerasEstimator(
        model=expected,
        epochs=3,
        batchSize=8,
        numWorkers=1,
        shuffle=False,
        averagingFrequency=4,
        verbose=0,
        callbacks=[Slower(), end],
    )
    first, second = estimator.fit(df), estimator.fit(df)
    np.testing.assert_array_equal(weights_of(first), weights_of(second))
    x, y = in_training_order(df)
    history = expected.fit(
        x, y[:, None], batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[Slower()]
    ).history
    np.testing.assert_allclose(weights_of(first), keras_weights(expected), atol=1e-5)
    np.testing.assert_allclose(first.summary.history["loss"], history["loss"], rtol=1e-4)
    assert end.iterations == [int(each.iterations) for each in expected.own_optimizers] == [39, 39]
    np.testing.assert_allclose(end.rates, [0.1 / 8, 0.05 / 8], rtol=1e-6)
    # The fitted model goes on where plain Keras does.
    fitted = first.toKeras()
    for one, other in zip(fitted.own_optimizers, expected.own_optimizers):
        assert one.iterations == other.iterations == 39
        for a, b in zip(one.variables, other.variables):
            np.testing.assert_allclose(states.to_numpy(a.value), states.to_numpy(b.value), atol=1e-5)
    again = KerasEstimator(model=fitted, batchSize=8, numWorkers=1, shuffle=False, verbose=0).fit(df)
    expected.fit(x, y[:, None], batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights_of(again), keras_weights(expected), atol=1e-5)


class Raw(keras.layers.Layer):
    def __init__(self, **keywords):
        import tensorflow as tf

        super().__init__(**keywords)
        self.count = tf.Variable(0.0)

    def call(self, x):
        self.count.assign_add(1.0)
        return x


class OfClass(keras.losses.Loss):
    n = None

    def call(self, y, predicted):
        self.n.assign_add(1.0)
        return keras.ops.mean(keras.ops.square(y - predicted), -1)


def test_what_cannot_be_found_is_refused_by_name():
    outside = keras.Variable(0.0, name="outside")

    def loss(y, predicted):
        outside.assign_add(1.0)
        return keras.ops.mean(keras.ops.square(y - predicted), -1)

    OfClass.n = keras.Variable(0.0, name="of_class")
    raw = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1), Raw(name="raw")])
    raw.compile("sgd", "mse")
    refused = {"'variable:0'|outside": dense(loss), "of_class|variable": dense(OfClass()), "count, a Resource": raw}
    for name, model in refused.items():
        with pytest.raises(held.Untracked, match=name) as told:
            prepared(model)
        assert "Expected: a keras.Variable" in str(told.value)
        # A worker finds it in its rounds.
        first_step.build_symbolically(model, (X[0], Y[0]))
        layout = states.layout_of(model)
        with pytest.raises(held.Untracked, match="which training assigns"):
            kernels.make("graph", model, layout).train(
                states.read(model, layout), np.zeros((0, 2), "int32"), (X, Y), 0, 1
            )


def test_an_archive_keeps_what_keras_leaves_out(tmp_path):
    keras.utils.set_random_seed(1)
    counting = linear(Counting())
    counting.fit(np.ones((16, 5)), np.ones(16), batch_size=4, verbose=0)
    assert KerasArchive.of(counting).load().loss.n == 4
    KerasArchive.of(counting).load(compile=False)
    # Plain Keras reads it.
    path = tmp_path / "model.keras"
    path.write_bytes(KerasArchive.of(counting).data)
    keras.saving.load_model(path)
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    plain.compile("adam", "mse")
    with zipfile.ZipFile(io.BytesIO(KerasArchive.of(plain).data)) as archive:
        assert "spark_keras.npz" not in archive.namelist()


def recurrent():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Reshape((5, 1)), keras.layers.LSTM(3, stateful=True), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input(batch_shape=(8, 5)), *layers])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def test_a_stateful_layer_goes_on_from_minibatch_to_minibatch(spark):
    df = frame(spark, *regression_rows(64))
    expected = recurrent()
    options = dict(batchSize=8, epochs=2, averagingFrequency=3, shuffle=False, verbose=0)
    fits = [KerasRegressor(model=recurrent(), numWorkers=1, **options).fit(df) for _ in range(2)]
    x, y = in_training_order(df)
    expected.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights_of(fits[0]), keras_weights(expected), atol=1e-5)
    np.testing.assert_array_equal(weights_of(fits[0]), weights_of(fits[1]))
    for own, theirs in zip(fits[0].toKeras().layers[1].states, expected.layers[1].states):
        np.testing.assert_allclose(own, theirs, atol=1e-5)


@pytest.mark.slow
def test_each_row_is_a_sequence_of_its_own_where_a_stateful_model_is_applied(spark):
    df, model = frame(spark, *regression_rows(61)).cache(), recurrent()
    model(np.ones((8, 5)))
    assert all(np.abs(variable).max() > 0 for variable in held.local_variables(model))
    fitted, rows = KerasModel(model=model), df.collect()
    x, y = np.array([row.features for row in rows]), np.array([row.label for row in rows])
    predicted = alone(model, x)[:, 0]

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    close([row.prediction[0] for row in fitted.transform(df).collect()], predicted)
    inner = KerasTransformer(model=fitted, outputLayer=model.layers[1].name, batchSize=20)
    close([row.prediction for row in inner.transform(df).collect()], alone(keras.Sequential(model.layers[:2]), x))
    close([row.loss for row in fitted.scoreExamples(df, "loss").collect()], (predicted - y) ** 2)
    found = fitted.evaluate(df, metrics=["mae"])
    close([found["loss"], found["mae"]], [np.mean((predicted - y) ** 2), np.mean(abs(predicted - y))])


def test_minibatches_that_a_stateful_layer_does_not_take_are_refused(spark):
    df = frame(spark, *regression_rows(60))
    with pytest.raises(ValueError, match="Param `batchSize`.*Received: 32. Expected: 8"):
        KerasRegressor(model=recurrent(), numWorkers=1, verbose=0).fit(df)
    with pytest.raises(ValueError, match="not full. Received: .60. rows.*multiples of 8"):
        KerasRegressor(model=recurrent(), numWorkers=1, batchSize=8, verbose=0).fit(df)


def bits(fitted):
    """All that a fit leaves."""
    model = fitted.toKeras()
    state = states.read(model, states.layout_of(model))
    return state.values.tobytes(), state.integers.tobytes(), fitted.summary.history


@pytest.mark.slow
def test_a_killed_worker_changes_no_bit_of_further_optimizers_and_variables(spark):
    df, fits = frame(spark, *regression_rows(64)), []
    for times in (0, 1):
        keras.utils.set_random_seed(1)
        model, killer = warm(), KillAWorker(times)
        model.build((None, 5))
        options = dict(epochs=2, batchSize=8, averagingFrequency=2, numWorkers=2, verbose=0, callbacks=[killer])
        fits.append(KerasEstimator(model=model, **options).fit(df))
        assert killer.killed == times
    assert bits(fits[0]) == bits(fits[1])
    model = fits[1].toKeras()
    assert [int(each.iterations) for each in model.own_optimizers] == [8, 8]
    np.testing.assert_allclose(float(model.temperature), 2 * 0.9**8, rtol=1e-5)


class Crash(keras.callbacks.Callback):
    """The end of a driver after some rounds, as far as this process can play it."""

    def __init__(self, rounds):
        super().__init__()
        # No plain data, so that it is this process's own.
        self.own = SimpleNamespace(left=rounds)

    def on_train_batch_end(self, batch, logs=None):
        self.own.left -= 1
        if self.own.left == 0:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_fit_with_a_variable_of_a_loss_goes_on_from_a_checkpoint_to_the_same_bits(spark, tmp_path):
    df = frame(spark, *regression_rows(64))

    def fit(rounds, **settings):
        options = dict(epochs=2, batchSize=8, averagingFrequency=2, numWorkers=2, verbose=0, **settings)
        return KerasRegressor(model=linear(Growing(), rate=0.01), callbacks=[Crash(rounds)], **options).fit(df)

    expected, settings = fit(0), {"checkpointDir": str(tmp_path / "checkpoints"), "checkpointInterval": "0.001s"}
    with pytest.raises(KeyboardInterrupt):
        fit(3, **settings)  # two make an epoch
    resumed = fit(0, **settings)
    assert bits(resumed) == bits(expected)
    assert resumed.toKeras().loss.n == 8
