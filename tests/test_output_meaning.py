"""A classifier's outputs: probabilities, logits or margins, as activation, loss or `outputType` tell, and checked."""

from __future__ import annotations

import functools
import sys
import warnings

import cloudpickle
import keras
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.sql import functions as F

from spark_keras import KerasClassificationModel, KerasClassifier, KerasEstimator, KerasRegressor
from spark_keras.columns import output_meaning
from spark_keras.columns.heads import ClassificationHead
from spark_keras.columns.output_meaning import Meaning
from spark_keras.executor.invalid_data import InvalidData

cloudpickle.register_pickle_by_value(sys.modules[__name__])

ALL = ("rawPrediction", "probability", "prediction")
X = np.linspace(-1, 1, 64).astype("float32")
FEATURES = np.random.default_rng(5).normal(size=(200, 3)).astype("float32")
# Some labels contradict the rest.
MARGIN = FEATURES @ np.array([1.0, -2.0, 0.5], "float32")
LABELS = (MARGIN + np.random.default_rng(6).normal(scale=0.5, size=200) > 0).astype("float64")


def own_loss(y, prediction):
    """Binary cross-entropy of logits."""
    y = keras.ops.cast(y, prediction.dtype)
    return keras.ops.mean(keras.ops.softplus(prediction) - y * prediction, axis=-1)


@pytest.fixture(scope="module")
def line():
    """One number from -1 to 1, and whether it is positive."""
    return labelled_frame(X[:, None], X > 0)


@pytest.fixture(scope="module")
def df():
    return labelled_frame(FEATURES, LABELS)


def compiled(loss, activation=None, units=1, features=1, **options):
    """One dense layer, of which the kernel is 1."""
    layers = [keras.layers.Dense(units, activation, kernel_initializer="ones")]
    model = keras.Sequential([keras.Input((features,)), *layers])
    model.compile(keras.optimizers.SGD(0.0), loss, **options)
    return model


def classifier(model, **options):
    return KerasClassifier(model=model, **{"numWorkers": 1, "verbose": 0, **options})


def column(df, name):
    rows = sorted(df.select("id", name).collect(), key=lambda row: row[0])
    return np.array([row[1].toArray() if hasattr(row[1], "toArray") else row[1] for row in rows])


def scored(kind, outputs, **options):
    fields = ("rawPrediction", "prediction") if kind == "margins" else ALL
    return ClassificationHead(fields, kind, **options)([np.asarray(outputs, "float32")])


# --- the numbers ---------------------------------------------------------------------------------------------------


def test_a_margin_becomes_the_raw_prediction_of_linear_svc():
    made = scored("margins", [[0.3], [3.0], [-0.5], [0.0]])
    np.testing.assert_allclose(made["rawPrediction"], [[-0.3, 0.3], [-3, 3], [0.5, -0.5], [0, 0]], atol=1e-7)
    assert made["prediction"].tolist() == [1, 1, 0, 0]
    assert scored("margins", [[0.3], [3.0]], threshold=0.5)["prediction"].tolist() == [0, 1]


def test_of_several_margins_the_largest_is_predicted():
    made = scored("margins", [[-3.0, -2.0, -5.0], [4.0, 0.0, 1.0]])
    np.testing.assert_array_equal(made["rawPrediction"], [[-3, -2, -5], [4, 0, 1]])
    assert made["prediction"].tolist() == [1, 0]


def test_logits_become_probabilities():
    made = scored("logits", [[np.log(3.0)], [-800.0]])
    np.testing.assert_allclose(made["probability"], [[0.25, 0.75], [1, 0]], atol=1e-7)
    made = scored("logits", np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(made["probability"], [[0.125, 0.25, 0.625]], atol=1e-7)
    np.testing.assert_allclose(made["rawPrediction"], np.log([[1.0, 2.0, 5.0]]), atol=1e-7)


def test_scores_of_classes_by_themselves_are_divided_by_their_sum_as_scikit_learn_does():
    made = scored("probabilities", [[0.9, 0.9, 0.2], [0.0, 0.0, 0.0]], exclusive=False)
    np.testing.assert_allclose(made["probability"], [[0.45, 0.45, 0.1], [1 / 3] * 3], atol=1e-7)
    np.testing.assert_allclose(made["rawPrediction"], [[0.9, 0.9, 0.2], [0, 0, 0]], atol=1e-7)
    # sigmoid(0) = 0.5 and sigmoid(log 3) = 0.75
    made = scored("logits", [[0.0, np.log(3.0)]], exclusive=False)
    np.testing.assert_allclose(made["probability"], [[0.4, 0.6]], atol=1e-7)


@pytest.mark.parametrize(
    "kind, outputs, parts",
    [
        ("probabilities", [[0.2], [1.2], [-3.0]], ["Received: 1.2, in 2 of 3 rows", "outputType"]),
        ("probabilities", [[0.2, 0.8], [0.5, 0.6]], ["a row with sum 1.1, in 1 of 2 rows", "outputType"]),
        ("probabilities", [[0.0, 0.0, 0.0]], ["a row with sum 0", "KerasEstimator"]),
        ("probabilities", [[np.inf, 0.0]], ["Received: inf"]),
        ("probabilities", [[0.2], [np.nan]], ["NaN. Received: 1 such rows in a batch of 2"]),
        ("logits", [[0.2, np.nan]], ["NaN. Received: 1 such rows"]),
        ("logits", [[np.inf, np.inf]], ["NaN"]),
        ("margins", [[np.nan], [1.0]], ["NaN. Received: 1 such rows"]),
    ],
)
def test_numbers_that_are_none_of_their_kind_are_refused(kind, outputs, parts):
    with pytest.raises(InvalidData) as refusal:
        scored(kind, outputs)
    assert all(part in str(refusal.value) for part in parts), refusal.value


def test_probabilities_stay_inside_their_interval_and_rounding_is_no_error():
    made = scored("probabilities", [[1.0005], [-0.0005]])["probability"]
    np.testing.assert_array_equal(made, [[0, 1], [1, 0]])
    # A third in 8 bits, as bfloat16 has it.
    rounded = np.full((1, 3), 171 / 512)
    with pytest.raises(InvalidData, match="sum 1.00195"):
        scored("probabilities", rounded)
    np.testing.assert_array_equal(scored("probabilities", rounded, tolerance=0.05)["probability"], rounded)


def test_a_batch_without_rows_has_no_predictions():
    for kind, shape in [("probabilities", (0, 1)), ("probabilities", (0, 3)), ("logits", (0, 1)), ("margins", (0, 2))]:
        assert scored(kind, np.zeros(shape))["prediction"].shape == (0,)


# --- activations and losses ----------------------------------------------------------------------------------------


class Unknown(keras.layers.Layer):
    def call(self, x):
        return x


class Doubled(keras.layers.Dense):
    def call(self, x):
        return 2 * super().call(x)


def inner(last):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), last])


ENDS = {
    "argument": (lambda x: keras.layers.Dense(2, "softmax")(x), "softmax"),
    "Activation": (lambda x: keras.layers.Activation("sigmoid")(keras.layers.Dense(2)(x)), "sigmoid"),
    "Softmax": (lambda x: keras.layers.Softmax()(keras.layers.Dense(2)(x)), "softmax"),
    "layer as activation": (lambda x: keras.layers.Dense(2, keras.layers.Softmax())(x), "softmax"),
    "operation": (lambda x: keras.ops.softmax(keras.layers.Dense(2)(x)), "softmax"),
    "activation called": (lambda x: keras.activations.sigmoid(keras.layers.Dense(2)(x)), "sigmoid"),
    "nested": (lambda x: inner(keras.layers.Dense(2, "softmax"))(x), "softmax"),
    "nested twice": (
        lambda x: inner(keras.Sequential([keras.layers.Dense(2), keras.layers.Softmax()]))(x),
        "softmax",
    ),
    "cast to float32": (
        lambda x: keras.layers.Activation("linear", dtype="float32")(keras.layers.Dense(2, "softmax")(x)),
        "softmax",
    ),
    "dropout": (lambda x: keras.layers.Dropout(0.5)(keras.layers.Dense(2, "sigmoid")(x)), "sigmoid"),
    "ensemble": (
        lambda x: keras.layers.Average()([keras.layers.Dense(4, "softmax")(x), inner(keras.layers.Softmax())(x)]),
        "softmax",
    ),
    "mixed ensemble": (
        lambda x: keras.layers.Average()([keras.layers.Dense(2, "softmax")(x), keras.layers.Dense(2)(x)]),
        None,
    ),
    "linear": (lambda x: keras.layers.Dense(2)(x), "linear"),
    "tanh": (lambda x: keras.layers.Dense(2, "tanh")(x), "tanh"),
    "layer of one's own": (lambda x: Unknown()(keras.layers.Dense(2, "softmax")(x)), None),
    "subclass of a layer": (lambda x: Doubled(2, "softmax")(x), None),
    "function of one's own": (lambda x: keras.layers.Dense(2, lambda t: t)(x), None),
    "over another axis": (
        lambda x: keras.layers.Flatten()(keras.layers.Softmax(axis=1)(keras.layers.Reshape((3, 1))(x))),
        None,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_activation_is_found(name):
    end, expected = ENDS[name]
    inputs = keras.Input((3,))
    (output,) = output_meaning.symbolic_outputs(keras.Model(inputs, end(inputs)))
    assert output_meaning.activation_of(output) == expected


class OwnHinge(keras.losses.Hinge):
    pass


class OwnLoss(keras.losses.Loss):
    def call(self, y, prediction):
        return own_loss(y, prediction)


LOSSES = [
    ("hinge", Meaning("margins", False)),
    ("squared_hinge", Meaning("margins", False)),
    ("categorical_hinge", Meaning("margins", True)),
    (keras.losses.hinge, Meaning("margins", False)),
    (keras.losses.CategoricalHinge(), Meaning("margins", True)),
    (OwnHinge(), Meaning("margins", False)),
    ("bce", Meaning("probabilities", False)),
    ("kld", Meaning("probabilities", True)),
    (keras.losses.BinaryFocalCrossentropy(from_logits=True), Meaning("logits", False)),
    (keras.losses.SparseCategoricalCrossentropy(from_logits=True), Meaning("logits", True)),
    (keras.losses.CategoricalFocalCrossentropy(), Meaning("probabilities", True)),
    (functools.partial(keras.losses.binary_crossentropy, from_logits=True), Meaning("logits", False)),
    ("mse", Meaning()),
    (own_loss, Meaning()),
    (OwnLoss(), Meaning()),
    ("a_loss_of_ones_own", Meaning()),
    (None, Meaning()),
]


@pytest.mark.parametrize("loss, meaning", LOSSES, ids=range(len(LOSSES)))
def test_a_loss_tells_what_it_takes_outputs_for(loss, meaning):
    assert output_meaning.said_by_loss(loss) == meaning


@pytest.mark.parametrize("form", [lambda loss: {"out": loss}, lambda loss: [loss], lambda loss: loss])
@pytest.mark.parametrize(
    "loss, activation, output_type, meaning",
    [
        ("hinge", None, "auto", Meaning("margins", False)),
        ("hinge", "tanh", "auto", Meaning("margins", False)),
        # What a sigmoid or softmax gives are probabilities, whatever the loss makes of them.
        ("hinge", "sigmoid", "auto", Meaning("probabilities", False)),
        ("mse", "sigmoid", "auto", Meaning("probabilities", False)),
        ("mse", "softmax", "auto", Meaning("probabilities", True)),
        ("binary_crossentropy", "softmax", "auto", Meaning("probabilities", True)),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "softmax", "auto", Meaning("probabilities", True)),
        ("mse", None, "auto", Meaning()),
        ("mse", None, "margins", Meaning("margins", None)),
        (own_loss, None, "logits", Meaning("logits", None)),
    ],
)
def test_the_activation_comes_before_the_loss_and_a_param_before_both(form, loss, activation, output_type, meaning):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation, name="out")])
    model.compile("sgd", form(loss))
    assert output_meaning.of_classifier(model, KerasClassifier(outputType=output_type)) == meaning


# --- fitted and applied --------------------------------------------------------------------------------------------


def test_hinge_predicts_by_the_sign_of_the_margin(spark, line):
    """For x = 0.3 class 1, because the margin is positive; a margin of 3 is no probability."""
    fitted = classifier(compiled("hinge")).fit(line)
    rows = spark.createDataFrame([(0, [0.3]), (1, [3.0]), (2, [-0.2])], "id int, features array<float>").coalesce(1)
    out = fitted.transform(rows).cache()
    assert out.columns == ["id", "features", "rawPrediction", "prediction"]
    np.testing.assert_allclose(column(out, "rawPrediction"), [[-0.3, 0.3], [-3, 3], [0.2, -0.2]], atol=1e-6)
    assert column(out, "prediction").tolist() == [1, 1, 0]
    assert out.schema["rawPrediction"].metadata["ml_attr"]["num_attrs"] == 2
    assert column(fitted.setThreshold(0.5).transform(rows), "prediction").tolist() == [0, 1, 0]


@pytest.mark.slow
def test_a_trained_hinge_is_as_good_as_the_sign_of_its_margin_in_keras(df, tmp_path):
    from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
    from sklearn.metrics import average_precision_score, roc_auc_score

    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "squared_hinge")
    classifier(model, epochs=3, batchSize=20).fit(df).save(str(tmp_path / "svm"))
    fitted = KerasClassificationModel.load(str(tmp_path / "svm"))
    margin = fitted.toKeras().predict(FEATURES, verbose=0)[:, 0].astype("float64")
    right = np.mean((margin > 0) == LABELS)
    # The column that was there before: sign and threshold 0.5 disagree.
    assert right > 0.8 and right != np.mean((margin > 0.5) == LABELS)
    out = fitted.transform(df).cache()
    assert MulticlassClassificationEvaluator(metricName="accuracy").evaluate(out) == pytest.approx(right, abs=1e-12)
    area = roc_auc_score(LABELS, margin)
    assert BinaryClassificationEvaluator().evaluate(out) == pytest.approx(area, abs=1e-9)
    report = fitted.evaluateClassification(df)
    assert report.accuracy == pytest.approx(right, abs=1e-12)
    assert report.areaUnderROC == pytest.approx(area, abs=1e-9)
    assert report.areaUnderPR == pytest.approx(average_precision_score(LABELS, margin), abs=1e-9)
    assert np.isnan(report.curves[0].calibrationError) and "MCC" in str(report)


@pytest.mark.slow
def test_margins_are_searched_over_by_their_area_under_roc(df):
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "hinge")
    stage = classifier(model)
    grid = ParamGridBuilder().addGrid(stage.epochs, [1, 4]).build()
    search = CrossValidator(
        estimator=stage, estimatorParamMaps=grid, evaluator=BinaryClassificationEvaluator(), numFolds=2, seed=1
    )
    fitted = search.fit(df)
    assert all(0.5 < area <= 1 for area in fitted.avgMetrics)
    assert fitted.bestModel.transform(df).columns == [*df.columns, "rawPrediction", "prediction"]


def test_categorical_hinge_predicts_the_largest_margin(df):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1), "categorical_hinge")
    fitted = classifier(model).fit(df)
    margins = fitted.toKeras().predict(FEATURES, verbose=0)
    out = fitted.transform(df).cache()
    assert out.columns == [*df.columns, "rawPrediction", "prediction"]
    np.testing.assert_allclose(column(out, "rawPrediction"), margins, atol=1e-6)
    np.testing.assert_array_equal(column(out, "prediction"), margins.argmax(axis=1))


def test_a_loss_of_ones_own_needs_to_know_what_the_output_is(spark, line):
    stage = classifier(compiled(own_loss), customObjects={"own_loss": own_loss})
    with pytest.raises(ValueError, match="own_loss.*outputType.*logits.*margins"):
        stage.fit(line)
    out = stage.setOutputType("logits").fit(line).transform(line).cache()
    x = X.astype("float64")
    np.testing.assert_allclose(column(out, "probability")[:, 1], 1 / (1 + np.exp(-x)), atol=1e-6)
    np.testing.assert_array_equal(column(out, "prediction"), x > 0)


def test_a_sigmoid_for_each_class_gives_probabilities_that_sum_to_one(df):
    keras.utils.set_random_seed(4)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    fitted = classifier(model).fit(df)
    scores = fitted.toKeras().predict(FEATURES, verbose=0)
    out = fitted.transform(df).cache()
    np.testing.assert_allclose(column(out, "rawPrediction"), scores, atol=1e-6)
    np.testing.assert_allclose(column(out, "probability"), scores / scores.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(column(out, "prediction"), scores.argmax(axis=1))


def test_linear_outputs_without_from_logits_are_warned_of_and_never_called_probabilities(line):
    model = compiled("sparse_categorical_crossentropy", units=2)
    with pytest.warns(
        UserWarning, match="activation 'linear' and loss 'sparse_categorical_cr.*from_logits=True"
    ) as told:
        fitted = classifier(model).fit(line)
    assert [each.filename for each in told if each.category is UserWarning] == [__file__]
    with pytest.raises(Exception, match="no probabilities.*outputType"):
        fitted.transform(line).collect()
    np.testing.assert_allclose(column(fitted.setOutputType("logits").transform(line), "probability"), 0.5, atol=1e-6)


@pytest.mark.parametrize(
    "activation, units, loss, part",
    [
        ("softmax", 1, "binary_crossentropy", "always 1"),
        ("softmax", 2, keras.losses.CategoricalCrossentropy(from_logits=True), "linear last layer"),
        ("sigmoid", 1, "hinge", "linear last layer"),
        ("tanh", 1, "binary_crossentropy", "from_logits=True"),
        ("relu", 3, "kl_divergence", "from_logits=True"),
    ],
)
def test_losses_and_activations_that_do_not_go_together_are_told(line, activation, units, loss, part):
    for estimator in (classifier, lambda model: KerasEstimator(model=model, numWorkers=1, labelCol="y")):
        rows = line.withColumn("y", F.array(*[F.lit(0.0)] * units))
        with pytest.warns(UserWarning, match=part):
            estimator(compiled(loss, activation, units)).explainPlan(rows)


@pytest.mark.parametrize(
    "activation, units, loss",
    [
        ("softmax", 2, "sparse_categorical_crossentropy"),
        ("sigmoid", 1, "bce"),
        ("sigmoid", 1, "mse"),
        ("log_softmax", 2, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (None, 1, "hinge"),
        (None, 2, keras.losses.CategoricalCrossentropy(from_logits=True)),
    ],
)
def test_those_that_do_are_not(line, activation, units, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        classifier(compiled(loss, activation, units)).explainPlan(line)


# Each is for one-hot rows; "sparse_…" for class indices.
@pytest.mark.parametrize(
    "metric", ["precision", "auc", "f1_score", "mse", "categorical_accuracy", "top_k_categorical_accuracy"]
)
def test_metrics_for_one_hot_rows_are_refused_for_class_indices(spark, line, metric):
    model = compiled("sparse_categorical_crossentropy", "softmax", units=3, metrics=[metric])
    for stage in (classifier(model), KerasEstimator(model=model, numWorkers=1)):
        message = refused(
            spark, lambda stage=stage: stage.fit(line), f"Metric '{metric}'", "sparse_categorical_accuracy"
        )
        assert "categorical_crossentropy" in message and "shape (3,)" in message
    # As the message advises.
    classifier(compiled("categorical_crossentropy", "softmax", units=3, metrics=[metric])).explainPlan(line)


def test_metrics_for_class_indices_are_refused_for_one_hot_rows(spark, line):
    model = compiled("categorical_crossentropy", "softmax", units=3, metrics=["sparse_categorical_accuracy"])
    refused(spark, lambda: classifier(model).fit(line), "Metric 'sparse_categorical_accuracy'", "one-hot")


def test_metrics_asked_of_an_evaluation_are_refused_likewise(spark, line):
    fitted = KerasClassificationModel(model=compiled("sparse_categorical_crossentropy", "softmax", units=3))
    refused(spark, lambda: fitted.evaluate(line, metrics=["recall"]), "Metric 'recall'", "class indices")


# --- refused before a job ------------------------------------------------------------------------------------------


def refused(spark, action, *parts):
    """The action fails with a ValueError that has all parts, before any Spark job."""
    group = f"refused {id(action)}"
    spark.sparkContext.setJobGroup(group, "nothing is computed here")
    with pytest.raises(ValueError) as refusal:
        action()
    message = str(refusal.value)
    assert all(part in message for part in parts), message
    assert list(spark.sparkContext.statusTracker().getJobIdsForGroup(group)) == []
    return message


def test_params_that_do_not_go_with_the_meaning_are_refused(spark, line):
    svm = compiled("hinge")
    refused(spark, lambda: classifier(svm, thresholds=[0.3, 0.7]).fit(line), "thresholds", "[0.3, 0.7]", "`threshold`")
    refused(spark, lambda: classifier(svm, probabilityCol="p").fit(line), "probabilityCol", "'p'", "rawPredictionCol")
    likely = compiled("bce", "sigmoid")
    refused(spark, lambda: classifier(likely, threshold=0.7).fit(line), "`threshold`", "0.7", "thresholds")
    refused(spark, lambda: classifier(likely, outputType="log"), "outputType", "'log'", "margins")
    refused(spark, lambda: classifier(likely, threshold=float("nan")), "threshold", "NaN")
    fitted = KerasClassificationModel(model=svm)
    refused(spark, lambda: fitted.copy().setThresholds([0.3, 0.7]).transform(line), "thresholds", "margins")
    refused(spark, lambda: fitted.copy().setProbabilityCol("p").transform(line), "probabilityCol", "margins")


@pytest.mark.parametrize("loss, activation", [("bce", "sigmoid"), ("hinge", None), ("dice", "hard_sigmoid")])
def test_several_labels_per_row_are_refused(spark, line, loss, activation):
    labelled = line.withColumn("tags", F.expr("array(label, 1 - label, 1D)"))
    stage = classifier(compiled(loss, activation, units=3), labelCol="tags")
    refused(spark, lambda: stage.fit(labelled), "Several labels", "'tags'", "labelCol", "KerasEstimator")


def test_two_outputs_are_refused_without_naming_params_that_are_not_there(spark, line):
    inputs = keras.Input((2,))
    outputs = [keras.layers.Dense(1, "sigmoid", name=name)(inputs) for name in ("a", "b")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"])

    class Two(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.layer = keras.layers.Dense(1)

        def call(self, x):
            return self.layer(x), self.layer(x)

    unbuilt = Two()
    unbuilt.compile("sgd", "mse")
    for kind in (KerasClassifier, KerasRegressor):
        for each in (model, unbuilt):
            options = {"customObjects": {"Two": Two}} if each is unbuilt else {}
            stage = kind(model=each, numWorkers=1, featuresCols=["id", "label"], **options)
            message = refused(spark, lambda stage=stage: stage.fit(line), "2 outputs", "KerasEstimator")
            assert "labelCols" not in message
    fitted = KerasClassificationModel(model=model)
    fitted.setFeaturesCols(["id", "label"])
    refused(spark, lambda: fitted.transform(line), "2 outputs ['a', 'b']", "KerasTransformer")
