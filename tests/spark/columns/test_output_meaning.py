"""A classifier's outputs: probabilities, logits or margins, as activation, loss or `outputType` tell, and checked."""

from __future__ import annotations

import sys
import warnings

import cloudpickle
import keras
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.sql import functions as F

from spark_keras import KerasClassificationModel, KerasClassifier, KerasEstimator, KerasRegressor

cloudpickle.register_pickle_by_value(sys.modules[__name__])

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


# --- the numbers ---------------------------------------------------------------------------------------------------


# --- activations and losses ----------------------------------------------------------------------------------------


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
    refused(spark, lambda: classifier(likely, threshold=float("nan")), "threshold", "nan")
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
