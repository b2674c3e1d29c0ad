"""Labels and weights: a fit is what `Model.fit` makes of the same arrays, whatever the loss wants of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F
from sklearn.utils.class_weight import compute_class_weight

from spark_keras import KerasClassifier, KerasEstimator

ROWS = 24
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")
STEPS = RANDOM.normal(size=(ROWS, 5, 2)).astype("float32")
CLASSES = RANDOM.integers(0, 3, ROWS)
WEIGHTS = RANDOM.uniform(0.2, 2.0, ROWS).astype("float32")


def frame(spark, **arrays):
    names = list(arrays)
    rows = [tuple(arrays[name][i].tolist() for name in names) for i in range(ROWS)]
    types = {
        name: "array<" * (array.ndim - 1)
        + ("bigint" if array.dtype.kind == "i" else "boolean" if array.dtype.kind == "b" else "double")
        + ">" * (array.ndim - 1)
        for name, array in arrays.items()
    }
    return spark.createDataFrame(rows, ", ".join(f"{name} {kind}" for name, kind in types.items())).coalesce(1)


def same_as_keras(df, model, x, y, kind=KerasEstimator, fit=None, training=slice(None), **params):
    """Fits on Spark and in plain Keras, whole epochs as one minibatch; compares losses, metrics and weights."""
    start = model.get_weights()
    fitted = kind(model=model, epochs=3, batchSize=ROWS, numWorkers=1, verbose=0, **params).fit(df)
    history = model.fit(x, y, epochs=3, batch_size=ROWS, shuffle=False, verbose=0, **(fit or {})).history
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(start, model.get_weights()))
    for one, other in zip(fitted.toKeras().get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert fitted.summary.history.keys() == history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(fitted.summary.history[name], values, rtol=1e-4, atol=1e-5)
    return fitted


def dense(units, activation=None, loss="mse", shape=(4,), **compiled):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(shape), keras.layers.Dense(units, activation=activation)])
    model.compile(keras.optimizers.SGD(0.5), loss, **compiled)
    return model


# --- what a loss is told to ignore ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, void", [(KerasEstimator, 255), (KerasClassifier, -1)])
def test_labels_that_the_loss_ignores_are_trained_as_keras_does(spark, kind, void):
    labels = np.where(np.arange(ROWS) % 4 == 0, void, CLASSES)
    held_out = np.arange(ROWS) % 3 == 0
    model = dense(3, "softmax", keras.losses.SparseCategoricalCrossentropy(ignore_class=void))
    df = frame(spark, features=X, label=labels, held_out=held_out)
    validation = (X[held_out], labels[held_out])
    fit = {"validation_data": validation}
    given = (X[~held_out], labels[~held_out])
    fitted = same_as_keras(df, model, *given, kind, fit, validationIndicatorCol="held_out")
    expected = fitted.toKeras().evaluate(X, labels, batch_size=ROWS, verbose=0)
    assert fitted.score(df) == pytest.approx(expected, rel=1e-5)
    assert [row.loss == 0 for row in fitted.scoreExamples(df).collect()] == (labels == void).tolist()
    if kind is KerasClassifier:
        assert fitted.evaluateClassification(df).rows == np.count_nonzero(labels != void)


def test_time_steps_that_the_loss_ignores_are_trained_as_keras_does(spark):
    labels = RANDOM.integers(0, 3, (ROWS, 5))
    labels[:, 3:] = 9
    i = keras.Input((5, 2))
    model = keras.Model(i, {"tag": keras.layers.Dense(3, name="tag")(i)})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=9)
    model.compile(keras.optimizers.SGD(0.5), {"tag": loss})
    df = frame(spark, features=STEPS, tags=labels)
    same_as_keras(df, model, STEPS, {"tag": labels}, labelCols={"tag": "tags"})


def test_other_labels_outside_of_the_classes_are_refused_still(spark):
    model = dense(3, "softmax", keras.losses.SparseCategoricalCrossentropy(ignore_class=255))
    df = frame(spark, features=X, label=np.where(np.arange(ROWS) == 7, 254, CLASSES))
    with pytest.raises(ValueError, match=r"Label outside \[0, 3\).*Received: 254.*or 255, which the loss ignores"):
        KerasEstimator(model=model, numWorkers=1, verbose=0).fit(df)


# --- labels unlike the output --------------------------------------------------------------------------------------


def test_ctc_takes_labels_of_another_length_than_its_output(spark):
    labels = np.array([[1, 2, 3, 0], [4, 5, 0, 0]] * (ROWS // 2))
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(72), keras.layers.Reshape((12, 6))])
    model.compile(keras.optimizers.SGD(0.01), keras.losses.CTC())
    same_as_keras(frame(spark, features=X, label=labels), model, X, labels)


def width(y_true, y_pred):
    """Several targets in one label: where a span lies, and how much it counts."""
    return keras.ops.sum(y_true[:, 4:] * keras.ops.square(y_true[:, :2] - y_pred), axis=-1)


def own_crossentropy(y_true, y_pred):
    return -keras.ops.sum(y_true * keras.ops.log(y_pred + 1e-7), axis=-1)


def test_loss_of_the_users_own_gets_several_targets_in_one_label(spark):
    targets = RANDOM.uniform(size=(ROWS, 5)).astype("float32")
    same_as_keras(
        frame(spark, features=X, label=targets), dense(2, None, width), X, targets, customObjects={"width": width}
    )


def test_loss_of_the_users_own_gets_one_hot_rows_where_it_takes_no_indices(spark):
    model = dense(3, "softmax", own_crossentropy)
    own = {"own_crossentropy": own_crossentropy}
    same_as_keras(
        frame(spark, features=X, label=CLASSES), model, X, np.eye(3)[CLASSES], KerasClassifier, customObjects=own
    )


# --- no label ------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_labels")
class Reconstruction(keras.layers.Layer):
    """Adds a loss of its own."""

    def call(self, inputs):
        x, decoded = inputs
        self.add_loss(keras.ops.mean(keras.ops.square(x - decoded)))
        return decoded


def own_loss():
    keras.utils.set_random_seed(1)
    x = keras.Input((4,))
    model = keras.Model(x, Reconstruction()([x, keras.layers.Dense(4)(keras.layers.Dense(2)(x))]))
    model.compile(keras.optimizers.SGD(0.5))
    return model


@keras.saving.register_keras_serializable("test_labels")
class OwnStep(keras.Model):
    """Takes features alone."""

    def train_step(self, x):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(x - self(x, training=True)))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(x)[0])
        return {"loss": self._loss_tracker.result()}

    def test_step(self, x):
        loss = keras.ops.mean(keras.ops.square(x - self(x, training=False)))
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(x)[0])
        return {"loss": self._loss_tracker.result()}


def own_step():
    keras.utils.set_random_seed(1)
    x = keras.Input((4,))
    model = OwnStep(x, keras.layers.Dense(4)(keras.layers.Dense(2)(x)))
    model.compile(keras.optimizers.SGD(0.5))
    return model


@pytest.mark.parametrize("build", [own_loss, own_step])
def test_model_with_a_loss_of_its_own_needs_no_label(spark, build):
    held_out = np.arange(ROWS) % 3 == 0
    df = frame(spark, features=X, held_out=held_out)
    fit = {"validation_data": (X[held_out], None)}
    fitted = same_as_keras(df, build(), X[~held_out], None, fit=fit, validationIndicatorCol="held_out")
    squares = np.square(X - fitted.toKeras().predict(X, verbose=0)).mean(axis=1)
    assert fitted.evaluate(df)["loss"] == pytest.approx(squares.mean(), rel=1e-5)
    if build is own_loss:
        np.testing.assert_allclose([row.loss for row in fitted.scoreExamples(df).collect()], squares, rtol=1e-5)
        # The default label column, which nothing is compared with, is not even looked at.
        other = frame(spark, features=X[~held_out].repeat(2, 0)[:ROWS], label=X)
        KerasEstimator(model=build(), numWorkers=1, verbose=0).fit(other.withColumn("label", F.lit("text")))


def test_autoencoder_has_its_features_as_labels(spark):
    df = frame(spark, features=X).withColumn("features", array_to_vector("features"))
    same_as_keras(df, dense(4), X, X, labelCol="features")


def two_outputs(loss, names=False, **compiled):
    keras.utils.set_random_seed(1)
    x = keras.Input((4,))
    a, b = keras.layers.Dense(1, name="a")(x), keras.layers.Dense(2, name="b")(x)
    model = keras.Model(x, {"a": a, "b": b} if names else [a, b])
    model.compile(keras.optimizers.SGD(0.5), loss, **compiled)
    return model


@pytest.mark.parametrize(
    "model, y, params",
    [
        (lambda: two_outputs(["mse", None]), [X[:, :1], None], {"labelCol": "one"}),
        (lambda: two_outputs([None, "mse"], metrics=[None, ["mae"]]), [None, X[:, :2]], {"labelCols": ["", "two"]}),
        (lambda: two_outputs({"b": "mse"}, True), {"a": None, "b": X[:, :2]}, {"labelCols": {"b": "two"}}),
    ],
)
def test_output_without_a_loss_needs_no_label(spark, model, y, params):
    df = frame(spark, features=X, one=X[:, 0], two=X[:, :2])
    fitted = same_as_keras(df, model(), X, y, **params)
    expected = fitted.toKeras().evaluate(X, y, batch_size=ROWS, verbose=0, return_dict=True)
    assert fitted.evaluate(df) == pytest.approx(expected, rel=1e-5)
    assert np.mean([row.loss for row in fitted.scoreExamples(df).collect()]) == pytest.approx(
        expected["loss"], rel=1e-5
    )


@pytest.mark.parametrize(
    "model, params, message",
    [
        (lambda: dense(4), {"labelCol": ""}, 'compares labels.*labelCol="".*features column'),
        (lambda: two_outputs(["mse", "mse"]), {"labelCols": {"a": "one"}}, r"labelCols.*2 columns.*\['a', 'b'\]"),
        (lambda: two_outputs(["mse", None], metrics=[None, ["mae"]]), {"labelCol": "one"}, "2 outputs.*labelCols"),
        (lambda: dense(4, None, None), {}, "has no loss.*add_loss"),
        (lambda: dense(4, None, "mse"), {}, "Unknown column in Param `labelCol`. Received: 'label'"),
    ],
)
def test_missing_labels_and_losses_are_found_before_a_job(spark, model, params, message):
    df = frame(spark, features=X, one=X[:, 0])
    with pytest.raises(ValueError, match=message):
        KerasEstimator(model=model(), numWorkers=1, verbose=0, **params).fit(df)


# --- weights -------------------------------------------------------------------------------------------------------


def sequences(**compiled):
    return dense(3, "softmax", "sparse_categorical_crossentropy", (5, 2), **compiled)


def test_time_steps_have_weights_as_in_keras(spark):
    labels, weights = RANDOM.integers(0, 3, (ROWS, 5)), RANDOM.uniform(size=(ROWS, 5))
    df = frame(spark, features=STEPS, label=labels, w=weights)
    model = sequences(weighted_metrics=["accuracy"])
    fitted = same_as_keras(df, model, STEPS, labels, fit={"sample_weight": weights}, weightCol="w")
    expected = fitted.toKeras().evaluate(STEPS, labels, sample_weight=weights, batch_size=ROWS, verbose=0)
    assert list(fitted.evaluate(df).values()) == pytest.approx(expected, rel=1e-5)
    assert np.mean([row.loss for row in fitted.scoreExamples(df).collect()]) == pytest.approx(expected[0], rel=1e-5)


def test_weight_of_a_row_is_that_of_each_of_its_time_steps(spark):
    labels = RANDOM.integers(0, 3, (ROWS, 5))
    df = frame(spark, features=STEPS, label=labels, w=WEIGHTS)
    each = {"sample_weight": np.repeat(WEIGHTS[:, None], 5, axis=1)}
    same_as_keras(df, sequences(), STEPS, labels, fit=each, weightCol="w")


@pytest.mark.parametrize(
    "named, given", [({"a": "v", "b": "w"}, [X[:, 0] ** 2, WEIGHTS]), (["", "w"], [None, WEIGHTS])]
)
def test_each_output_has_weights_of_its_own(spark, named, given):
    df = frame(spark, features=X, one=X[:, 0], two=X[:, :2], v=X[:, 0] ** 2, w=WEIGHTS)
    model = two_outputs(["mse", "mse"], weighted_metrics=[["mae"], ["mae"]])
    y = [X[:, :1], X[:, :2]]
    fitted = same_as_keras(df, model, X, y, fit={"sample_weight": given}, labelCols=["one", "two"], weightCols=named)
    assert fitted.getWeightCols() == named
    found = fitted.evaluate(df)
    assert found["loss"] == pytest.approx(fitted.toKeras().evaluate(X, y, sample_weight=given, verbose=0)[0], rel=1e-4)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"weightCol": "w", "weightCols": ["w", "w"]}, "weightCol.*weightCols.*exclude"),
        ({"weightCols": {"c": "w"}}, r"weightCols.*\['a', 'b'\]"),
        ({"weightCol": "two"}, "'two' in Param `weightCol` is not a scalar"),
        ({"classWeight": {0: 2.0}}, "classWeight.*one label"),
    ],
)
def test_weights_that_fit_no_output_are_refused(spark, params, message):
    df = frame(spark, features=X, one=X[:, 0], two=X[:, :2], w=WEIGHTS)
    estimator = KerasEstimator(model=two_outputs(["mse", "mse"]), labelCols=["one", "two"], verbose=0, **params)
    with pytest.raises(ValueError, match=message):
        estimator.fit(df)


BY_CLASS = {0: 3.0, 2: 0.25}


@pytest.mark.parametrize(
    "model, labels, y",
    [
        (lambda: dense(3, "softmax", "categorical_crossentropy"), CLASSES, np.eye(3)[CLASSES]),
        (lambda: dense(1, "sigmoid", "binary_crossentropy"), CLASSES // 2, (CLASSES // 2)[:, None]),
    ],
)
def test_classes_have_weights_as_in_keras(spark, model, labels, y):
    held_out = np.arange(ROWS) % 3 == 0
    df = frame(spark, features=X, label=labels, held_out=held_out)
    fit = {"class_weight": BY_CLASS, "validation_data": (X[held_out], y[held_out])}
    params = {"classWeight": BY_CLASS, "validationIndicatorCol": "held_out"}
    same_as_keras(df, model(), X[~held_out], y[~held_out], fit=fit, **params)


def test_balanced_classes_have_scikit_learns_weights_over_the_rows_trained(spark):
    held_out = np.arange(ROWS) % 3 == 0
    df = frame(spark, features=X, label=CLASSES, held_out=held_out, w=WEIGHTS)
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES[~held_out])
    weights = balanced[CLASSES] * WEIGHTS
    model = dense(3, "softmax", "categorical_crossentropy")
    y = np.eye(3)[CLASSES]
    validation = (X[held_out], y[held_out], WEIGHTS[held_out])
    fit = {"sample_weight": weights[~held_out], "validation_data": validation}
    params = {"classWeight": "balanced", "validationIndicatorCol": "held_out", "weightCol": "w"}
    same_as_keras(df, model, X[~held_out], y[~held_out], KerasClassifier, fit, **params)


def test_class_of_each_time_step_is_weighed(spark):
    labels = RANDOM.integers(0, 3, (ROWS, 5))
    weights = np.array([3.0, 1.0, 0.25])[labels]
    df = frame(spark, features=STEPS, label=labels)
    same_as_keras(df, sequences(), STEPS, labels, fit={"sample_weight": weights}, classWeight=BY_CLASS)


def test_classes_that_are_not_the_models_have_no_weight(spark):
    model = dense(3, "softmax", "sparse_categorical_crossentropy")
    df = frame(spark, features=X, label=CLASSES)
    with pytest.raises(ValueError, match=r"classWeight.*\[3\].*0 to 2"):
        KerasClassifier(model=model, classWeight={3: 1.0}, verbose=0).fit(df)


# --- memory --------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_labels")
class OwnTargets(keras.Model):
    """Takes features alone, and compares them with its outputs by the compiled loss."""

    def train_step(self, x):
        return super().train_step((x, x))


def test_own_train_step_may_give_the_compiled_loss_its_labels(spark):
    keras.utils.set_random_seed(1)
    x = keras.Input((4,))
    model = OwnTargets(x, keras.layers.Dense(4)(keras.layers.Dense(2)(x)))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    same_as_keras(frame(spark, features=X), model, X, None)
