"""The table of Params, against lists of Params that were written by hand before there was a table."""

from __future__ import annotations

import inspect

import pytest

import spark_keras
from spark_keras.params.row import Decides, Row
from spark_keras.params.table import OBJECT_PARAMS, TABLE, decisive

ESTIMATORS = ["KerasClassifier", "KerasEstimator", "KerasRegressor"]
MODELS = ["KerasClassificationModel", "KerasModel", "KerasRegressionModel"]

IDENTITY = {
    "epochs": 1,
    "batchSize": 32,
    "shuffle": True,
    "seed": 0,
    "averagingFrequency": 10,
    "optimizerState": "average",
    "jitCompile": "auto",
    "validationSplit": 0.0,
    "nonFinite": "error",
}


def test_row_that_does_not_say_what_it_decides_is_refused():
    told = {"mixin": "HasTraining", "name": "rate", "type": "float", "doc": "of learning", "converter": float}
    assert Row(**told, decides=Decides.NOTHING).name == "rate"
    with pytest.raises(TypeError, match="decides"):
        Row(**told)


@pytest.mark.parametrize("name", [*ESTIMATORS, *MODELS, "KerasTransformer"])
def test_every_param_of_a_stage_is_in_the_table(name):
    stage = getattr(spark_keras, name)()
    mixins = [each.__name__ for each in type(stage).__mro__ if each.__name__ in TABLE.mixins]
    rows = {row.name: row for row in TABLE.of(*mixins)}
    assert {param.name for param in stage.params} == set(rows)
    for param in stage.params:
        row = rows[param.name]
        assert row.converter is None or (param.typeConverter, param.doc) == (row.converter, row.doc)


@pytest.mark.parametrize("name", list(TABLE.constructors))
def test_constructor_has_a_keyword_and_a_sentence_for_every_param(name):
    stage = getattr(spark_keras, name)
    parameters = inspect.signature(stage).parameters
    assert set(parameters) == {param.name for param in stage().params}
    assert {each.kind for each in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(f"\n            {parameter}: " in stage.__init__.__doc__ for parameter in parameters)


def test_default_objects_are_not_shared_between_stages():
    one, other = spark_keras.KerasRegressor(), spark_keras.KerasRegressor()
    one.getCallbacks().append("a callback")
    one.getModelParams()["units"] = 8
    assert (other.getCallbacks(), other.getModelParams()) == ([], {})


@pytest.mark.parametrize("name", ESTIMATORS)
def test_checkpoints_are_those_of_the_same_params_as_in_the_first_release(name):
    assert decisive(getattr(spark_keras, name)()) == IDENTITY


def test_changed_params_are_those_of_another_fit():
    changed = {
        "epochs": 3,
        "batchSize": 4,
        "shuffle": False,
        "seed": 1,
        "averagingFrequency": "epoch",
        "optimizerState": "local",
        "jitCompile": False,
        "validationSplit": 0.5,
        "nonFinite": "skip",
        "initialEpoch": 2,
        "mode": "asynchronous",
        "combine": "sum",
        "compression": "float16",
        "overlap": True,
        "outerOptimizer": "adam",
        "learningRateScaling": "sqrt",
        "learningRateWarmup": 5,
        "cacheFrozenFeatures": True,
    }
    assert {row.name for row in TABLE.deciding(Decides.BITS_IF_CHANGED)} <= set(changed)
    assert decisive(spark_keras.KerasRegressor(**changed, numWorkers=3, prefetch=0, verbose=0)) == changed


def test_kept_rows_depend_on_columns_validation_and_workers():
    assert {row.name for row in TABLE.deciding(Decides.ROWS)} == {
        *("featuresCol", "featuresCols", "inputCols", "labelCol", "labelCols", "weightCol", "weightCols"),
        *("validationIndicatorCol", "validationSplit", "numWorkers", "cpusPerWorker", "seed"),
    }


def test_live_objects_are_not_saved_as_json():
    assert {"model", "modelFn", "customObjects", "callbacks"} == OBJECT_PARAMS
