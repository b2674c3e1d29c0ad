"""Stages as pickles and copies."""

from __future__ import annotations

import copy
import pickle
import threading

import cloudpickle
import keras
import pytest
from pyspark.ml import PipelineModel

from spark_keras import (
    EarlyStopping,
    KerasClassifier,
    KerasEstimator,
    KerasModel,
    KerasRegressionModel,
    KerasRegressor,
    KerasTransformer,
)


def dense_model(units=1):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    return model


class Scaled(keras.layers.Layer):
    def call(self, x):
        return 3 * x


def local_builder(units):
    def build(extra=0):
        return dense_model(units + extra)

    return build


def values_of(stage):
    return {param.name: value for param, value in stage._paramMap.items()}


WAYS = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x))}
WAYS["deepcopy"] = copy.deepcopy
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@every_way
def test_estimators_come_back_with_params_functions_and_callbacks(way):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    estimator = KerasClassifier(
        modelFn=local_builder(2),
        modelParams={"extra": 1},
        callbacks=[callback],
        customObjects={"Scaled": Scaled},
        epochs=7,
        thresholds=[0.2, 0.8],
        inputCols=["a", "b"],
    )
    again = way(estimator)
    assert type(again) is KerasClassifier and again is not estimator and again.uid == estimator.uid
    plain = {name: value for name, value in values_of(estimator).items() if name not in ("modelFn", "callbacks")}
    assert {name: values_of(again)[name] for name in plain} == plain
    assert again.getModelFn()(**again.getModelParams()).output_shape == (None, 3)
    assert isinstance(again.getCallbacks()[0], keras.callbacks.LambdaCallback)
    again.setEpochs(2)
    assert estimator.getEpochs() == 7 and again.explainParam("epochs").endswith("(default: 1, current: 2)")
    assert again.copy({again.epochs: 5}).getEpochs() == 5


@every_way
@pytest.mark.parametrize(
    "stage",
    [
        KerasTransformer(model=dense_model(), outputCols=["y"]),
        KerasModel(model=dense_model()),
        KerasEstimator(model=keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda t: keras.ops.abs(t))])),
        EarlyStopping(estimator=KerasRegressor(model=dense_model(), epochs=3), patience=2),
    ],
    ids=lambda stage: type(stage).__name__,
)
def test_other_stages_come_back(way, stage):
    again = way(stage)
    assert type(again) is type(stage) and again.uid == stage.uid
    mine, its = values_of(stage), values_of(again)
    if "estimator" in mine:
        mine, its = values_of(mine["estimator"]), values_of(its["estimator"])
    assert its == mine and its["model"].digest == mine["model"].digest


def test_shallow_copies_share_what_is_in_them():
    callback = keras.callbacks.TerminateOnNaN()
    estimator = KerasRegressor(model=dense_model(), callbacks=[callback])
    for made in (copy.copy(estimator), estimator.copy()):
        assert made.getCallbacks()[0] is callback and made.getModel() is estimator.getModel()


def test_a_param_that_cannot_be_pickled_is_named():
    lock = threading.Lock()
    estimator = KerasRegressor(modelFn=lambda: lock and dense_model())
    with pytest.raises(pickle.PicklingError, match="Param `modelFn` of KerasRegressor cannot be pickled. Received: "):
        pickle.dumps(estimator)


def test_any_stage_with_one_model_gives_it():
    model = keras.Sequential([keras.Input((3,)), Scaled(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    fitted = KerasRegressionModel(model=model).setCustomObjects({"Scaled": Scaled})
    for origin in (fitted, KerasTransformer(model=fitted), PipelineModel([fitted]), KerasRegressor(model=fitted)):
        estimator = KerasRegressor(model=origin)
        assert estimator.getModel() is fitted.getModel()
    assert estimator.getCustomObjects() == {"Scaled": Scaled}
    assert KerasRegressor().setModel(fitted).getModel() is fitted.getModel()
    assert KerasRegressor(model=fitted, customObjects={}).getCustomObjects() == {}


@pytest.mark.parametrize(
    "stage, held",
    [
        (PipelineModel([]), "no Keras model"),
        (KerasRegressor(), "no Keras model"),
        (PipelineModel([KerasTransformer(model=dense_model()) for _ in range(2)]), "KerasTransformer', 'KerasTrans"),
    ],
)
def test_a_stage_without_a_single_model_is_refused(stage, held):
    with pytest.raises(ValueError, match=f"`model`. Received: {type(stage).__name__} with .*{held}.*Expected"):
        KerasRegressor(model=stage)
