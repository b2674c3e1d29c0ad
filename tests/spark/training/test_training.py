"""What must always hold of a fit, compared with plain Keras in this process."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from conftest import every_session
from counting import counting_model
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F
from regression import dropout_model, frame, in_training_order, keras_weights, linear, mlp, regression_rows, weights_of

from spark_keras import KerasClassifier, KerasEstimator, KerasRegressionModel, KerasRegressor


@every_session
def test_one_worker_equals_plain_keras(spark):
    df = frame(spark, *regression_rows(103))  # 103 rows: the last minibatch has 7
    expected = mlp(keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.02, 7, 0.8)))
    estimator = KerasRegressor(
        model=expected, epochs=3, batchSize=8, numWorkers=1, shuffle=False, averagingFrequency=3, verbose=0
    )
    fitted = estimator.fit(df)
    x, y = in_training_order(df)
    history = expected.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-5)
    for name, values in history.items():
        np.testing.assert_allclose(fitted.summary.history[name], values, rtol=1e-4)
    assert fitted.toKeras().optimizer.iterations == expected.optimizer.iterations == 3 * 13


@pytest.mark.slow
def test_two_fits_in_a_row_equal_local_training(spark):
    df = frame(spark, *regression_rows(60))
    x, y = in_training_order(df)
    local = mlp(keras.optimizers.Adam(0.01))
    distributed = keras.models.clone_model(local)
    distributed.set_weights(local.get_weights())
    distributed.compile(keras.optimizers.Adam(0.01), "mse")
    for _ in range(2):
        estimator = KerasRegressor(
            model=distributed, batchSize=10, numWorkers=1, shuffle=False, averagingFrequency=1, verbose=0
        )
        distributed = estimator.fit(df).toKeras()
        local.fit(x, y, batch_size=10, shuffle=False, verbose=0)
        np.testing.assert_allclose(keras_weights(distributed), keras_weights(local), atol=1e-5)


def test_a_batch_of_all_workers_and_a_scaled_rate_equal_local_training(spark):
    x, y = regression_rows(80)
    df = frame(spark, x, y)
    expected = linear(keras.optimizers.SGD(0.1))
    shared = {"epochs": 2, "numWorkers": 2, "shuffle": False, "averagingFrequency": 1, "verbose": 0}
    of_all = KerasRegressor(
        model=expected, batchSize=80, globalBatch=True, learningRateScaling="linear", learningRateWarmup=2, **shared
    ).fit(df)
    by_default = KerasRegressor(model=expected, batchSize=80, **shared).fit(df)
    of_each = KerasRegressor(
        model=linear(keras.optimizers.SGD(0.05)),
        batchSize=40,
        globalBatch=False,
        learningRateScaling="linear",
        **shared,
    )
    expected.fit(x, y, batch_size=80, epochs=2, verbose=0)
    # As many rows a step as `batchSize` says need no other rate; twice as many need twice the rate.
    for fitted in (of_all, by_default, of_each.fit(df)):
        assert fitted.summary.batchSize == 40
        np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-6)


@pytest.mark.slow
def test_convolutional_net_on_two_workers_equals_one_with_twice_the_batch(spark):
    random = np.random.default_rng(0)
    images, labels = random.random((40, 6, 6, 1)).astype("float32"), random.integers(0, 3, 40)
    rows = [(image.ravel().tolist(), int(label)) for image, label in zip(images, labels, strict=True)]
    df = spark.createDataFrame(rows, "features array<float>, label int")
    keras.utils.set_random_seed(5)
    expected = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    expected.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    fitted = KerasClassifier(model=expected, epochs=3, batchSize=40, numWorkers=2, averagingFrequency=1, verbose=0).fit(
        df
    )
    expected.fit(images, labels, batch_size=40, epochs=3, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-6)


@pytest.mark.parametrize("rows, batch, frequency, partitions", [(37, 64, 10, 5), (8, 3, 1, 2)])
def test_every_row_is_trained_exactly_once_per_epoch(spark, rows, batch, frequency, partitions):
    # Row i carries the value 2**-(i % 20), and one worker's weight ends at minus the sum of what it has seen.
    values = [float(2.0 ** -(i % 20)) for i in range(rows)]
    df = spark.createDataFrame([(value, 0.0) for value in values], ["x", "label"]).repartition(partitions)
    fitted = KerasRegressor(
        model=counting_model(),
        featuresCols=["x"],
        batchSize=batch,
        averagingFrequency=frequency,
        numWorkers=1,
        verbose=0,
    ).fit(df)
    assert weights_of(fitted)[0] == pytest.approx(-sum(values), rel=1e-6)
    assert fitted.summary.rows == [rows]


def test_unequal_shards_are_weighted_by_their_rows(spark):
    # Averaged once: w = Σ rows_k · w_k / Σ rows_k, and each worker's w_k is minus the sum of its own values.
    rows = 5
    df = spark.createDataFrame([(1.0, 0.0)] * rows, ["x", "label"]).coalesce(1)
    fitted = KerasRegressor(
        model=counting_model(), featuresCols=["x"], batchSize=2, averagingFrequency="epoch", numWorkers=2, verbose=0
    ).fit(df)
    a, b = fitted.summary.rows
    assert {a, b} == {2, 3}
    assert weights_of(fitted)[0] == pytest.approx(-(a * a + b * b) / (a + b), rel=1e-6)


@pytest.mark.slow
def test_metrics_over_two_workers_are_those_of_one_process(spark):
    random = np.random.default_rng(8)
    x = random.normal(size=(301, 5)).astype("float32")
    y = (x[:, 0] + random.normal(size=301) > 0).astype("float32")
    keras.utils.set_random_seed(4)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation="sigmoid")])
    metrics = [
        "accuracy",
        keras.metrics.AUC(name="auc"),
        keras.metrics.Precision(name="p"),
        keras.metrics.Recall(name="r"),
    ]
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", metrics=metrics)
    df = frame(spark, x, y)
    held_out = df.withColumn("held_out", F.col("label") >= 0)
    train = df.withColumn("held_out", F.lit(False))
    fitted = KerasClassifier(model=model, validationIndicatorCol="held_out", numWorkers=2, batchSize=16, verbose=0).fit(
        train.unionAll(held_out)
    )
    trained = fitted.toKeras()
    expected = trained.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
    for name, value in expected.items():
        assert fitted.summary.history[f"val_{name}"][-1] == pytest.approx(value, abs=1e-6), name
    distributed = fitted.evaluate(df)
    assert distributed.keys() == expected.keys()
    for name, value in expected.items():
        assert distributed[name] == pytest.approx(value, abs=1e-6), name
    assert sum(fitted.summary.validationRows) == 301


def test_validation_split_holds_out_its_share_and_the_same_rows_each_time(spark):
    df = frame(spark, *regression_rows(2000))
    counts = set()
    for workers in (1, 2):
        summary = (
            KerasRegressor(model=linear("sgd"), validationSplit=0.25, numWorkers=workers, verbose=0).fit(df).summary
        )
        counts.add(sum(summary.validationRows))
        assert sum(summary.rows) + sum(summary.validationRows) == 2000
    assert len(counts) == 1
    assert abs(counts.pop() - 500) < 4 * np.sqrt(2000 * 0.25 * 0.75)


def test_row_weights_are_those_of_keras(spark):
    x, y = regression_rows(50)
    weight = np.random.default_rng(1).random(50).astype("float32")
    rows = [(Vectors.dense([float(v) for v in a]), float(b), float(c)) for a, b, c in zip(x, y, weight, strict=True)]
    df = spark.createDataFrame(rows, ["features", "label", "w"]).coalesce(1)
    expected = linear(keras.optimizers.SGD(0.1))
    fitted = KerasRegressor(model=expected, weightCol="w", batchSize=50, averagingFrequency=1, epochs=2, verbose=0).fit(
        df
    )
    expected.fit(x, y, sample_weight=weight, batch_size=50, epochs=2, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-6)


def test_reset_optimizer_state_starts_each_round_anew(spark):
    df = frame(spark, *regression_rows(40))
    fitted = KerasRegressor(
        model=linear(keras.optimizers.SGD(0.02, momentum=0.9)),
        optimizerState="reset",
        averagingFrequency=2,
        batchSize=10,
        numWorkers=1,
        shuffle=False,
        verbose=0,
    ).fit(df)
    x, y = in_training_order(df)
    expected = linear(keras.optimizers.SGD(0.02, momentum=0.9))
    for start in (0, 20):
        expected.optimizer.build(expected.trainable_variables)
        for variable in expected.optimizer.variables:
            if "momentum" in variable.path:
                variable.assign(np.zeros(variable.shape))
        expected.fit(x[start : start + 20], y[start : start + 20], batch_size=10, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-6)


def test_callbacks_of_keras_run_unmodified(spark, tmp_path):
    df = frame(spark, *regression_rows(64))
    rates = []
    callbacks = [
        keras.callbacks.EarlyStopping("loss", patience=1, min_delta=100.0, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "epoch{epoch}.keras")),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.TensorBoard(str(tmp_path / "board")),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(logs["loss"])),
    ]
    fitted = KerasRegressor(model=mlp("adam"), epochs=9, batchSize=8, callbacks=callbacks, verbose=0).fit(df)
    # Nothing improves by 100: patience 1 stops after the second epoch.
    assert fitted.summary.epochs == 2 == len(rates) == len(fitted.summary.history["loss"])
    best = keras.saving.load_model(tmp_path / "epoch1.keras")
    np.testing.assert_array_equal(weights_of(fitted), keras_weights(best))
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == 3 and float(lines[1].split(",")[lines[0].split(",").index("loss")]) == pytest.approx(rates[0])
    assert any((tmp_path / "board").rglob("events*"))


@pytest.mark.slow
def test_weights_that_the_optimizer_does_not_decay_are_not_decayed(spark):
    def build():
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        # By a part of the variable's name, and by the layer's.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "head"])
        keras.utils.set_random_seed(1)
        head = keras.layers.Dense(1, name="head")
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8), keras.layers.BatchNormalization(), head])
        model.compile(optimizer, "mse")
        return model

    df = frame(spark, *regression_rows(80))
    settings = {"epochs": 2, "batchSize": 8, "numWorkers": 1, "shuffle": False, "verbose": 0}
    fitted = KerasRegressor(modelFn=build, **settings).fit(df)
    expected = build()
    expected.fit(*in_training_order(df), batch_size=8, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(expected), atol=1e-5)
    # A .keras archive has no place for them.
    with pytest.raises(ValueError, match="exclude_from_weight_decay.*no .keras archive keeps.*`modelFn`"):
        KerasRegressor(model=build(), **settings)


def test_averages_of_the_weights_do_not_go_with_an_optimizer_that_begins_anew(spark):
    df = frame(spark, *regression_rows(8))
    model = linear(keras.optimizers.SGD(0.1, use_ema=True))
    with pytest.raises(ValueError, match="`optimizerState` does not go with the optimizer.*use_ema=True"):
        KerasRegressor(model=model, optimizerState="reset", verbose=0).fit(df)


@pytest.mark.slow
def test_trainable_layers_cannot_change_while_a_fit_runs(spark):
    class Freeze(keras.callbacks.Callback):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[self.layer].trainable = epoch == 0

        def on_train_end(self, logs=None):
            self.model.compile("adam", "mse")  # it is the callback's by then

    df = frame(spark, *regression_rows(40))
    for layer in (0, -1):
        with pytest.raises(RuntimeError, match="changed which variables are trained.*between two fits"):
            KerasRegressor(model=mlp("sgd"), epochs=2, callbacks=[Freeze(layer)], verbose=0).fit(df)
    fitted = KerasRegressor(model=mlp("sgd"), epochs=1, callbacks=[Freeze(0)], verbose=0).fit(df)
    assert isinstance(fitted.toKeras().optimizer, keras.optimizers.Adam)


def test_numbers_that_callbacks_log_are_saved_with_the_model(spark, tmp_path):
    class Log(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["rate"] = self.model.optimizer.learning_rate.numpy()
            logs["norms"] = np.ones(2, "float32")
            logs["tensor"] = keras.ops.convert_to_tensor(3)
            logs["list"] = [np.int64(1), 2.0]

    df = frame(spark, *regression_rows(40))
    fitted = KerasRegressor(model=mlp(keras.optimizers.SGD(0.5)), callbacks=[Log()], verbose=0).fit(df)
    fitted.save(str(tmp_path / "model"))
    history = KerasRegressionModel.load(str(tmp_path / "model")).summary.history
    assert (history["rate"], history["norms"], history["tensor"]) == ([0.5], [[1.0, 1.0]], [3])
    assert history["list"] == [[1, 2.0]]


def test_learning_rate_set_by_a_callback_reaches_the_workers(spark):
    df = frame(spark, *regression_rows(64))
    stop_learning = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 if epoch == 0 else 0.0)
    seen = []
    remember = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(remember.model.get_weights())
    )
    KerasRegressor(
        model=linear(keras.optimizers.SGD(0.1)), epochs=3, callbacks=[stop_learning, remember], verbose=0
    ).fit(df)
    np.testing.assert_array_equal(seen[1][0], seen[0][0])
    np.testing.assert_array_equal(seen[2][0], seen[0][0])


def test_training_stops_within_the_epoch_when_the_loss_is_nan(spark):
    x, y = regression_rows(400)
    model = linear(keras.optimizers.SGD(1e30))
    callbacks = [keras.callbacks.TerminateOnNaN()]
    summary = (
        KerasRegressor(model=model, epochs=50, batchSize=4, averagingFrequency=5, callbacks=callbacks, verbose=0)
        .fit(frame(spark, x, y))
        .summary
    )
    assert summary.epochs == 1
    assert summary.rounds < 10


@pytest.mark.slow
def test_early_stopping_on_iris_stops_where_it_must(spark):
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    df = frame(spark, x, y)

    def softmax_regression(rate):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    at_most_5 = KerasClassifier(model=softmax_regression(0.1), epochs=5, verbose=0).fit(df).summary
    assert at_most_5.epochs == 5 == len(at_most_5.history["loss"])
    patience = keras.callbacks.EarlyStopping("loss", patience=5)
    # With learning rate 0 the score never changes; float32 sums over shuffled rows may differ in the last bits.
    patience.min_delta = 1e-5
    stopped = KerasClassifier(model=softmax_regression(0.0), epochs=50, callbacks=[patience], verbose=0).fit(df).summary
    assert stopped.epochs == 6


@pytest.mark.slow
def test_a_callback_that_starts_a_spark_job_does_not_hang(spark):
    df = frame(spark, *regression_rows(64))
    counts = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(df.count()))
    fitted = KerasRegressor(model=dropout_model(), epochs=2, callbacks=[count], verbose=0).fit(df)
    assert counts == [64, 64]
    undisturbed = KerasRegressor(model=dropout_model(), epochs=2, verbose=0).fit(df)
    np.testing.assert_array_equal(weights_of(fitted), weights_of(undisturbed))


def test_several_inputs_keep_their_names_in_any_order(spark):
    # Not in alphabetical order, in which Keras itself would flatten a dict.
    user = keras.Input((), dtype="int32", name="user")
    taste = keras.Input((2,), name="taste")
    joined = keras.layers.Concatenate()([keras.layers.Embedding(100, 3)(user), taste])
    model = keras.Model([user, taste], keras.layers.Dense(1)(joined))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    df = spark.sql("SELECT CAST(id AS int) u, array(id / 10, 1.5) a, id / 7 y FROM range(20)").coalesce(1)
    fitted = KerasEstimator(
        model=model, inputCols={"user": "u", "taste": "a"}, labelCol="y", batchSize=20, numWorkers=1, verbose=0
    ).fit(df)
    rows = df.collect()
    x = {"user": np.array([row.u for row in rows]), "taste": np.array([row.a for row in rows], "float32")}
    model.fit(x, np.array([row.y for row in rows], "float32"), batch_size=20, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(model), atol=1e-6)
    predicted = [row.prediction for row in fitted.transform(df).orderBy("u").collect()]
    np.testing.assert_allclose(predicted, model.predict(x, verbose=0), atol=1e-5)


def test_own_train_step_is_called(spark):
    x, y = regression_rows(32)
    df = frame(spark, x, y)
    model = DoubledStep(1)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model(x)
    weights = model.get_weights()
    fitted = KerasEstimator(
        model=model, batchSize=32, numWorkers=1, customObjects={"DoubledStep": DoubledStep}, verbose=0
    ).fit(df)
    plain = linear(keras.optimizers.SGD(0.01))
    plain.set_weights(weights)
    plain.fit(x, y, batch_size=32, epochs=2, verbose=0)
    np.testing.assert_allclose(weights_of(fitted), keras_weights(plain), atol=1e-6)


class DoubledStep(keras.Model):
    """Each train_step takes two steps on its minibatch."""

    def __init__(self, units, **keywords):
        super().__init__(**keywords)
        self.units = units
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def train_step(self, data):
        super().train_step(data)
        return super().train_step(data)
