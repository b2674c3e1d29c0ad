"""What transform gives: the columns and rows it was given, and what `model.predict` gives for them."""

from __future__ import annotations

import sys

import cloudpickle
import keras
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.sql import functions as F

from spark_keras import KerasClassifier, KerasEstimator, KerasRegressor, KerasTransformer

cloudpickle.register_pickle_by_value(sys.modules[__name__])

FEATURES = np.random.default_rng(3).normal(size=(24, 3)).astype("float32")
LABELS = (FEATURES @ [1.0, -2.0, 0.5] > 0).astype("float64")


def dense_model(outputs, activation=None, loss="mse", **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh", name="hidden"), keras.layers.Dense(outputs, activation)]
    )
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


def predicted(model, features=FEATURES):
    return model.predict(features, batch_size=7, verbose=0)


def values(df, column, key="id"):
    """A column as numpy, in the order of `key`."""
    rows = sorted(df.select(key, column).collect(), key=lambda row: row[0])
    return np.array([row[1].toArray() if hasattr(row[1], "toArray") else row[1] for row in rows])


@pytest.fixture(scope="module")
def df():
    return labelled_frame(FEATURES, LABELS)


@pytest.fixture(scope="module")
def softmax(df):
    """A fitted classifier with three classes, of which the labels use two."""
    model = dense_model(3, "softmax", "sparse_categorical_crossentropy")
    return KerasClassifier(model=model, numWorkers=1, verbose=0).fit(df)


@pytest.fixture(scope="module")
def sigmoid(df):
    model = dense_model(1, "sigmoid", "binary_crossentropy")
    return KerasClassifier(model=model, numWorkers=1, verbose=0, epochs=5, batchSize=8).fit(df)


@pytest.fixture(scope="module")
def regression(df):
    return KerasRegressor(model=dense_model(1), numWorkers=1, verbose=0).fit(df)


# --- columns and rows ----------------------------------------------------------------------------------------------


@pytest.mark.oldest
# How far two ways of computing may differ: some units in the last of 8 or 11 bits.
@pytest.mark.parametrize("precision, difference", [("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)])
def test_a_model_of_mixed_precision_trains_and_predicts(df, precision, difference):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4, "tanh", dtype=precision), keras.layers.Dense(1, dtype=precision)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = model.evaluate(FEATURES, LABELS, verbose=0)
    fitted = KerasEstimator(model=model, numWorkers=1, epochs=5, batchSize=8, verbose=0).fit(df)
    assert fitted.summary.history["loss"][-1] < before
    predictions = values(fitted.transform(df), "prediction")
    np.testing.assert_allclose(predictions, np.asarray(predicted(fitted.toKeras()), "float32"), atol=difference)


def test_transform_equals_predict(df, softmax, regression):
    np.testing.assert_allclose(values(softmax.transform(df), "probability"), predicted(softmax.toKeras()), atol=1e-6)
    expected = predicted(regression.toKeras())[:, 0]
    np.testing.assert_allclose(values(regression.transform(df), "prediction"), expected, atol=1e-6)
    transformer = KerasTransformer(model=regression.toKeras())
    np.testing.assert_allclose(values(transformer.transform(df), "prediction")[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("partitions, batch_size", [(1, 1), (3, 1024), (7, 2)])
def test_prediction_does_not_depend_on_batches_and_partitions(df, regression, partitions, batch_size):
    stage = regression.copy().setBatchSize(batch_size)
    expected = predicted(regression.toKeras())[:, 0]
    np.testing.assert_allclose(values(stage.transform(df.repartition(partitions)), "prediction"), expected, atol=1e-6)


def test_arrow_batches_do_not_change_the_prediction(spark, df, regression):
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 5)
    try:
        given = values(regression.transform(df), "prediction")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    np.testing.assert_allclose(given, predicted(regression.toKeras())[:, 0], atol=1e-6)


def test_every_input_column_and_row_is_kept(df, softmax):
    wide = df.unionAll(df.where("id < 3")).select("*", F.lit("text").alias("note"), F.array(F.lit(1)).alias("list"))
    out = softmax.transform(wide)
    assert out.columns[: len(wide.columns)] == wide.columns
    assert out.columns[len(wide.columns) :] == ["rawPrediction", "probability", "prediction"]
    key = sorted(map(repr, out.select(wide.columns).collect()))
    assert key == sorted(map(repr, wide.collect())) and len(key) == len(FEATURES) + 3


@pytest.mark.parametrize("name", ["a.b", "with space", "ünï:code;", "f-1", "`quoted`"])
def test_odd_column_names_work_for_inputs_outputs_and_bystanders(df, regression, name):
    odd = df.withColumnRenamed("features", name).withColumn(name + " bystander", F.lit(1))
    stage = regression.copy().setFeaturesCol(name).setPredictionCol(name + " out")
    out = stage.transform(odd)
    assert out.columns == [*odd.columns, name + " out"]
    given = np.array([row[-1] for row in sorted(out.collect())])
    np.testing.assert_allclose(given, predicted(regression.toKeras())[:, 0], atol=1e-6)


def test_columns_of_the_same_name_are_both_kept(df, regression):
    twice = df.select("*", F.lit(1).alias("twin"), F.lit(2).alias("twin"))
    out = regression.transform(twice)
    assert out.columns == [*twice.columns, "prediction"]
    assert out.first()[3:5] == (1, 2)


def test_empty_data_frame_gives_an_empty_one_with_all_columns(df, softmax):
    out = softmax.transform(df.limit(0))
    assert out.collect() == []
    assert out.schema["prediction"].dataType.simpleString() == "double"
    assert out.schema["probability"].dataType.simpleString() == "vector"


def test_empty_partitions_do_no_harm(df, regression):
    sparse = df.repartition(6, "id").where("id in (0, 17)")
    given = values(regression.transform(sparse), "prediction")
    np.testing.assert_allclose(given, predicted(regression.toKeras())[[0, 17], 0], atol=1e-6)


def python_evaluations(df):
    plan = df._jdf.queryExecution().executedPlan().toString()
    return plan.count("ArrowEvalPython [") + plan.count("BatchEvalPython [") + plan.count("MapInArrow")


@pytest.mark.parametrize("handle_invalid", ["error", "skip", "keep"])
def test_plan_runs_the_model_once(df, softmax, handle_invalid):
    stage = softmax.copy().setHandleInvalid(handle_invalid)
    out = stage.transform(df)
    assert python_evaluations(out) == 1
    assert python_evaluations(out.select("id", "prediction", "probability").where("id > 3")) == 1


# --- classifier ----------------------------------------------------------------------------------------------------


def test_softmax_gives_probabilities_and_the_most_likely_class(df, softmax):
    out = softmax.transform(df)
    expected = predicted(softmax.toKeras())
    np.testing.assert_array_equal(values(out, "prediction"), expected.argmax(axis=1))
    np.testing.assert_allclose(values(out, "rawPrediction"), expected, atol=1e-6)
    assert softmax.numClasses == 3


def test_sigmoid_gives_vectors_for_two_classes(df, sigmoid):
    out = sigmoid.transform(df)
    positive = predicted(sigmoid.toKeras())[:, 0]
    np.testing.assert_allclose(values(out, "probability"), np.stack([1 - positive, positive], axis=1), atol=1e-6)
    np.testing.assert_array_equal(values(out, "prediction"), positive > 0.5)
    assert 0 < np.count_nonzero(positive > 0.5) < len(positive)
    assert sigmoid.numClasses == 2


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("as_dict", [False, True])
def test_logits_are_raw_predictions_and_become_probabilities(df, outputs, as_dict):
    losses = keras.losses.BinaryCrossentropy if outputs == 1 else keras.losses.SparseCategoricalCrossentropy
    model = dense_model(outputs)
    model = keras.Model(model.inputs, model.outputs)
    loss = losses(from_logits=True)
    model.compile("sgd", {model.output_names[0]: loss} if as_dict else loss)
    fitted = KerasClassifier(model=model, numWorkers=1, verbose=0).fit(df)
    logits = predicted(fitted.toKeras()).astype("float64")
    if outputs == 1:
        raw = np.concatenate([-logits, logits], axis=1)
        probability = np.concatenate([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=1)
    else:
        raw, probability = logits, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    out = fitted.transform(df).cache()
    np.testing.assert_allclose(values(out, "rawPrediction"), raw, atol=1e-6)
    np.testing.assert_allclose(values(out, "probability"), probability, atol=1e-6)
    np.testing.assert_array_equal(values(out, "prediction"), probability.argmax(axis=1))


def constant_classifier(probabilities):
    """Predicts its input, which is a row of probabilities."""
    inputs = keras.Input((len(probabilities),))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile("sgd", "categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    "thresholds, expected",
    [
        # pyspark.ml.param.shared.HasThresholds: "The class with largest value p/t is predicted, where p is the original
        # probability of that class and t is the class's threshold." The first of equals, as in Spark's loop.
        ([0.5, 0.5, 0.5], [1, 0, 0, 1, 0]),
        ([0.1, 0.9, 0.9], [0, 0, 0, 1, 0]),
        ([0.9, 0.9, 0.1], [2, 2, 0, 1, 2]),
        # A class with threshold 0 always wins, unless its probability is 0, too.
        ([0.5, 0.5, 0.0], [2, 2, 0, 1, 2]),
    ],
)
def test_thresholds_follow_the_rule_of_spark(spark, thresholds, expected):
    from spark_keras import KerasClassificationModel

    probabilities = [[0.3, 0.4, 0.3], [0.6, 0.2, 0.2], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.4, 0.2, 0.4]]
    rows = [(i, row) for i, row in enumerate(probabilities)]
    df = spark.createDataFrame(rows, "id int, features array<double>").coalesce(1)
    stage = KerasClassificationModel(model=constant_classifier(probabilities[0])).setThresholds(thresholds)
    assert values(stage.transform(df), "prediction").tolist() == expected


def test_thresholds_agree_with_logistic_regression_of_spark(df):
    """Spark's own classifier and ours, given the same probabilities."""
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.functions import array_to_vector

    from spark_keras import KerasClassificationModel

    thresholds = [0.6, 0.4]
    vectors = df.select("id", array_to_vector("features").alias("features"), "label")
    theirs = LogisticRegression(maxIter=5, regParam=0.1, thresholds=thresholds).fit(vectors).transform(vectors).cache()
    model = KerasClassificationModel(model=constant_classifier([0.5, 0.5])).setFeaturesCol("probability")
    model = model.setThresholds(thresholds).setPredictionCol("ours").setProbabilityCol("").setRawPredictionCol("")
    expected = values(theirs, "prediction")
    assert 0 < expected.sum() < len(expected)
    np.testing.assert_array_equal(values(model.transform(theirs), "ours"), expected)


def test_area_under_roc_is_that_of_scikit_learn(df, sigmoid):
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from sklearn.metrics import roc_auc_score

    positive = predicted(sigmoid.toKeras())[:, 0]
    assert len(np.unique(positive)) == len(positive)  # with ties the two would treat thresholds differently
    given = BinaryClassificationEvaluator().evaluate(sigmoid.transform(df))
    assert given == pytest.approx(roc_auc_score(LABELS, positive), abs=1e-9)


def test_output_columns_carry_ml_attributes(df, softmax):
    schema = softmax.transform(df).schema
    assert schema["probability"].metadata["ml_attr"]["num_attrs"] == 3
    assert schema["rawPrediction"].metadata["ml_attr"]["num_attrs"] == 3
    assert schema["prediction"].metadata["ml_attr"]["num_vals"] == 3


def test_labels_of_string_indexer_come_back_with_index_to_string(spark):
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import IndexToString, StringIndexer

    rows = [(i, FEATURES[i].tolist(), ["no", "yes"][int(LABELS[i])]) for i in range(len(FEATURES))]
    df = spark.createDataFrame(rows, "id int, features array<float>, answer string").coalesce(1)
    model = dense_model(2, "softmax", "sparse_categorical_crossentropy")
    classifier = KerasClassifier(model=model, labelCol="index", numWorkers=1, verbose=0)
    stages = [StringIndexer(inputCol="answer", outputCol="index"), classifier]
    fitted = Pipeline(stages=[*stages, IndexToString(inputCol="prediction", outputCol="said")]).fit(df)
    names = fitted.stages[0].labels
    assert sorted(names) == ["no", "yes"] and fitted.stages[1].labels == names
    out = fitted.transform(df).cache()
    said = [row.said for row in out.orderBy("id").collect()]
    assert said == [names[int(index)] for index in values(out, "prediction")]


def test_empty_names_leave_columns_out(df, softmax):
    only = softmax.copy().setProbabilityCol("").setRawPredictionCol("")
    assert only.transform(df).columns == [*df.columns, "prediction"]
    assert only.setPredictionCol("").transform(df).columns == df.columns


# --- regressor, estimator, transformer -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(df):
    """A regressor of two numbers."""
    both = df.withColumn("both", F.array("label", F.col("label") * 2))
    return KerasRegressor(model=dense_model(2), labelCol="both", numWorkers=1, verbose=0).fit(both)


def test_regressor_gives_a_double_or_an_array_of_doubles(df, regression, pair):
    assert regression.transform(df).schema["prediction"].dataType.simpleString() == "double"
    out = pair.transform(df)
    assert out.schema["prediction"].dataType.simpleString() == "array<double>"
    np.testing.assert_allclose(values(out, "prediction"), predicted(pair.toKeras()), atol=1e-6)


def test_estimator_gives_arrays_with_the_shape_of_the_model(df):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6), keras.layers.Reshape((2, 3))])
    model.compile("sgd", "mse")
    labelled = df.withColumn("y", F.array(F.col("features"), F.col("features")))
    fitted = KerasEstimator(model=model, labelCol="y", numWorkers=1, verbose=0, outputCols=["out"]).fit(labelled)
    out = fitted.transform(df)
    assert out.columns == [*df.columns, "out"]
    assert out.schema["out"].dataType.simpleString() == "array<array<float>>"
    np.testing.assert_allclose(values(out, "out"), predicted(fitted.toKeras()), atol=1e-6)


def several_outputs():
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(4, "tanh", name="embedding")(inputs)
    number = keras.layers.Dense(1, name="number")(hidden)
    scores = keras.layers.Dense(2, "softmax", name="scores")(hidden)
    return keras.Model(inputs, [number, scores])


@pytest.mark.parametrize(
    "output_cols, expected",
    [
        ({"scores": "s", "number": "n"}, {"n": 0, "s": 1}),
        (["n", "s"], {"n": 0, "s": 1}),
        (["", "s"], {"s": 1}),
        ({"number": "n"}, {"n": 0}),
        (None, {"prediction_number": 0, "prediction_scores": 1}),
    ],
)
def test_each_output_goes_into_its_column(df, output_cols, expected):
    model = several_outputs()
    outputs = predicted(model)
    out = KerasTransformer(model=model, outputCols=output_cols).transform(df).cache()
    assert out.columns == [*df.columns, *expected]
    for column, index in expected.items():
        np.testing.assert_allclose(values(out, column), outputs[index], atol=1e-6)


def test_outputs_named_by_a_dict_go_into_their_columns(df):
    inputs = keras.Input((3,))
    layers = {"zebra": keras.layers.Dense(1)(inputs), "ape": keras.layers.Dense(2)(inputs)}
    model = keras.Model(inputs, layers)
    outputs = predicted(model)
    out = KerasTransformer(model=model, outputCols={"zebra": "z", "ape": "a"}).transform(df).cache()
    np.testing.assert_allclose(values(out, "z"), outputs["zebra"], atol=1e-6)
    np.testing.assert_allclose(values(out, "a"), outputs["ape"], atol=1e-6)


def test_output_layer_gives_its_activations(df):
    model = several_outputs()
    out = KerasTransformer(model=model, outputLayer="embedding", predictionCol="e").transform(df)
    kernel, bias = model.get_layer("embedding").get_weights()
    np.testing.assert_allclose(values(out, "e"), np.tanh(FEATURES @ kernel + bias), atol=1e-6)


def test_dropout_is_off_and_batch_statistics_are_not_used(df):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.9), keras.layers.Dense(2)]
    )
    model.layers[0].set_weights([np.ones(3), np.zeros(3), np.full(3, 5.0), np.full(3, 4.0)])
    out = KerasTransformer(model=model).transform(df)
    kernel, bias = model.layers[-1].get_weights()
    expected = (FEATURES - 5) / np.sqrt(4 + 1e-3) @ kernel + bias
    np.testing.assert_allclose(values(out, "prediction"), expected, atol=1e-6)


def test_adapted_normalization_keeps_its_statistics(df):
    normalization = keras.layers.Normalization()
    normalization.adapt(FEATURES)
    out = KerasTransformer(model=keras.Sequential([keras.Input((3,)), normalization])).transform(df)
    expected = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)
    np.testing.assert_allclose(values(out, "prediction"), expected, atol=1e-5)


def test_integer_outputs_are_integers(df):
    class Sign(keras.layers.Layer):
        def call(self, x):
            return keras.ops.cast(x > 0, "int32")

    model = keras.Sequential([keras.Input((3,)), Sign()])
    stage = KerasTransformer(model=model, customObjects={"Sign": Sign}, handleInvalid="keep")
    out = stage.transform(df.withColumn("features", F.when(F.col("id") > 0, F.col("features"))))
    assert out.schema["prediction"].dataType.simpleString() == "array<bigint>"
    rows = out.orderBy("id").collect()
    assert rows[0].prediction is None
    assert [row.prediction for row in rows[1:]] == (FEATURES[1:] > 0).astype(int).tolist()


@pytest.mark.compat
def test_model_above_a_megabyte_travels_as_a_broadcast(df):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(600, "tanh"), keras.layers.Dense(700)])
    stage = KerasTransformer(model=model)
    assert len(stage.getModel().data) > 2**20
    first = stage.transform(df)
    np.testing.assert_allclose(values(first, "prediction"), predicted(model), atol=1e-6)
    # A second transform uses the same broadcast, also for a copy.
    again = stage.copy().transform(df.where("id < 4"))
    np.testing.assert_allclose(values(again, "prediction"), predicted(model)[:4], atol=1e-6)


# --- null and NaN --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaps(df):
    """Rows 1, 5 and 9 cannot be predicted."""
    nan = F.array(F.lit(1.0), F.lit(float("nan")), F.lit(0.0)).cast("array<float>")
    hole = F.array(F.lit(1.0), F.lit(None), F.lit(0.0)).cast("array<float>")
    features = F.when(F.col("id") == 1, F.lit(None)).when(F.col("id") == 5, nan).when(F.col("id") == 9, hole)
    return df.withColumn("features", features.otherwise(F.col("features"))).cache()


UNUSABLE = [1, 5, 9]
USABLE = [i for i in range(len(FEATURES)) if i not in UNUSABLE]


@pytest.mark.oldest
@pytest.mark.slow
def test_keep_gives_null_predictions_to_incomplete_rows(gaps, softmax, regression, pair):
    for fitted, columns in [
        (softmax, ["rawPrediction", "probability", "prediction"]),
        (regression, ["prediction"]),
        (pair, ["prediction"]),
        (KerasTransformer(model=dense_model(2)), ["prediction"]),
    ]:
        out = fitted.copy().setHandleInvalid("keep").transform(gaps).cache()
        assert out.count() == len(FEATURES)
        for column in columns:
            assert [row.id for row in out.where(F.col(column).isNull()).orderBy("id").collect()] == UNUSABLE
    expected = predicted(regression.toKeras())[USABLE, 0]
    out = regression.copy().setHandleInvalid("keep").transform(gaps).where("prediction is not null")
    np.testing.assert_allclose(values(out, "prediction"), expected, atol=1e-6)


@pytest.mark.compat
def test_skip_leaves_incomplete_rows_out(gaps, softmax, regression):
    for fitted in (softmax, regression):
        out = fitted.copy().setHandleInvalid("skip").transform(gaps)
        assert [row.id for row in out.orderBy("id").collect()] == USABLE
    expected = predicted(regression.toKeras())[USABLE, 0]
    out = regression.copy().setHandleInvalid("skip").transform(gaps)
    np.testing.assert_allclose(values(out, "prediction"), expected, atol=1e-6)
    # The same column, as Spark compares names.
    with pytest.raises(ValueError, match="`predictionCol`.*already present.*'prediction'"):
        regression.copy().setHandleInvalid("skip").transform(gaps.withColumn("Prediction", F.lit(0)))


def test_batch_without_any_complete_row_gives_nulls(gaps, softmax, regression, pair):
    nothing = gaps.where("id in (1, 5, 9)")
    for fitted in (softmax, regression, pair):
        out = fitted.copy().setHandleInvalid("keep").transform(nothing)
        assert [row.prediction for row in out.collect()] == [None] * 3
        assert fitted.copy().setHandleInvalid("skip").transform(nothing).collect() == []


def test_error_names_the_column_of_an_incomplete_row(gaps, regression):
    with pytest.raises(Exception, match=r"Null or NaN in column 'features' \(featuresCol\).*handleInvalid"):
        regression.transform(gaps).collect()


def test_incomplete_label_does_not_matter_to_transform(df, regression):
    unlabelled = df.withColumn("label", F.lit(None).cast("double"))
    assert regression.transform(unlabelled).where("prediction is null").count() == 0
    assert regression.transform(df.drop("label")).count() == len(FEATURES)


@pytest.mark.slow
def test_transform_starts_no_job_and_works_on_a_stream(spark, tmp_path):
    rows = [([float(i), float(i % 3)],) for i in range(20)]
    df = spark.createDataFrame(rows, "features array<float>")
    df.write.parquet(str(tmp_path / "rows"))
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    transformer = KerasTransformer(model=model)
    spark.sparkContext.setJobGroup("lazy transform", "lazy transform")
    transformer.transform(df)
    assert list(spark.sparkContext.statusTracker().getJobIdsForGroup("lazy transform")) == []
    stream = spark.readStream.schema("features array<float>").parquet(str(tmp_path / "rows"))
    query = transformer.transform(stream).writeStream.format("memory").queryName("predicted")
    query.trigger(availableNow=True).start().awaitTermination(60)
    predicted = spark.table("predicted").orderBy(F.col("features")[0]).collect()
    expected = model.predict(np.array([row[0] for row in rows], "float32"), verbose=0)
    np.testing.assert_allclose([row.prediction for row in predicted], expected, atol=1e-6)
