"""Figures of reports are those of scikit-learn and Keras over the same rows, steps or labels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from sklearn import metrics

from spark_keras import (
    ClassificationEvaluation,
    KerasClassificationModel,
    KerasModel,
    KerasRegressionModel,
    MultiLabelEvaluation,
    RegressionEvaluation,
)


def binary(rows=400, seed=3):
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, rows)
    # With ties.
    p = np.clip(random.normal(0.35 + 0.3 * y, 0.25), 0, 1).round(2)
    return y, p, random.uniform(0.5, 2.0, rows)


@pytest.fixture(scope="module")
def scores():
    return binary()


@pytest.fixture
def scored(spark, scores):
    y, p, w = scores
    rows = [(float(a), float(b > 0.5), Vectors.dense(1 - b, b), float(c)) for a, b, c in zip(y, p, w)]
    return spark.sparkContext.parallelize(rows, 2).toDF(["label", "prediction", "probability", "w"])


# --- one threshold, and all of them --------------------------------------------------------------------------------


def test_figures_at_thresholds_are_those_of_scikit_learn(scored, scores):
    y, p, w = scores
    curve = ClassificationEvaluation.of(scored, weightCol="w").curve("1")
    table = curve.thresholdTable()
    assert [point.threshold for point in table.points] == [round(step / 20, 2) for step in range(21)]
    for point in table.points:
        predicted = p >= point.threshold
        options = {"sample_weight": w, "zero_division": 0.0}
        assert point.precision == pytest.approx(metrics.precision_score(y, predicted, **options))
        assert point.recall == pytest.approx(metrics.recall_score(y, predicted, **options))
        assert point.f1 == pytest.approx(metrics.f1_score(y, predicted, **options))
        assert point.fBeta(2.0) == pytest.approx(metrics.fbeta_score(y, predicted, beta=2.0, **options))
        assert point.accuracy == pytest.approx(metrics.accuracy_score(y, predicted, sample_weight=w))
        assert point.specificity == pytest.approx(metrics.recall_score(1 - y, ~predicted, **options))
        counts = metrics.confusion_matrix(y, predicted, sample_weight=w).ravel()
        found = point.trueNegatives, point.falsePositives, point.falseNegatives, point.truePositives
        assert found == pytest.approx(counts)
    assert list(table.toPandas()["recall"]) == [point.recall for point in table.points]
    assert "specificity" in str(table) and "Thresholds of 1" in table._repr_html_()


@pytest.mark.parametrize("least", [0.0, 0.3, 0.6, 0.8, 0.95, 1.0])
def test_points_at_a_precision_a_recall_or_a_specificity_are_the_best_of_all_thresholds(scored, scores, least):
    y, p, _ = scores
    curve = ClassificationEvaluation.of(scored).curve("1")
    precision, recall, _ = metrics.precision_recall_curve(y, p)
    false, true, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    # The last is scikit-learn's own end of the curve, at which nothing is predicted.
    precision, recall = precision[:-1], recall[:-1]
    best = {
        "pointAtPrecision": ("recall", recall[precision >= least]),
        "pointAtRecall": ("precision", precision[recall >= least]),
        "pointAtSpecificity": ("recall", true[1 - false >= least - 1e-12]),
        "pointAtSensitivity": ("specificity", 1 - false[1:][true[1:] >= least]),
    }
    for name, (sought, reached) in best.items():
        point = getattr(curve, name)(least)
        assert getattr(point, sought) == pytest.approx(max(reached, default=0.0)), name
        if np.isfinite(point.threshold):
            assert point == curve.pointAtThreshold(point.threshold)
    with pytest.raises(ValueError, match="Invalid value for argument `recall`. Received: 1.5"):
        curve.pointAtRecall(1.5)


def test_points_agree_with_those_of_keras(scored, scores):
    y, p, _ = scores
    curve = ClassificationEvaluation.of(scored).curve("1")
    for kind, name in (
        (keras.metrics.RecallAtPrecision, "pointAtPrecision"),
        (keras.metrics.PrecisionAtRecall, "pointAtRecall"),
        (keras.metrics.SensitivityAtSpecificity, "pointAtSpecificity"),
        (keras.metrics.SpecificityAtSensitivity, "pointAtSensitivity"),
    ):
        metric = kind(0.7, num_thresholds=2001)
        metric.update_state(y, p)
        sought = {"pointAtRecall": "precision", "pointAtSensitivity": "specificity"}.get(name, "recall")
        assert getattr(getattr(curve, name)(0.7), sought) == pytest.approx(float(metric.result()), abs=1e-6), name


def test_residuals_and_probabilities_are_counted_in_bins(scored, scores):
    y, p, w = scores
    report = ClassificationEvaluation.of(scored, weightCol="w", bins=7)
    curve = report.curve("1")
    edges = np.linspace(0, 1, 8)
    np.testing.assert_allclose(curve.residualCounts, np.histogram(np.abs(y - p), edges, weights=w)[0])
    np.testing.assert_allclose(curve.binCounts, np.histogram(p, edges, weights=w)[0])
    assert [axis.get_title() for axis in report.plotResiduals().axes] == ["Residuals", "Probabilities"]


# --- averages ------------------------------------------------------------------------------------------------------


def test_macro_averages_are_over_the_classes_that_occur_as_in_scikit_learn(spark):
    # Of six classes, 4 has no rows and is predicted, 3 has rows and is never predicted, 5 neither.
    y = [0, 0, 1, 1, 1, 2, 3, 3, 0, 2]
    predicted = [0, 1, 1, 1, 4, 2, 0, 4, 0, 1]
    df = spark.createDataFrame([(float(a), float(b)) for a, b in zip(y, predicted)], ["label", "prediction"])
    report = ClassificationEvaluation.of(df, classes=list("abcdef"))
    for average in ("macro", "micro", "weighted"):
        for beta in (0.5, 2.0):
            expected = metrics.fbeta_score(y, predicted, beta=beta, average=average, zero_division=0.0)
            assert report.fBeta(beta, average) == pytest.approx(expected)
        assert report.f1(average) == pytest.approx(metrics.f1_score(y, predicted, average=average, zero_division=0.0))
    for over, labels in (("labelled", [0, 1, 2, 3]), ("all", range(6)), ("occurring", range(5))):
        options = {"labels": labels, "average": "macro", "zero_division": 0.0}
        assert report.precision("macro", over) == pytest.approx(metrics.precision_score(y, predicted, **options))
    with pytest.warns(UserWarning, match="classes not in y_true"):
        assert report.balancedAccuracy == pytest.approx(metrics.balanced_accuracy_score(y, predicted))
    assert report.mcc == pytest.approx(metrics.matthews_corrcoef(y, predicted))
    assert list(report.toPandas().index) == list("abcdef")
    with pytest.raises(ValueError, match="Invalid value for argument `over`. Received: 'some'"):
        report.f1(over="some")


# --- what there is beside probabilities ----------------------------------------------------------------------------


def test_raw_predictions_take_the_place_of_probabilities(spark, scores):
    from pyspark.ml.classification import LinearSVC

    y, p, _ = scores
    df = spark.createDataFrame([(float(a), Vectors.dense(b, b * b)) for a, b in zip(y, p)], ["label", "features"])
    scored = LinearSVC(maxIter=5).fit(df).transform(df)
    report = ClassificationEvaluation.of(scored)
    margins = np.array([row.rawPrediction[1] for row in scored.collect()])
    assert report.areaUnderROC == pytest.approx(metrics.roc_auc_score(y, margins))
    (curve,) = report.curves
    assert len(curve.binCounts) == 0 and np.isnan(curve.calibrationError)
    assert len(curve.thresholdTable().points) > 10
    assert [axis.get_title() for axis in report.plot().axes] == ["Confusion matrix", "ROC", "Precision and recall"]
    without = ClassificationEvaluation.of(scored.drop("rawPrediction"))
    assert without.accuracy == report.accuracy and without.curves == []
    with pytest.raises(ValueError, match="No scores were evaluated. Expected: an evaluation with `probabilityCol`"):
        without.topK(1)
    with pytest.raises(ValueError, match="Nothing says what was predicted"):
        ClassificationEvaluation.of(scored.drop("rawPrediction"), predictionCol=None)


# --- sequences -----------------------------------------------------------------------------------------------------


def sequences(kind):
    """Labels and scores of 30 sequences of unequal length, what counts, and the steps that do as rows of an array."""
    random = np.random.default_rng(8)
    rows, flat = [], []
    for index in range(30):
        length = int(random.integers(1, 7))
        y = random.integers(0, 3 if kind != "binary" else 2, length)
        seen = random.integers(0, 2, length) if index else np.ones(length, int)
        p = random.normal(size=(length, 3)) if kind == "logits" else random.dirichlet(np.ones(3), length)
        probability = np.exp(p) / np.exp(p).sum(1, keepdims=True) if kind == "logits" else p
        given, label = p.tolist(), np.where(seen, y, -1).tolist()
        if kind == "binary":
            probability, given = np.stack([1 - p[:, 0], p[:, 0]], 1), p[:, :1].tolist()
        if kind == "one-hot":
            label = np.eye(3, dtype=int)[y].tolist()
        rows.append((label, given, seen.tolist(), float(index % 3 + 1)))
        flat += [(a, *b, index % 3 + 1) for a, b, c in zip(y, probability, seen) if c]
    return rows, np.array(flat)


@pytest.mark.parametrize("kind", ["probabilities", "logits", "binary", "one-hot"])
def test_masked_steps_of_sequences_do_not_count(spark, kind):
    rows, flat = sequences(kind)
    label = "array<array<int>>" if kind == "one-hot" else "array<int>"
    df = spark.createDataFrame(rows, f"y {label}, p array<array<double>>, seen array<int>, w double").repartition(3)
    options = {"fromLogits": kind == "logits", "oneHotLabels": kind == "one-hot", "weightCol": "w"}
    report = ClassificationEvaluation.of(df, "y", None, "p", maskCol="seen", **options)
    y, p, w = flat[:, 0].astype(int), flat[:, 1:-1], flat[:, -1]
    predicted = p.argmax(1)
    assert report.leftOut == sum(len(row[2]) - sum(row[2]) for row in rows)
    np.testing.assert_allclose(report.confusionMatrix, metrics.confusion_matrix(y, predicted, sample_weight=w))
    for curve in report.curves:
        index = int(curve.name)
        assert curve.areaUnderROC == pytest.approx(metrics.roc_auc_score(y == index, p[:, index], sample_weight=w))
    if kind != "one-hot":
        # The same by a label that stands for padding, and by weights of steps.
        ignoring = ClassificationEvaluation.of(df, "y", None, "p", ignoreClass=-1, **options)
        np.testing.assert_allclose(ignoring.confusionMatrix, report.confusionMatrix)
        with pytest.raises(ValueError, match=r"Received: labels \[-1.0\] and vectors of \d scores"):
            ClassificationEvaluation.of(df, "y", None, "p", **options)


def test_sequences_whose_columns_do_not_fit_are_refused(spark):
    rows = [([0, 1], [[0.2, 0.8], [0.6, 0.4]], [1, 1]), ([0, 1], [[0.2, 0.8]], [1, 1]), ([1], [[0.2, 0.8]], [1, 1, 0])]
    df = spark.createDataFrame(rows, "y array<int>, p array<array<double>>, seen array<int>").coalesce(1)
    with pytest.raises(ValueError) as error:
        ClassificationEvaluation.of(df, "y", None, "p", maskCol="seen")
    assert "1 rows with more or fewer numbers than labels (2) in column 'p' (probabilityCol)" in str(error.value)
    assert "1 rows with more or fewer numbers than labels (3) in column 'seen' (maskCol)" in str(error.value)


def test_masked_numbers_of_a_regression_do_not_count(spark):
    random = np.random.default_rng(1)
    y, p = random.normal(size=(2, 20, 4, 2))
    seen = random.integers(0, 2, (20, 4))
    hidden = np.where(seen[..., None] == 1, y, np.nan)
    rows = [(a.tolist(), b.tolist(), c.tolist()) for a, b, c in zip(hidden, p, seen)]
    df = spark.createDataFrame(rows, "label array<array<double>>, prediction array<array<double>>, seen array<int>")
    report = RegressionEvaluation.of(df, maskCol="seen")
    for index, output in enumerate(report.outputs):
        truth, found = (array[..., index][seen == 1] for array in (y, p))
        assert output.rows == seen.sum() and output.r2 == pytest.approx(metrics.r2_score(truth, found))
        counts, _, _, largest = report.residuals[index]
        assert counts.sum() == seen.sum() and largest == pytest.approx(np.abs(truth - found).max())
        edges = np.linspace(-largest, largest, 41)
        np.testing.assert_allclose(counts.sum(axis=0), np.histogram(found - truth, edges)[0])
    assert len(report.plotResiduals().axes) == 6
    constant = spark.createDataFrame([(0.1, 0.1 + i / 7) for i in range(30)], ["label", "prediction"]).repartition(3)
    assert np.isnan(RegressionEvaluation.of(constant).r2)


# --- several labels per row ----------------------------------------------------------------------------------------


def several_labels(rows=150, labels=4, seed=2):
    random = np.random.default_rng(seed)
    y = (random.uniform(size=(rows, labels)) < [0.5, 0.3, 0.1, 0.0]).astype(int)
    p = np.clip(random.normal(0.35 + 0.3 * y, 0.25), 0, 1).round(3)
    return y, p, random.uniform(0.5, 2.0, rows)


@pytest.mark.parametrize("threshold", [0.5, [0.3, 0.4, 0.6, 0.7]])
def test_multi_label_figures_are_those_of_scikit_learn(spark, threshold):
    y, p, w = several_labels()
    rows = [(a.tolist(), b.tolist(), float(c)) for a, b, c in zip(y, p, w)]
    df = spark.createDataFrame(rows, "label array<int>, prediction array<float>, w double").repartition(3)
    report = MultiLabelEvaluation.of(df, weightCol="w", threshold=threshold, labels=list("abcd"))
    p = p.astype("float32").astype("float64")
    predicted = (p > threshold).astype(int)
    for average in ("macro", "micro", "weighted", "samples"):
        options = {"average": average, "sample_weight": w, "zero_division": 0.0}
        assert report.precision(average) == pytest.approx(metrics.precision_score(y, predicted, **options))
        assert report.recall(average) == pytest.approx(metrics.recall_score(y, predicted, **options))
        assert report.f1(average) == pytest.approx(metrics.f1_score(y, predicted, **options))
        if average != "samples":
            expected = metrics.fbeta_score(y, predicted, beta=2.0, **options)
            assert report.fBeta(2.0, average) == pytest.approx(expected)
    assert report.hammingLoss == pytest.approx(metrics.hamming_loss(y, predicted, sample_weight=w))
    assert report.subsetAccuracy == pytest.approx(metrics.accuracy_score(y, predicted, sample_weight=w))
    options = {"average": "samples", "sample_weight": w, "zero_division": 0.0}
    assert report.jaccard == pytest.approx(metrics.jaccard_score(y, predicted, **options))
    for index, name in enumerate("abc"):
        curve = report.curve(name)
        assert curve.areaUnderROC == pytest.approx(metrics.roc_auc_score(y[:, index], p[:, index], sample_weight=w))
        area = metrics.average_precision_score(y[:, index], p[:, index], sample_weight=w)
        assert curve.areaUnderPR == pytest.approx(area)
    table = report.toPandas()
    each = metrics.f1_score(y, predicted, average=None, sample_weight=w, zero_division=0.0)
    np.testing.assert_allclose(table["F1"], each)
    np.testing.assert_allclose(table["rows"], w @ y)
    if predicted[:, 3].sum() == 0:
        assert report.f1("macro", "occurring") == pytest.approx(each[:3].mean())
    assert "subset accuracy" in str(report) and "Hamming loss" in report._repr_html_()
    assert [axis.get_title() for axis in report.plot().axes] == ["ROC", "Precision and recall", "Calibration"]


def test_multi_label_figures_are_those_of_spark(spark):
    from pyspark.ml.evaluation import MultilabelClassificationEvaluator

    y, p, _ = several_labels()
    df = spark.createDataFrame(
        [(a.tolist(), b.tolist()) for a, b in zip(y, p)], "label array<int>, prediction array<float>"
    )
    report = MultiLabelEvaluation.of(df)
    sets = [[np.flatnonzero(row).astype(float).tolist() for row in rows] for rows in (p > 0.5, y)]
    df = spark.createDataFrame(list(zip(*sets)), "prediction array<double>, label array<double>")
    for name, value in (
        ("subsetAccuracy", report.subsetAccuracy),
        ("microF1Measure", report.f1("micro")),
        ("microPrecision", report.precision("micro")),
    ):
        assert MultilabelClassificationEvaluator(metricName=name).evaluate(df) == pytest.approx(value)


def test_masked_labels_do_not_count_and_other_labels_than_0_and_1_are_refused(spark):
    y, p, _ = several_labels(60)
    seen = np.random.default_rng(0).integers(0, 2, y.shape)
    rows = [(np.where(m, a, -1).tolist(), b.tolist(), m.tolist()) for a, b, m in zip(y, p, seen)]
    df = spark.createDataFrame(rows, "label array<int>, prediction array<double>, seen array<int>")
    report = MultiLabelEvaluation.of(df, maskCol="seen")
    counted = seen == 1
    assert report.f1("micro") == pytest.approx(metrics.f1_score(y[counted], p[counted] > 0.5))
    assert report.hammingLoss == pytest.approx(np.mean(y[counted] != (p[counted] > 0.5)))
    with pytest.raises(ValueError, match=r"entries with neither 0 nor 1 \(-1\) in column 'label' \(labelCol\)"):
        MultiLabelEvaluation.of(df)
    with pytest.raises(ValueError, match="arrays of 4 numbers in column 'prediction' .* 2 thresholds"):
        MultiLabelEvaluation.of(df, maskCol="seen", threshold=[0.1, 0.2])
    with pytest.raises(ValueError, match="Column 'w' in `labelCol` is a number"):
        MultiLabelEvaluation.of(df.selectExpr("*", "1 as w"), labelCol="w")


# --- of fitted models ----------------------------------------------------------------------------------------------


def test_rows_already_scored_are_not_scored_again(spark):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3)).astype("float32")
    rows = [(a.tolist(), int(a[0] > 0), float(a[1])) for a in x]
    df = spark.createDataFrame(rows, "features array<float>, label int, target double")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    fitted = KerasClassificationModel(model=model)
    fitted._fit_attributes = {"numClasses": 2, "labels": []}
    fresh = fitted.evaluateClassification(df)
    scored = fitted.transform(df).drop("features").cache()
    again = fitted.evaluateClassification(scored)
    np.testing.assert_array_equal(again.confusionMatrix, fresh.confusionMatrix)
    assert (
        again.areaUnderROC
        == fresh.areaUnderROC
        == pytest.approx(metrics.roc_auc_score([row[1] for row in rows], model.predict(x, verbose=0).ravel()))
    )
    assert fitted.evaluateClassification(scored.drop("probability", "rawPrediction")).curves == []

    linear = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    linear.compile("sgd", "mse")
    regressor = KerasRegressionModel(model=linear)._set(labelCol="target")
    assert regressor.evaluateRegression(regressor.transform(df).drop("features")).mse == pytest.approx(
        regressor.evaluateRegression(df).mse
    )


def test_labels_that_the_loss_ignores_do_not_count(spark):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 3)).astype("float32"), random.integers(0, 3, 40)
    rows = [(a.tolist(), 255 if index % 4 == 0 else int(b)) for index, (a, b) in enumerate(zip(x, y))]
    df = spark.createDataFrame(rows, "features array<float>, label int")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(ignore_class=255))
    fitted = KerasClassificationModel(model=model)
    fitted._fit_attributes = {"numClasses": 3, "labels": []}
    counted = np.arange(40) % 4 != 0
    predicted = model.predict(x, verbose=0).argmax(1)
    for report in (fitted.evaluateClassification(df), KerasModel(model=model).evaluateClassification(df)):
        assert report.leftOut == 10
        expected = metrics.confusion_matrix(y[counted], predicted[counted], labels=range(3))
        np.testing.assert_array_equal(report.confusionMatrix, expected)


def test_outputs_of_any_model_are_evaluated(spark):
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    x = random.normal(size=(40, 5, 2)).astype("float32")
    tags, steps = random.integers(0, 2, (40, 3)), random.integers(0, 4, (40, 5))
    seen, size = random.integers(0, 2, (40, 5)), random.normal(size=40)
    given = keras.Input((5, 2), name="given")
    pooled = keras.layers.GlobalAveragePooling1D()(given)
    model = keras.Model(
        given,
        [
            keras.layers.Dense(3, name="tags")(pooled),
            keras.layers.Dense(4, activation="softmax", name="steps")(given),
            keras.layers.Dense(1, name="size")(pooled),
        ],
    )
    losses = [keras.losses.BinaryCrossentropy(from_logits=True), "sparse_categorical_crossentropy", "mse"]
    model.compile("sgd", losses)
    kinds = "given array<array<float>>, tags array<int>, steps array<int>, seen array<int>, size double"
    rows = [
        (a.tolist(), b.tolist(), c.tolist(), d.tolist(), float(e)) for a, b, c, d, e in zip(x, tags, steps, seen, size)
    ]
    df = spark.createDataFrame(rows, kinds)
    labels = {name: name for name in ("tags", "steps", "size")}
    fitted = KerasModel(model=model)._set(featuresCol="given", labelCols=labels)
    logits, softmax, number = model.predict(x, verbose=0)
    report = fitted.evaluateMultiLabel(df, output="tags", labels=["red", "green", "blue"])
    assert report.f1() == pytest.approx(metrics.f1_score(tags, logits > 0, average="macro", zero_division=0.0))
    assert report.curve("red").areaUnderROC == pytest.approx(metrics.roc_auc_score(tags[:, 0], logits[:, 0]))
    report = fitted.evaluateClassification(df, output="steps", maskCol="seen")
    expected = metrics.accuracy_score(steps[seen == 1], softmax.argmax(-1)[seen == 1])
    assert report.rows == seen.sum() and report.accuracy == pytest.approx(expected)
    report = fitted.evaluateRegression(df, output="size")
    assert report.mse == pytest.approx(metrics.mean_squared_error(size, number.ravel()), rel=1e-5)
    with pytest.raises(ValueError, match=r"argument `output`. Received: None. Expected: one of .*\['tags', 'steps'"):
        fitted.evaluateRegression(df)
