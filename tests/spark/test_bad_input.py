"""What is wrong with the input is said at once: which Param or column, what was received, what was expected."""

from __future__ import annotations

import sys
import uuid

import cloudpickle
import keras
import pytest
from conftest import LOCAL, session_for
from small_models import classifier_model, regression_model

from spark_keras import (
    KerasClassifier,
    KerasEstimator,
    KerasRegressionModel,
    KerasRegressor,
    KerasTransformer,
    WorkerError,
)

# The layers below are defined in a module that the executors cannot import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROWS = 12
CLIPPED = {"class_name": "SGD", "config": {"learning_rate": 1.0, "clipnorm": 1.0}}


def classifier(**params):
    return KerasClassifier(**{"model": classifier_model(), "numWorkers": 1, "verbose": 0, **params})


def regressor(**params):
    return KerasRegressor(**{"model": regression_model(), "numWorkers": 1, "verbose": 0, **params})


@pytest.fixture(scope="module")
def df():
    rows = [([float(i), float(-i)], float(i % 3), 1.0, f"name {i % 3}", i % 2 == 0) for i in range(ROWS)]
    spark = session_for(LOCAL)
    frame = spark.createDataFrame(
        rows, "features array<double>, label double, weight double, text string, flag boolean"
    )
    return frame.coalesce(1).cache()


def refused(action, *parts, error=ValueError):
    """Runs the action, which must raise an error that holds every part; returns its message."""
    with pytest.raises(error) as raised:
        action()
    message = str(raised.value)
    for part in (*parts, "Received", "Expected"):
        assert part in message, message
    return message


def without_any_job(spark, action):
    """Runs the action in a job group of its own and tells that no Spark job was started in it."""
    group = f"bad input {uuid.uuid4().hex}"
    spark.sparkContext.setJobGroup(group, "must not run")
    try:
        return action()
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
        assert list(spark.sparkContext.statusTracker().getJobIdsForGroup(group)) == []


def refused_without_any_job(spark, action, *parts, **options):
    return without_any_job(spark, lambda: refused(action, *parts, **options))


# --- columns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "param, value, column",
    [
        ("featuresCol", "missing", "missing"),
        ("featuresCols", ["label", "missing"], "missing"),
        ("inputCols", ["missing"], "missing"),
        ("labelCol", "missing", "missing"),
        ("weightCol", "missing", "missing"),
        ("validationIndicatorCol", "missing", "missing"),
    ],
)
def test_unknown_column_is_named_with_its_param_and_the_columns_there_are(spark, df, param, value, column):
    estimator = classifier(**{param: value})
    refused_without_any_job(spark, lambda: estimator.fit(df), param, f"'{column}'", "'features', 'label', 'weight'")


def test_unknown_column_in_a_transformer_is_named(df):
    transformer = KerasTransformer(model=regression_model(), featuresCol="missing")
    refused(lambda: transformer.transform(df), "featuresCol", "'missing'", "'features', 'label'")


@pytest.mark.parametrize("param", ["labelCol", "featuresCol"])
def test_string_column_is_sent_to_string_indexer(spark, df, param):
    estimator = classifier(**{param: "text"})
    refused_without_any_job(spark, lambda: estimator.fit(df), param, "'text'", "string", "StringIndexer")


def test_array_among_scalar_columns_is_refused(spark, df):
    estimator = classifier(featuresCols=["weight", "features"])
    refused_without_any_job(spark, lambda: estimator.fit(df), "featuresCols", "'features'", "array<double>")


def test_array_as_row_weight_is_refused(spark, df):
    message = "Column 'features' in Param `weightCol` is not a scalar"
    with pytest.raises(ValueError, match=message):
        without_any_job(spark, lambda: classifier(weightCol="features").fit(df))


def test_validation_indicator_that_is_not_boolean_is_refused(spark, df):
    estimator = classifier(validationIndicatorCol="weight")
    refused_without_any_job(spark, lambda: estimator.fit(df), "validationIndicatorCol", "'weight'", "double")


@pytest.mark.parametrize(
    "estimator, param",
    [
        (classifier(predictionCol="label"), "predictionCol"),
        (classifier(probabilityCol="label"), "probabilityCol"),
        (classifier(rawPredictionCol="label"), "rawPredictionCol"),
        (regressor(predictionCol="label"), "predictionCol"),
        (KerasEstimator(model=regression_model(), outputCols=["label"]), "outputCols"),
    ],
)
def test_output_column_that_is_already_present_is_refused_before_the_fit(spark, df, estimator, param):
    refused_without_any_job(spark, lambda: estimator.fit(df), param, "'label'")


def test_output_column_that_is_already_present_is_refused_by_transform(df):
    transformer = KerasTransformer(model=regression_model(), predictionCol="weight")
    refused(lambda: transformer.transform(df), "predictionCol", "'weight'")


# --- shapes --------------------------------------------------------------------------------------------------------


def test_vector_of_the_wrong_length_is_refused_before_any_job(spark, df):
    from pyspark.ml.feature import VectorAssembler

    assembled = VectorAssembler(inputCols=["label", "weight", "label"], outputCol="vector").transform(df)
    estimator = classifier(featuresCol="vector")
    refused_without_any_job(
        spark, lambda: estimator.fit(assembled), "'vector'", "featuresCol", "3 elements", "shape (2,)"
    )


def test_wrong_number_of_scalar_columns_is_refused_before_any_job(spark, df):
    estimator = classifier(featuresCols=["label", "weight", "flag"])
    refused_without_any_job(spark, lambda: estimator.fit(df), "'label', 'weight', 'flag'", "3 elements", "shape (2,)")


def test_no_row_is_looked_at_for_a_shape_that_the_model_tells(spark, df):
    without_any_job(spark, lambda: classifier().trainingPlan(df))
    open_shape = keras.Sequential([keras.Input((None,)), keras.layers.Reshape((2,)), keras.layers.Dense(3)])
    open_shape.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(AssertionError):
        without_any_job(spark, lambda: classifier(model=open_shape).trainingPlan(df))


def test_array_of_the_wrong_length_is_refused(df):
    message = refused(lambda: classifier(model=classifier_model(features=5)).fit(df), "'features'", "shape (5,)")
    assert "2 elements" in message


def test_one_array_longer_than_the_first_is_refused_by_the_workers(spark, df):
    other = spark.createDataFrame([([1.0, 2.0], 0.0), ([1.0, 2.0, 3.0], 0.0)], "features array<double>, label double")
    refused(lambda: classifier().fit(other.coalesce(1)), "Ragged arrays", "'features'", "2 and of 3 elements")


def test_label_of_another_shape_than_the_output_is_refused(df):
    estimator = regressor(model=regression_model(outputs=3))
    refused(lambda: estimator.fit(df), "'label'", "labelCol", "1 element", "shape (3,)")


def test_model_with_another_output_than_classes_is_no_classifier(df):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Reshape((2, 1)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    rows = df.selectExpr("features", "array(array(1D, 2D, 3D), array(1D, 2D, 3D)) as label")
    refused(lambda: classifier(model=model).fit(rows), "not a classifier", "(2, 3)", "KerasEstimator")


def two_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    model = keras.Model([a, b], keras.layers.Dense(1)(keras.layers.Concatenate()([a, b])))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    "params, parts",
    [
        ({}, ["2 inputs ['a', 'b']", "featuresCol", "inputCols"]),
        ({"inputCols": ["features"]}, ["inputCols", "['features']", "2 columns", "['a', 'b']"]),
        ({"inputCols": {"a": "features", "c": "label"}}, ["inputCols", "'c'", "['a', 'b']"]),
        ({"inputCols": ["features", "label"], "featuresCols": ["label"]}, ["inputCols", "featuresCols", "exclude"]),
    ],
)
def test_columns_that_do_not_fit_the_inputs_are_refused_before_any_job(spark, df, params, parts):
    estimator = regressor(model=two_inputs(), **params)
    refused_without_any_job(spark, lambda: estimator.fit(df), *parts)


def test_model_with_two_outputs_needs_label_columns(df):
    inputs = keras.Input((2,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"])
    estimator = KerasEstimator(model=model, numWorkers=1, verbose=0)
    refused(lambda: estimator.fit(df), "2 outputs ['a', 'b']", "labelCol", "labelCols")
    refused(lambda: estimator.setLabelCols(["label"]).fit(df), "labelCols", "['label']", "2 columns", "['a', 'b']")
    with pytest.raises(ValueError, match="2 outputs"):
        regressor(model=model, labelCol="label").fit(df)


def test_unknown_output_layer_is_refused_with_the_layers_there_are(df):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="last")])
    transformer = KerasTransformer(model=model, outputLayer="first")
    refused(lambda: transformer.transform(df), "outputLayer", "'first'", "['last']")


# --- values --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaps():
    """Six complete rows, one with a null or NaN in each of features (twice), label and weight."""
    nan = float("nan")
    rows = [([float(i), 1.0], float(i % 3), 1.0) for i in range(6)]
    rows += [(None, 1.0, 1.0), ([nan, 1.0], 1.0, 1.0), ([1.0, None], 1.0, 1.0)]
    rows += [([1.0, 1.0], None, 1.0), ([1.0, 1.0], nan, 1.0)]
    rows += [([1.0, 1.0], 1.0, None)]
    spark = session_for(LOCAL)
    return spark.createDataFrame(rows, "features array<double>, label double, weight double").coalesce(1).cache()


@pytest.mark.parametrize(
    "condition, column",
    [
        ("isnan(features[0])", "'features' (featuresCol)"),
        ("label is null", "'label' (labelCol)"),
        ("weight is null", "'weight' (weightCol)"),
    ],
)
def test_null_or_nan_names_its_column(gaps, condition, column):
    rows = gaps.where(f"({condition}) or (label = 0 and weight = 1)")
    estimator = classifier(weightCol="weight")
    refused(lambda: estimator.fit(rows), "Null or NaN", column, "1 such rows", 'handleInvalid="skip"')


@pytest.mark.parametrize("handle_invalid", ["skip", "keep"])
@pytest.mark.slow
def test_skipped_rows_are_counted_by_column(gaps, handle_invalid):
    fitted = classifier(weightCol="weight", handleInvalid=handle_invalid).fit(gaps)
    assert fitted.summary.skippedRows == {
        "column 'features' (featuresCol)": 3,
        "column 'label' (labelCol)": 2,
        "column 'weight' (weightCol)": 1,
    }
    assert sum(fitted.summary.rows) == 6


def test_rows_that_are_all_skipped_leave_nothing_to_train_on(gaps):
    nothing = gaps.where("label is null")
    with pytest.raises(ValueError, match="no rows to train on.* 1 rows were skipped.*'label'.*Expected"):
        classifier(handleInvalid="skip").fit(nothing)


@pytest.mark.parametrize("label, loss", [(3.0, "sparse_categorical_crossentropy"), (-1.0, "categorical_crossentropy")])
def test_label_outside_the_classes_is_refused(df, label, loss):
    rows = df.selectExpr("features", f"{label}D as label")
    estimator = classifier(model=classifier_model(loss=loss))
    refused(lambda: estimator.fit(rows), "[0, 3)", "'label' (labelCol)", f"Received: {label:g}", "StringIndexer")


def test_label_that_is_no_class_index_is_refused(df):
    rows = df.selectExpr("features", "0.5D as label")
    refused(lambda: classifier().fit(rows), "Fractions", "'label' (labelCol)", "0.5", "whole numbers")


def test_second_class_of_a_sigmoid_is_the_last(df):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    refused(lambda: classifier(model=model).fit(df), "[0, 2)", "'label' (labelCol)", "Received: 2")


def test_negative_weight_is_refused(df):
    rows = df.selectExpr("features", "label", "-weight as weight")
    refused(lambda: classifier(weightCol="weight").fit(rows), "Negative weight", "'weight' (weightCol)", "-1")


@pytest.mark.parametrize("condition", ["false", "label < 0"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_empty_data_frame_is_refused(df, condition, workers):
    """Also one that Spark knows to be empty, of which it makes no partition."""
    with pytest.raises(ValueError, match="DataFrame has no rows.*Expected: at least one"):
        classifier(numWorkers=workers).fit(df.where(condition))


@pytest.mark.slow
def test_empty_data_frame_cannot_be_evaluated(df):
    fitted = KerasRegressionModel(model=regression_model())
    for condition in ("false", "label < 0"):
        with pytest.raises(ValueError, match="DataFrame has no rows"):
            fitted.evaluate(df.where(condition))


def test_null_where_rows_are_predicted_names_its_column(gaps):
    rows = gaps.where("features is null").union(gaps.limit(1))
    with pytest.raises(Exception, match="Null or NaN in column 'features' .featuresCol."):
        KerasTransformer(model=regression_model()).transform(rows).collect()


# --- validation ----------------------------------------------------------------------------------------------------


def test_split_that_holds_no_row_out_is_refused(df):
    refused(lambda: classifier(validationSplit=1e-6).fit(df), "validationSplit=1e-06", f"{ROWS} rows", "validate on")


@pytest.mark.slow
def test_indicator_that_marks_no_row_is_refused(df):
    rows = df.selectExpr("features", "label", "false as flag")
    estimator = classifier(validationIndicatorCol="flag")
    refused(lambda: estimator.fit(rows), "validationIndicatorCol='flag'", "at least one row to validate on")


def test_two_ways_to_choose_validation_rows_exclude_each_other(spark, df):
    estimator = classifier(validationSplit=0.5, validationIndicatorCol="flag")
    refused_without_any_job(
        spark, lambda: estimator.fit(df), "validationIndicatorCol", "validationSplit", "'flag' and 0.5"
    )


# --- the model -----------------------------------------------------------------------------------------------------


def test_uncompiled_model_is_refused_before_any_job(spark, df):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)], name="bare")
    refused_without_any_job(spark, lambda: classifier(model=model).fit(df), "Param `model`", "'bare'", "compile(")


def test_estimator_without_a_model_is_refused(df):
    with pytest.raises(ValueError, match="Neither Param `model` nor `modelFn` is set"):
        KerasClassifier().fit(df)
    with pytest.raises(ValueError, match="Param `model` is not set"):
        KerasTransformer().transform(df)


def accumulating():
    model = classifier_model()
    model.compile(keras.optimizers.SGD(gradient_accumulation_steps=2), model.loss)
    return model


@pytest.mark.parametrize(
    "params, parts",
    [
        ({"batchSize": 25, "globalBatch": True, "numWorkers": 2}, ("batchSize", "25", "a multiple of 2")),
        ({"learningRateWarmup": 3, "optimizerState": "reset"}, ("learningRateWarmup", "3", "average")),
        ({"mode": "asynchronous", "outerOptimizer": "sgd"}, ("outerOptimizer", "'sgd'", "asynchronous", "none")),
        ({"mode": "asynchronous", "averaging": "workers"}, ("averaging", "workers", "asynchronous", "driver")),
        ({"averaging": "workers", "outerOptimizer": CLIPPED}, ("averaging", "SGD", "driver", "norms")),
        ({"compression": "float16"}, ("compression", "'float16'", "optimizerState", "average", "local")),
        ({"compression": "float16", "averaging": "workers", "optimizerState": "local"}, ("averaging", "'float16'")),
        ({"overlap": True}, ("overlap", "optimizerState='average'", "optimizerState='local'")),
        (
            {"overlap": True, "optimizerState": "local", "combine": "sum"},
            ("overlap", "combine='sum'", "combine='mean'"),
        ),
        ({"overlap": True, "optimizerState": "local", "outerOptimizer": "sgd"}, ("outerOptimizer='sgd'", "None")),
        ({"combine": "sum", "mode": "asynchronous"}, ("combine", "'sum'", "mode", "asynchronous")),
        ({"compression": "threshold", "outerOptimizer": "sgd", "optimizerState": "reset"}, ("outerOptimizer", "sgd")),
        ({"mode": "asynchronous", "model": accumulating()}, ("mode", "gradient_accumulation_steps", "synchronous")),
    ],
)
def test_params_that_do_not_go_together_are_refused_before_any_job(spark, df, params, parts):
    refused_without_any_job(spark, lambda: classifier(**params).fit(df), *parts)


def test_model_function_that_returns_nothing_is_refused(df):
    estimator = KerasClassifier(modelFn=lambda units: None, modelParams={"units": 3})
    refused(lambda: estimator.fit(df), "`modelFn`", "None", "'units': 3", "compiled keras.Model", error=TypeError)


def test_more_workers_than_slots_are_refused_before_any_job(spark, df):
    refused_without_any_job(spark, lambda: classifier(numWorkers=3).fit(df), "numWorkers=3", "at most 2")


class Faulty(keras.layers.Layer):
    """Fails when it is called in a worker, and neither on the driver nor where only its shape is asked for."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        import pyspark

        if pyspark.TaskContext.get() is not None:
            raise ArithmeticError("the mistake in the user's layer")
        return x


@pytest.mark.slow
def test_exception_in_a_layer_reaches_the_driver_with_the_users_line_and_ends_the_fit(df):
    model = keras.Sequential([keras.Input((2,)), Faulty(), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(WorkerError) as raised:
        classifier(model=model, numWorkers=2, customObjects={"Faulty": Faulty}).fit(df)
    message = str(raised.value)
    # Keras adds "Exception encountered when calling Faulty.call()" to the exception's own text.
    assert "ArithmeticError" in message and "the mistake in the user's layer" in message
    assert 'raise ArithmeticError("the mistake in the user\'s layer")' in message
    assert "KerasClassifier" in message
    fitted = classifier(numWorkers=2).fit(df)
    assert sum(fitted.summary.rows) == ROWS


# --- Params --------------------------------------------------------------------------------------------------------


def test_wrong_number_of_thresholds_is_refused(df):
    refused(lambda: classifier(thresholds=[0.5, 0.5]).fit(df), "thresholds", "[0.5, 0.5]", "3 numbers")
    fitted = classifier().fit(df).setThresholds([0.5, 0.5])
    refused(lambda: fitted.transform(df), "thresholds", "[0.5, 0.5]", "3 numbers")


def test_wrong_output_columns_are_refused(df):
    transformer = KerasTransformer(model=regression_model(), outputCols={"other": "p"})
    refused(lambda: transformer.transform(df), "outputCols", "'other'", "the model's outputs")
    refused(lambda: transformer.setOutputCols(["p", "q"]).transform(df), "outputCols", "['p', 'q']", "1, one for each")
