"""The stages among others of Spark ML: pipelines, tuning, evaluators, Params; and every kind of Keras model in them."""

from __future__ import annotations

import json
import subprocess
import sys

import cloudpickle
import keras
import numpy as np
import pytest
from conftest import LOCAL, environment_with_jax, session_for
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import functions as F

from spark_keras import (
    KerasClassificationModel,
    KerasClassifier,
    KerasEstimator,
    KerasModel,
    KerasRegressionModel,
    KerasRegressor,
    KerasTransformer,
)
from spark_keras.keras_model.archive import KerasArchive

cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROWS = 32
FEATURES = np.random.default_rng(9).normal(size=(ROWS, 3)).astype("float32")
TARGET = (FEATURES @ [1.0, -2.0, 0.5]).astype("float64")
CLASSES = np.digitize(TARGET, [-1.0, 1.0])


def linear(rate=0.1, units=None):
    """A `modelFn`: linear regression, or a small network with `units`."""
    hidden = [keras.layers.Dense(units, "tanh")] if units else []
    model = keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def softmax_model(features=3, classes=3):
    model = keras.Sequential([keras.Input((features,)), keras.layers.Dense(classes, "softmax")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def df():
    rows = [(i, FEATURES[i].tolist(), float(TARGET[i]), int(CLASSES[i]), i % 2) for i in range(ROWS)]
    frame = session_for(LOCAL).createDataFrame(rows, "id int, features array<float>, label double, class int, fold int")
    return frame.coalesce(1).cache()


def predictions(df, column="prediction"):
    return np.array([row[1] for row in sorted(df.select("id", column).collect())])


# --- pipelines -----------------------------------------------------------------------------------------------------


@pytest.mark.compat
def test_pipeline_after_the_feature_stages_of_spark(spark):
    from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler

    colours = ["red", "green", "blue"]
    # The class is the colour, whatever the numbers beside it.
    rows = [(i, colours[i % 3], float(i), 1000.0 - i, ["low", "mid", "high"][i % 3]) for i in range(45)]
    df = spark.createDataFrame(rows, "id int, colour string, a double, b double, answer string").coalesce(1)
    stages = [
        StringIndexer(inputCols=["colour", "answer"], outputCols=["colour index", "label"]),
        OneHotEncoder(inputCols=["colour index"], outputCols=["colour vector"], dropLast=False),
        VectorAssembler(inputCols=["colour vector", "a", "b"], outputCol="assembled"),
        StandardScaler(inputCol="assembled", outputCol="features", withMean=True),
    ]
    classifier = KerasClassifier(model=softmax_model(5), epochs=20, batchSize=5, numWorkers=1, verbose=0)
    fitted = Pipeline(stages=[*stages, classifier]).fit(df)
    out = fitted.transform(df).cache()
    features = np.array([row[1].toArray() for row in sorted(out.select("id", "features").collect())])
    expected = fitted.stages[-1].toKeras().predict(features, verbose=0)
    given = np.array([row[1].toArray() for row in sorted(out.select("id", "probability").collect())])
    np.testing.assert_allclose(given, expected, atol=1e-6)
    assert sorted(fitted.stages[-1].labels) == ["high", "low", "mid"]
    assert MulticlassClassificationEvaluator(metricName="accuracy").evaluate(out) == 1.0


@pytest.mark.slow
def test_evaluators_agree_with_numpy(df):
    classes = KerasClassifier(model=softmax_model(), labelCol="class", numWorkers=1, verbose=0, epochs=3).fit(df)
    probability = classes.toKeras().predict(FEATURES, verbose=0).astype("float64")
    evaluator = MulticlassClassificationEvaluator(labelCol="class", metricName="accuracy")
    out = classes.transform(df).cache()
    assert evaluator.evaluate(out) == pytest.approx(np.mean(probability.argmax(axis=1) == CLASSES), abs=1e-12)
    log_loss = -np.mean(np.log(probability[np.arange(ROWS), CLASSES]))
    assert evaluator.setMetricName("logLoss").evaluate(out) == pytest.approx(log_loss, rel=1e-5)
    regression = KerasRegressor(modelFn=linear, numWorkers=1, verbose=0).fit(df)
    error = regression.toKeras().predict(FEATURES, verbose=0)[:, 0] - TARGET
    rmse = RegressionEvaluator(metricName="rmse").evaluate(regression.transform(df))
    assert rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert regression.evaluate(df)["loss"] == pytest.approx(rmse**2, rel=1e-5)


@pytest.mark.slow
def test_one_vs_rest_predicts_the_class_whose_model_is_surest(df):
    from pyspark.ml.classification import OneVsRest

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy")
    classifier = KerasClassifier(model=model, numWorkers=1, verbose=0, epochs=5)
    fitted = OneVsRest(classifier=classifier, labelCol="class").fit(df)
    scores = np.concatenate([each.toKeras().predict(FEATURES, verbose=0) for each in fitted.models], axis=1)
    assert scores.shape == (ROWS, 3)
    given = predictions(fitted.transform(df))
    np.testing.assert_array_equal(given, scores.argmax(axis=1))
    assert np.mean(given == CLASSES) > 0.6


# --- tuning --------------------------------------------------------------------------------------------------------

RATES = [0.001, 0.2]


def validator_over_rates(regressor, parallelism=2):
    """A CrossValidator with the folds of column `fold`, so that its results can be computed by hand."""
    grid = ParamGridBuilder().addGrid(regressor.modelParams, [{"rate": rate} for rate in RATES]).build()
    return CrossValidator(
        estimator=regressor,
        estimatorParamMaps=grid,
        evaluator=RegressionEvaluator(metricName="mse"),
        numFolds=2,
        foldCol="fold",
        parallelism=parallelism,
    )


def full_batch_fit(rate, rows, epochs):
    """Linear regression by gradient descent on all rows, from weights 0, in float64."""
    x = np.concatenate([FEATURES[rows].astype("float64"), np.ones((len(rows), 1))], axis=1)
    weights = np.zeros(4)
    for _ in range(epochs):
        weights -= rate * 2 / len(rows) * x.T @ (x @ weights - TARGET[rows])
    return weights


def zero_linear(rate):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def expected_metrics(epochs):
    """Mean squared error on the fold left out, mean over the two folds, for each learning rate."""
    fold = np.arange(ROWS) % 2
    metrics = []
    for rate in RATES:
        errors = []
        for left_out in (0, 1):
            weights = full_batch_fit(rate, np.flatnonzero(fold != left_out), epochs)
            rows = np.flatnonzero(fold == left_out)
            errors.append(np.mean((FEATURES[rows] @ weights[:3] + weights[3] - TARGET[rows]) ** 2))
        metrics.append(np.mean(errors))
    return metrics


@pytest.mark.oldest
@pytest.mark.slow
def test_cross_validator_with_parallel_fits_finds_the_metrics_of_gradient_descent(df):
    regressor = KerasRegressor(modelFn=zero_linear, numWorkers=1, epochs=3, batchSize=ROWS, verbose=0)
    fitted = validator_over_rates(regressor).fit(df)
    np.testing.assert_allclose(fitted.avgMetrics, expected_metrics(epochs=3), rtol=1e-4)
    assert fitted.bestModel.summary.numWorkers == 1
    weights = np.concatenate([w.reshape(-1) for w in fitted.bestModel.toKeras().get_weights()])
    np.testing.assert_allclose(weights, full_batch_fit(0.2, np.arange(ROWS), 3), atol=1e-5)


@pytest.mark.slow
def test_parallel_fits_that_want_all_slots_wait_for_each_other(df):
    """Two shards of equal size and an averaging after each minibatch of all its rows: again full-batch descent."""
    regressor = KerasRegressor(modelFn=zero_linear, epochs=2, batchSize=ROWS, averagingFrequency=1, verbose=0)
    fitted = validator_over_rates(regressor).fit(df)
    np.testing.assert_allclose(fitted.avgMetrics, expected_metrics(epochs=2), rtol=1e-4)
    assert fitted.bestModel.summary.numWorkers == 2


@pytest.mark.slow
def test_train_validation_split_takes_the_better_model(df):
    regressor = KerasRegressor(modelFn=zero_linear, epochs=3, batchSize=ROWS, verbose=0)
    grid = ParamGridBuilder().addGrid(regressor.modelParams, [{"rate": rate} for rate in RATES]).build()
    split = TrainValidationSplit(
        estimator=regressor, estimatorParamMaps=grid, evaluator=RegressionEvaluator(), parallelism=2, seed=3
    )
    fitted = split.fit(df)
    assert fitted.validationMetrics[1] < fitted.validationMetrics[0]
    assert fitted.bestModel.summary.numWorkers == 2
    assert float(fitted.bestModel.toKeras().optimizer.learning_rate) == pytest.approx(0.2)


def test_grid_over_model_params_varies_the_architecture(df):
    regressor = KerasRegressor(modelFn=linear, numWorkers=1, verbose=0)
    grid = ParamGridBuilder().addGrid(regressor.modelParams, [{"units": 2}, {"units": 5}]).build()
    shapes = [fitted.toKeras().layers[0].kernel.shape for fitted in regressor.fit(df, grid)]
    assert [tuple(shape) for shape in shapes] == [(3, 2), (3, 5)]
    assert regressor.getModelParams() == {}


@pytest.mark.slow
def test_fits_with_one_callback_in_parallel_do_not_share_it(df):
    class Epochs(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(epoch)
            self.model.optimizer.learning_rate = 0.0  # this model's, and no other's

    regressor = KerasRegressor(modelFn=zero_linear, numWorkers=1, epochs=2, verbose=0, batchSize=ROWS)
    regressor.setCallbacks([Epochs()])
    fitted = validator_over_rates(regressor).fit(df)
    # A learning rate of 0 after the first epoch leaves one step of gradient descent.
    np.testing.assert_allclose(fitted.avgMetrics, expected_metrics(epochs=1), rtol=1e-4)


# --- Params --------------------------------------------------------------------------------------------------------

STAGES = [
    KerasEstimator,
    KerasClassifier,
    KerasRegressor,
    KerasModel,
    KerasClassificationModel,
    KerasRegressionModel,
    KerasTransformer,
]
VALUES = {
    "averaging": "workers",
    "averagingFrequency": "epoch",
    "batchSize": 7,
    "cacheFrozenFeatures": True,
    "callbacks": [keras.callbacks.TerminateOnNaN()],
    "checkpointDir": "folder",
    "checkpointInterval": "30s",
    "cpusPerWorker": 2,
    "customObjects": {"Layer": keras.layers.Layer},
    "epochs": 3,
    "initialEpoch": 1,
    "featuresCol": "f",
    "featuresCols": ["a", "b"],
    "globalBatch": True,
    "handleInvalid": "skip",
    "inputCols": {"x": "a"},
    "jitCompile": True,
    "joinTimeout": 20.0,
    "labelCol": "l",
    "labelCols": ["l", "m"],
    "weightCols": ["v", "w"],
    "classWeight": {0: 0.5, 3: 2.0},
    "learningRateScaling": "sqrt",
    "learningRateWarmup": 3,
    "maxFailures": 2,
    "maxShardMemory": 2**30,
    "mode": "asynchronous",
    "combine": "sum",
    "compression": "threshold",
    "overlap": True,
    "model": KerasArchive(b"archive"),
    "modelFn": linear,
    "modelParams": {"units": 3},
    "nonFinite": "skip",
    "numWorkers": 2,
    "optimizerState": "reset",
    "outerOptimizer": "adam",
    "outputCols": ["o"],
    "outputFormat": "vector",
    "outputLayer": "hidden",
    "outputType": "logits",
    "predictionCol": "p",
    "prefetch": 5,
    "probabilityCol": "q",
    "rawPredictionCol": "r",
    "seed": 11,
    "shuffle": False,
    "threshold": 0.5,
    "thresholds": [0.2, 0.8],
    "validationIndicatorCol": "v",
    "validationSplit": 0.1,
    "verbose": 2,
    "weightCol": "w",
    "workerTimeout": 30.0,
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_param_has_a_getter_and_a_setter_that_returns_the_stage(spark, stage):
    empty = stage()
    for param in empty.params:
        suffix, value = param.name[0].upper() + param.name[1:], VALUES[param.name]
        assert param.doc
        assert getattr(empty, f"set{suffix}")(value) is empty
        assert getattr(empty, f"get{suffix}")() == value
    assert stage().extractParamMap() != empty.extractParamMap()


@pytest.mark.parametrize("stage", STAGES)
def test_stage_without_arguments_explains_its_params_and_has_defaults_that_json_can_hold(spark, stage):
    empty = stage()
    explained = empty.explainParams()
    for param in empty.params:
        assert f"{param.name}: {param.doc}" in explained
        if empty.hasDefault(param):
            json.dumps(empty.getOrDefault(param))
    assert empty.uid.startswith(stage.__name__)


@pytest.mark.parametrize("stage", [KerasEstimator, KerasClassifier, KerasRegressor, KerasTransformer])
def test_constructor_takes_every_param_by_name(spark, stage):
    given = {param.name: VALUES[param.name] for param in stage().params}
    filled = stage(**given)
    assert {name: filled.getOrDefault(name) for name in given} == given


def test_copy_changes_nothing_in_the_original(spark):
    original = KerasRegressor(modelFn=linear, epochs=2)
    changed = original.copy({original.epochs: 5, original.labelCol: "other"})
    assert (changed.getEpochs(), changed.getLabelCol(), changed.uid) == (5, "other", original.uid)
    assert (original.getEpochs(), original.getLabelCol()) == (2, "label")
    changed.setBatchSize(3)
    assert original.getBatchSize() == 32


def test_model_is_taken_as_it_is_when_it_is_set(df):
    """Neither a fit nor a change of the user's own model afterwards reaches the other."""
    model = zero_linear(0.1)
    regressor = KerasRegressor(model=model, numWorkers=1, verbose=0, batchSize=ROWS)
    fitted = regressor.fit(df)
    assert not model.get_weights()[0].any()
    model.set_weights([np.full((3, 1), 9.0), np.zeros(1)])
    np.testing.assert_array_equal(regressor.fit(df).toKeras().get_weights()[0], fitted.toKeras().get_weights()[0])


def test_params_of_a_fit_override_those_of_the_estimator(df):
    regressor = KerasRegressor(modelFn=linear, numWorkers=1, verbose=0)
    fitted = regressor.fit(df, {regressor.epochs: 3, regressor.predictionCol: "p"})
    assert fitted.summary.epochs == 3 and fitted.getPredictionCol() == "p"
    assert fitted.uid == regressor.uid


def test_model_explains_what_it_holds(spark):
    text = KerasTransformer(model=zero_linear(0.1)).explainParam("model")
    assert "Sequential" in text and "4 parameters" in text


# --- kinds of models -----------------------------------------------------------------------------------------------


def assert_fit_equals_keras(df, model, y=TARGET, *, epochs=3, estimator=KerasRegressor, **params):
    """One worker and batches of all rows: the order of the rows does not matter, and plain Keras is the oracle."""
    fitted = estimator(model=model, numWorkers=1, epochs=epochs, batchSize=ROWS, verbose=0, **params).fit(df)
    history = model.fit(FEATURES, y, epochs=epochs, batch_size=ROWS, verbose=0, shuffle=False)
    for one, other in zip(fitted.toKeras().get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for name, values in history.history.items():
        np.testing.assert_allclose(fitted.summary.history[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    return fitted


@keras.saving.register_keras_serializable("test_spark_ml")
class Subclassed(keras.Model):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.hidden = keras.layers.Dense(units, "tanh")
        self.last = keras.layers.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_subclassed_model_trains_as_in_keras(df):
    model = Subclassed(4)
    model.compile("adam", "mse", metrics=["mae"])
    model(FEATURES)  # makes the weights, which the fit starts from
    fitted = assert_fit_equals_keras(df, model)
    given = predictions(fitted.transform(df))
    np.testing.assert_allclose(given, model.predict(FEATURES, verbose=0)[:, 0], atol=1e-5)


@keras.saving.register_keras_serializable("test_spark_ml")
class SubclassedClassifier(Subclassed):
    def __init__(self, units, **options):
        super().__init__(units, **options)
        self.last = keras.layers.Dense(3, "softmax")


def test_subclassed_model_that_was_never_built_takes_its_shape_from_the_data(df):
    model = SubclassedClassifier(4)
    model.compile("adam", "sparse_categorical_crossentropy")
    fitted = KerasClassifier(model=model, labelCol="class", numWorkers=1, verbose=0).fit(df)
    assert fitted.numClasses == 3
    expected = fitted.toKeras().predict(FEATURES, verbose=0)
    given = predictions(fitted.transform(df), "probability")
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_sequential_without_an_input_layer_takes_its_shape_from_the_data(df):
    model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.2), "mse")
    fitted = KerasRegressor(model=model, numWorkers=1, epochs=3, batchSize=ROWS, verbose=0).fit(df)
    weights = np.concatenate([w.reshape(-1) for w in fitted.toKeras().get_weights()])
    np.testing.assert_allclose(weights, full_batch_fit(0.2, np.arange(ROWS), 3), atol=1e-5)


def test_adapted_normalization_layer_normalizes_in_training(df):
    normalization = keras.layers.Normalization()
    normalization.adapt(FEATURES * 5 + 3)
    model = keras.Sequential([keras.Input((3,)), normalization, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    assert_fit_equals_keras(df, model)


@keras.saving.register_keras_serializable("test_spark_ml")
class RegisteredTanh(keras.layers.Layer):
    def call(self, x):
        return keras.ops.tanh(x)


@keras.saving.register_keras_serializable("test_spark_ml")
def registered_loss(y, prediction):
    return keras.ops.mean(keras.ops.abs(y - prediction) ** 1.5, axis=-1)


@keras.saving.register_keras_serializable("test_spark_ml")
class RegisteredBias(keras.metrics.Mean):
    """Mean of prediction − label."""

    def update_state(self, y, prediction, sample_weight=None):
        super().update_state(prediction - y, sample_weight)


def test_registered_layer_loss_and_metric_train_as_in_keras(df):
    layers = [keras.Input((3,)), keras.layers.Dense(4), RegisteredTanh(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", registered_loss, metrics=[RegisteredBias(name="bias")])
    fitted = assert_fit_equals_keras(df, model)
    assert set(fitted.summary.history) == {"loss", "bias"}
    error = fitted.toKeras().predict(FEATURES, verbose=0)[:, 0] - TARGET
    assert fitted.evaluate(df)["bias"] == pytest.approx(error.mean(), abs=1e-5)


@pytest.mark.slow
def test_several_inputs_and_outputs_with_loss_weights_train_as_in_keras(df):
    keras.utils.set_random_seed(4)
    left, right = keras.Input((2,), name="left"), keras.Input((1,), name="right")
    hidden = keras.layers.Dense(4, "tanh")(keras.layers.Concatenate()([left, right]))
    outputs = [keras.layers.Dense(1, name="number")(hidden), keras.layers.Dense(3, "softmax", name="kind")(hidden)]
    model = keras.Model([left, right], outputs)
    losses = {"number": "mse", "kind": "sparse_categorical_crossentropy"}
    metrics = {"number": ["mae"], "kind": ["accuracy"]}
    model.compile("adam", losses, loss_weights={"number": 0.3, "kind": 2.0}, metrics=metrics)
    split = df.select("*", F.slice("features", 1, 2).alias("l"), F.col("features")[2].alias("r"))
    estimator = KerasEstimator(
        model=model,
        inputCols={"right": "r", "left": "l"},
        labelCols={"kind": "class", "number": "label"},
        outputCols={"kind": "k", "number": "n"},
        numWorkers=1,
        epochs=3,
        batchSize=ROWS,
        verbose=0,
    )
    fitted = estimator.fit(split)
    x = {"left": FEATURES[:, :2], "right": FEATURES[:, 2:]}
    y = {"number": TARGET[:, None], "kind": CLASSES}
    history = model.fit(x, y, epochs=3, batch_size=ROWS, verbose=0, shuffle=False).history
    for one, other in zip(fitted.toKeras().get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert set(fitted.summary.history) == set(history)
    for name, values in history.items():
        np.testing.assert_allclose(fitted.summary.history[name], values, rtol=1e-4, err_msg=name)
    out = fitted.transform(split).cache()
    for column, expected in zip("nk", model.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(predictions(out, column), expected, atol=1e-5)
    evaluated, expected = fitted.evaluate(split), model.evaluate(x, y, verbose=0, return_dict=True)
    assert evaluated == pytest.approx(expected, rel=1e-4)


# --- a script of its own: classes of __main__, and the FAIR scheduler ------------------------------------------------

SCRIPT = """
import json
import sys

import keras
import numpy as np
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession

from spark_keras import KerasRegressor


class Passed(keras.layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("script")
class Registered(keras.layers.Layer):
    def call(self, x):
        return x / 2


def loss(y, prediction):
    return keras.ops.square(y - prediction)


class Bias(keras.metrics.Mean):
    def update_state(self, y, prediction, sample_weight=None):
        super().update_state(prediction - y, sample_weight)


OBJECTS = {"Passed": Passed, "loss": loss, "Bias": Bias}


def build(rate):
    layers = [keras.Input((3,)), Passed(), Registered(), keras.layers.Dense(1, kernel_initializer="zeros")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=[Bias(name="bias")])
    return model


spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.scheduler.mode", "FAIR")
    .getOrCreate()
)
rows = json.load(open(sys.argv[1]))
df = spark.createDataFrame(rows, "features array<float>, label double, fold int").coalesce(1).cache()
regressor = KerasRegressor(
    modelFn=build, customObjects=OBJECTS, epochs=2, batchSize=len(rows), averagingFrequency=1, verbose=0
)
grid = ParamGridBuilder().addGrid(regressor.modelParams, [{"rate": rate} for rate in json.loads(sys.argv[2])]).build()
validator = CrossValidator(
    estimator=regressor,
    estimatorParamMaps=grid,
    evaluator=RegressionEvaluator(metricName="mse"),
    numFolds=2,
    foldCol="fold",
    parallelism=2,
)
fitted = validator.fit(df)
best = fitted.bestModel
print(
    "RESULT",
    json.dumps(
        {
            "mode": spark.sparkContext.getConf().get("spark.scheduler.mode"),
            "metrics": fitted.avgMetrics,
            "workers": best.summary.numWorkers,
            "weights": [w.reshape(-1).tolist() for w in best.toKeras().get_weights()],
            "bias": best.evaluate(df)["bias"],
            "predictions": [row.prediction for row in best.transform(df).collect()],
        }
    ),
)
"""


@pytest.mark.slow
def test_script_with_its_own_classes_cross_validates_under_the_fair_scheduler(tmp_path):
    script, data = tmp_path / "script.py", tmp_path / "rows.json"
    script.write_text(SCRIPT)
    data.write_text(json.dumps([[FEATURES[i].tolist(), TARGET[i], i % 2] for i in range(ROWS)]))
    run = subprocess.run(
        [sys.executable, str(script), str(data), json.dumps(RATES)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment_with_jax(),
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, run.stderr[-3000:]
    result = json.loads(lines[0].removeprefix("RESULT "))
    assert (result["mode"], result["workers"]) == ("FAIR", 2)
    # The two layers cancel out, which leaves linear regression.
    np.testing.assert_allclose(result["metrics"], expected_metrics(epochs=2), rtol=1e-4)
    weights = full_batch_fit(RATES[1], np.arange(ROWS), 2)
    np.testing.assert_allclose(np.concatenate(result["weights"]), weights, atol=1e-5)
    expected = FEATURES @ weights[:3] + weights[3]
    np.testing.assert_allclose(result["predictions"], expected, atol=1e-5)
    assert result["bias"] == pytest.approx(np.mean(expected - TARGET), abs=1e-5)
