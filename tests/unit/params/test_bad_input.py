"""Params with a wrong value are refused at once."""

from __future__ import annotations

import sys

import cloudpickle
import pytest
from small_models import classifier_model, regression_model

from spark_keras import (
    DataFrameAnalyzer,
    EarlyStopping,
    KerasClassifier,
    KerasEstimator,
)

# The layers below are defined in a module that the executors cannot import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def refused(action, *parts, error=ValueError):
    """Runs the action, which must raise an error that holds every part; returns its message."""
    with pytest.raises(error) as raised:
        action()
    message = str(raised.value)
    for part in (*parts, "Received", "Expected"):
        assert part in message, message
    return message


def test_none_means_that_a_param_is_not_set():
    estimator = KerasClassifier(model=None, modelFn=regression_model, modelParams=None, callbacks=None, epochs=None)
    assert not estimator.isSet("model") and estimator.isSet("modelFn")
    assert (estimator.getModelParams(), estimator.getCallbacks(), estimator.getEpochs()) == ({}, [], 1)
    assert estimator.setEpochs(3).setEpochs(None).getEpochs() == 1
    grid = {estimator.getParam("batchSize"): None}
    assert estimator.setBatchSize(8).copy(grid).getBatchSize() == 32
    stopping = EarlyStopping(estimator=estimator, evaluator=None, monitor="val_loss", maxEpochs=None, modelDir=None)
    assert [param.name for param in stopping.params if stopping.isSet(param)] == ["estimator", "monitor"]
    assert not DataFrameAnalyzer(inputCols=None).isSet("inputCols")


@pytest.mark.parametrize(
    "param, value, expected",
    [
        ("epochs", 0, "1 or more"),
        ("epochs", 1.5, "an integer"),
        ("epochs", True, "an integer"),
        ("batchSize", -1, "1 or more"),
        ("numWorkers", 0, "1 or more"),
        ("cpusPerWorker", 0, "1 or more"),
        ("mode", "downpour", "['synchronous', 'asynchronous']"),
        ("averagingFrequency", 0, "1 or more"),
        ("averagingFrequency", "round", '"epoch"'),
        ("outerOptimizer", "sdg", "a Keras optimizer, its name"),
        ("outerOptimizer", 0.7, "a Keras optimizer, its name"),
        ("optimizerState", "keep", "['average', 'local', 'reset']"),
        ("learningRateScaling", "cubic", "['none', 'sqrt', 'linear']"),
        ("learningRateWarmup", -1, "0 or more"),
        ("handleInvalid", "drop", "['error', 'skip', 'keep']"),
        ("validationSplit", 1.0, "0 ≤ value < 1"),
        ("validationSplit", -0.1, "0 ≤ value < 1"),
        ("verbose", -1, "0 or more"),
        ("callbacks", [print], "keras.callbacks.Callback"),
        ("customObjects", ["a"], "a dict"),
        ("inputCols", "features", "a list of columns"),
        ("inputCols", {"a": 1}, "a dict"),
        ("modelFn", "build", "a function"),
        ("modelParams", {"layer": object()}, "JSON"),
        ("modelParams", [1], "a dict"),
        ("model", 3, "a compiled keras.Model"),
    ],
)
def test_wrong_value_is_refused_by_constructor_and_setter(param, value, expected):
    setter = "set" + param[0].upper() + param[1:]
    for action in (lambda: KerasEstimator(**{param: value}), lambda: getattr(KerasEstimator(), setter)(value)):
        refused(action, param, expected, error=(TypeError, ValueError))


@pytest.mark.parametrize(
    "param, value",
    [("featuresCol", 3), ("labelCol", ["label"]), ("shuffle", "yes"), ("seed", 1.5), ("validationSplit", "half")],
)
def test_wrong_type_for_a_param_of_spark_names_the_param(param, value):
    with pytest.raises(TypeError, match=param):
        KerasEstimator(**{param: value})


def test_unknown_param_and_positional_arguments_are_refused():
    with pytest.raises(TypeError, match="epoch"):
        KerasClassifier(epoch=3)
    with pytest.raises(TypeError):
        KerasClassifier(classifier_model())


@pytest.mark.parametrize("thresholds", [[-1.0, 0.5], [0.0, 0.0, 1.0]])
def test_thresholds_that_spark_does_not_allow_are_refused(thresholds):
    """pyspark.ml.param.shared.HasThresholds: values > 0, excepting that at most one value may be 0."""
    for action in (lambda: KerasClassifier(thresholds=thresholds), lambda: KerasClassifier().setThresholds(thresholds)):
        refused(action, "thresholds", str(thresholds), "at most one may be 0")
