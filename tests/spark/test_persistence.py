"""What is saved comes back: Params, model, summary, predictions; and what cannot be saved says so."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap

import cloudpickle
import keras
import numpy as np
import pytest
from conftest import environment_with_jax, labelled_frame
from pyspark.ml import Pipeline, PipelineModel

from spark_keras import (
    KerasClassificationModel,
    KerasClassifier,
    KerasEstimator,
    KerasModel,
    KerasRegressionModel,
    KerasRegressor,
    KerasTransformer,
)
from spark_keras.params.table import OBJECT_PARAMS

cloudpickle.register_pickle_by_value(sys.modules[__name__])

FEATURES = np.random.default_rng(5).normal(size=(16, 3)).astype("float32")
LABELS = (FEATURES[:, 0] > 0).astype("float64")


def dense_model(outputs=1, activation=None, loss="mse", optimizer="adam"):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs, activation)])
    model.compile(optimizer, loss, metrics=["mae" if loss == "mse" else "accuracy"])
    return model


def build_model(units=4):
    """A `modelFn` that cannot be imported where only the package is on the path, but can be in this process."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture(scope="module")
def df():
    return labelled_frame(FEATURES, LABELS)


@pytest.fixture(scope="module")
def classification(df):
    model = dense_model(2, "softmax", "sparse_categorical_crossentropy")
    classifier = KerasClassifier(
        model=model, numWorkers=1, verbose=0, epochs=2, validationSplit=0.3, thresholds=[0.4, 0.6], batchSize=4
    )
    return classifier.fit(df)


def rows_of(df):
    return sorted(df.collect(), key=lambda row: row.id)


def params_of(stage):
    """Set Params and defaults by name."""
    values = {param.name: value for param, value in stage._paramMap.items()}
    return values, {param.name: value for param, value in stage._defaultParamMap.items()}


# --- round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fitted_classifier_comes_back_with_predictions_params_summary_and_uid(df, classification, tmp_path):
    classification.save(str(tmp_path / "m"))
    loaded = KerasClassificationModel.load(str(tmp_path / "m"))
    assert rows_of(loaded.transform(df)) == rows_of(classification.transform(df))
    assert params_of(loaded) == params_of(classification)
    assert loaded.uid == classification.uid
    assert loaded.hasSummary and loaded.summary == classification.summary
    assert loaded.summary.history["val_loss"] == classification.summary.history["val_loss"]
    assert loaded.evaluate(df) == pytest.approx(classification.evaluate(df), rel=1e-6)


def test_labels_of_the_classes_come_back(spark, df, tmp_path):
    from pyspark.ml.feature import StringIndexer

    named = df.selectExpr("id", "features", "if(label > 0, 'yes', 'no') as answer")
    named = StringIndexer(inputCol="answer", outputCol="label").fit(named).transform(named)
    model = dense_model(2, "softmax", "sparse_categorical_crossentropy")
    fitted = KerasClassifier(model=model, numWorkers=1, verbose=0).fit(named)
    fitted.save(str(tmp_path / "m"))
    loaded = KerasClassificationModel.load(str(tmp_path / "m"))
    assert sorted(loaded.labels) == ["no", "yes"] and loaded.labels == fitted.labels
    assert loaded.transform(named).schema["prediction"].metadata["ml_attr"]["vals"] == fitted.labels


@pytest.mark.parametrize(
    "estimator, model_class", [(KerasRegressor, KerasRegressionModel), (KerasEstimator, KerasModel)]
)
def test_fitted_regressor_and_estimator_come_back(df, estimator, model_class, tmp_path):
    fitted = estimator(model=dense_model(), numWorkers=1, verbose=0, predictionCol="p").fit(df)
    fitted.save(str(tmp_path / "m"))
    loaded = model_class.load(str(tmp_path / "m"))
    assert rows_of(loaded.transform(df)) == rows_of(fitted.transform(df))
    assert params_of(loaded) == params_of(fitted) and loaded.summary == fitted.summary


def test_transformer_comes_back(df, tmp_path):
    stage = KerasTransformer(model=dense_model(2), predictionCol="p", batchSize=3, handleInvalid="keep")
    stage.save(str(tmp_path / "t"))
    loaded = KerasTransformer.load(str(tmp_path / "t"))
    assert params_of(loaded) == params_of(stage)
    assert rows_of(loaded.transform(df)) == rows_of(stage.transform(df))


ESTIMATOR_PARAMS = {
    "inputCols": {"features": "f"},
    "labelCols": ["a", "b"],
    "weightCols": ["v", "w"],
    "classWeight": {0: 0.5, 3: 2.0},
    "outputCols": {"x": "y"},
    "outputFormat": "vector",
    "weightCol": "w",
    "validationSplit": 0.25,
    "epochs": 7,
    "initialEpoch": 2,
    "batchSize": 5,
    "globalBatch": True,
    "learningRateScaling": "sqrt",
    "learningRateWarmup": 5,
    "shuffle": False,
    "numWorkers": 3,
    "cpusPerWorker": 2,
    "maxShardMemory": 2**31,
    "prefetch": 0,
    "jitCompile": "measure",
    "mode": "asynchronous",
    "averaging": "workers",
    "combine": "sum",
    "compression": "bfloat16",
    "overlap": True,
    "cacheFrozenFeatures": True,
    "averagingFrequency": "epoch",
    "optimizerState": "reset",
    "outerOptimizer": "adam",
    "maxFailures": 2,
    "workerTimeout": 30.0,
    "joinTimeout": 20.0,
    "nonFinite": "skip",
    "checkpointDir": "folder",
    "checkpointInterval": "30s",
    "seed": 2**40,
    "verbose": 2,
    "handleInvalid": "skip",
    "modelParams": {"units": 3},
}


def test_estimator_comes_back_with_every_param_and_its_model(spark, tmp_path):
    estimator = KerasEstimator(model=dense_model(), **ESTIMATOR_PARAMS)
    estimator.save(str(tmp_path / "e"))
    loaded = KerasEstimator.load(str(tmp_path / "e"))
    assert params_of(loaded) == params_of(estimator)
    assert {name: loaded.getOrDefault(name) for name in ESTIMATOR_PARAMS} == ESTIMATOR_PARAMS
    # All but those that others exclude and those whose values are objects.
    others = {"featuresCol", "featuresCols", "labelCol", "predictionCol", "validationIndicatorCol"} | OBJECT_PARAMS
    assert {param.name for param in estimator.params} - others <= set(ESTIMATOR_PARAMS)
    assert loaded.uid == estimator.uid


def test_loaded_estimator_trains_to_the_same_bits(df, tmp_path):
    estimator = KerasRegressor(model=dense_model(), numWorkers=1, verbose=0, batchSize=4, epochs=2)
    estimator.save(str(tmp_path / "e"))
    first = estimator.fit(df).toKeras().get_weights()
    second = KerasRegressor.load(str(tmp_path / "e")).fit(df).toKeras().get_weights()
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_training_goes_on_from_a_saved_model_with_its_optimizer(df, tmp_path):
    """Two epochs at once = one epoch, saved, loaded, and one more: Adam's moments and step count are in the archive."""
    params = {"numWorkers": 1, "verbose": 0, "batchSize": 4, "shuffle": False}
    both = KerasRegressor(model=dense_model(), epochs=2, **params).fit(df)
    KerasRegressor(model=dense_model(), epochs=1, **params).fit(df).save(str(tmp_path / "m"))
    halfway = KerasRegressionModel.load(str(tmp_path / "m"))
    after = KerasRegressor(model=halfway.getModel(), epochs=1, **params).fit(df).toKeras()
    assert int(after.optimizer.iterations) == 2 * math.ceil(len(FEATURES) / 4)
    for one, other in zip(both.toKeras().get_weights(), after.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.compat
def test_pipeline_and_fitted_pipeline_come_back(df, tmp_path):
    from pyspark.ml.feature import VectorAssembler

    flat = df.selectExpr("id", "features[0] as a", "features[1] as b", "features[2] as c", "label")
    classifier = KerasClassifier(
        model=dense_model(1, "sigmoid", "binary_crossentropy"), featuresCol="vector", numWorkers=1, verbose=0
    )
    pipeline = Pipeline(stages=[VectorAssembler(inputCols=["a", "b", "c"], outputCol="vector"), classifier])
    pipeline.save(str(tmp_path / "pipeline"))
    fitted = Pipeline.load(str(tmp_path / "pipeline")).fit(flat)
    fitted.save(str(tmp_path / "fitted"))
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    assert rows_of(loaded.transform(flat)) == rows_of(fitted.transform(flat))
    assert rows_of(pipeline.fit(flat).transform(flat)) == rows_of(fitted.transform(flat))
    assert loaded.stages[-1].uid == classifier.uid


@pytest.mark.slow
def test_cross_validator_model_comes_back(df, tmp_path):
    from pyspark.ml.evaluation import RegressionEvaluator
    from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder

    regressor = KerasRegressor(model=dense_model(), numWorkers=1, verbose=0)
    grid = ParamGridBuilder().addGrid(regressor.epochs, [1, 2]).addGrid(regressor.averagingFrequency, ["epoch"]).build()
    validator = CrossValidator(
        estimator=regressor, estimatorParamMaps=grid, evaluator=RegressionEvaluator(), numFolds=2, seed=1
    )
    validator.save(str(tmp_path / "cv"))
    validator = CrossValidator.load(str(tmp_path / "cv"))
    fitted = validator.fit(df)
    fitted.save(str(tmp_path / "fitted"))
    loaded = CrossValidatorModel.load(str(tmp_path / "fitted"))
    assert loaded.avgMetrics == fitted.avgMetrics and len(loaded.avgMetrics) == 2
    assert rows_of(loaded.transform(df)) == rows_of(fitted.transform(df))
    assert loaded.bestModel.summary == fitted.bestModel.summary


# --- files ---------------------------------------------------------------------------------------------------------


def test_model_file_is_a_keras_archive(classification, tmp_path):
    classification.save(str(tmp_path / "m"))
    model = keras.saving.load_model(tmp_path / "m" / "model.keras")
    expected = classification.toKeras().predict(FEATURES, verbose=0)
    np.testing.assert_array_equal(model.predict(FEATURES, verbose=0), expected)
    assert model.compiled
    summary = json.loads((tmp_path / "m" / "summary.json").read_text())
    assert summary["epochs"] == 2 and len(summary["history"]["loss"]) == 2


def test_existing_path_is_refused_unless_overwritten(df, classification, tmp_path):
    path = str(tmp_path / "m")
    KerasTransformer(model=dense_model(3)).save(path)
    with pytest.raises(Exception, match="already exists"):
        classification.save(path)
    assert KerasTransformer.load(path).toKeras().output_shape == (None, 3)
    classification.write().overwrite().save(path)
    assert rows_of(KerasClassificationModel.load(path).transform(df)) == rows_of(classification.transform(df))


@pytest.mark.parametrize("folder", ["plain", "with space", "ünï"])
def test_uris_of_hadoop_file_systems_work(tmp_path, folder):
    path = f"file://{tmp_path}/{folder}"
    stage = KerasTransformer(model=dense_model(2))
    stage.save(path)
    assert os.path.exists(tmp_path / folder / "model.keras")
    assert KerasTransformer.load(path).getModel() == stage.getModel()


def test_missing_path_is_refused(spark, tmp_path):
    with pytest.raises(Exception, match="nowhere"):
        KerasTransformer.load(str(tmp_path / "nowhere"))


def test_another_stage_is_refused_with_both_class_names(spark, tmp_path):
    KerasTransformer(model=dense_model()).save(str(tmp_path / "t"))
    with pytest.raises(ValueError, match="KerasTransformer.*Expected.*KerasRegressor"):
        KerasRegressor.load(str(tmp_path / "t"))


# --- code ----------------------------------------------------------------------------------------------------------


def test_safe_mode_refuses_a_lambda_layer_unless_it_is_off(df, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    KerasTransformer(model=model).save(str(tmp_path / "t"))
    loaded = KerasTransformer.load(str(tmp_path / "t"))
    with pytest.raises(Exception, match="(?i)lambda"):
        loaded.toKeras()
    with pytest.raises(Exception, match="(?i)lambda"):
        loaded.transform(df).collect()
    trusted = KerasTransformer.read().safeMode(False).load(str(tmp_path / "t"))
    given = [row.prediction for row in rows_of(trusted.transform(df))]
    np.testing.assert_allclose(given, FEATURES * 2, rtol=1e-6)


def test_model_function_is_saved_by_its_import_name(df, tmp_path):
    params = {"modelParams": {"units": 2}, "numWorkers": 1, "verbose": 0}
    estimator = KerasRegressor(modelFn=build_model, **params)
    estimator.save(str(tmp_path / "e"))
    loaded = KerasRegressor.load(str(tmp_path / "e"))
    assert loaded.getModelFn() is build_model
    first, second = (each.fit(df).toKeras().get_weights() for each in (estimator, loaded))
    assert first[0].shape == (3, 2)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_function_without_an_import_name_is_refused(spark, tmp_path):
    def local():
        return dense_model()

    for function in (local, lambda: dense_model()):
        with pytest.raises(ValueError, match="`modelFn`.*Received.*imported by name.*Expected"):
            KerasRegressor(modelFn=function).save(str(tmp_path / "e"))


@pytest.mark.slow
def test_model_function_of_the_main_script_is_refused(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            from spark_keras import KerasRegressor

            def build():
                return None

            try:
                KerasRegressor(modelFn=build).save({str(tmp_path / "e")!r})
            except ValueError as error:
                print("REFUSED", error)
        """)
    )
    environment = environment_with_jax()
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200, env=environment)
    assert "REFUSED Param `modelFn` cannot be saved" in run.stdout, run.stderr[-3000:]


def test_callbacks_are_left_out_with_a_warning(spark, tmp_path):
    callback = keras.callbacks.TerminateOnNaN()
    with pytest.warns(RuntimeWarning, match="Callbacks are not saved.*TerminateOnNaN"):
        KerasRegressor(model=dense_model(), callbacks=[callback]).save(str(tmp_path / "e"))
    assert KerasRegressor.load(str(tmp_path / "e")).getCallbacks() == []


@keras.saving.register_keras_serializable("test_persistence")
class RegisteredScale(keras.layers.Layer):
    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class UnregisteredScale(RegisteredScale):
    pass


def test_model_with_a_registered_layer_comes_back_on_its_own(df, tmp_path):
    model = keras.Sequential([keras.Input((3,)), RegisteredScale(3.0)])
    KerasTransformer(model=model).save(str(tmp_path / "t"))
    given = [row.prediction for row in rows_of(KerasTransformer.load(str(tmp_path / "t")).transform(df))]
    np.testing.assert_allclose(given, FEATURES * 3, rtol=1e-6)


def test_model_with_another_custom_layer_needs_custom_objects_after_loading(df, tmp_path):
    model = keras.Sequential([keras.Input((3,)), UnregisteredScale(4.0)])
    objects = {"UnregisteredScale": UnregisteredScale}
    KerasTransformer(model=model, customObjects=objects).save(str(tmp_path / "t"))
    loaded = KerasTransformer.load(str(tmp_path / "t"))
    with pytest.raises(ValueError, match="UnregisteredScale[\\s\\S]*customObjects"):
        loaded.transform(df)
    loaded.setCustomObjects(objects)
    given = [row.prediction for row in rows_of(loaded.transform(df))]
    np.testing.assert_allclose(given, FEATURES * 4, rtol=1e-6)


def test_model_without_a_summary_says_so(spark, tmp_path):
    bare = KerasRegressionModel(model=dense_model())
    bare.save(str(tmp_path / "m"))
    loaded = KerasRegressionModel.load(str(tmp_path / "m"))
    assert not loaded.hasSummary
    with pytest.raises(RuntimeError, match="No training summary available for this KerasRegressionModel"):
        _ = loaded.summary
