"""Params of EarlyStopping, with their getters and setters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import TypeConverters
from typing_extensions import Self

from spark_keras.early_stopping.conditions import Condition
from spark_keras.params import converters
from spark_keras.params.accessors import param, with_accessors
from spark_keras.params.shown import ShowsParams


def _is_keras_estimator(value: Any) -> bool:
    from spark_keras.base_estimator import BaseEstimator

    return isinstance(value, BaseEstimator)


def _conditions(value: Any) -> list[Condition]:
    conditions = list(value) if isinstance(value, (list, tuple)) else [value]
    for condition in conditions:
        if not isinstance(condition, Condition):
            raise converters.refuse("conditions", condition, "a list of spark_keras.early_stopping.Condition objects")
    return conditions


@with_accessors
class EarlyStoppingParams(converters.NoneIsUnset, ShowsParams):
    """Params that say when to stop, by what score, and what is kept."""

    estimator = param(
        "estimator",
        "the Keras estimator that trains",
        converters.accepted(
            "estimator",
            _is_keras_estimator,
            "a KerasClassifier, KerasRegressor or KerasEstimator; a Pipeline holds an EarlyStopping as a stage, and is "
            "not held by one",
        ),
    )
    monitor = param("monitor", 'the result to watch, such as "val_loss" or "val_accuracy"', TypeConverters.toString)
    mode = param(
        "mode",
        'whether a smaller ("min") or larger ("max") score is better; "auto" infers it as Keras does',
        converters.one_of("mode", "auto", "min", "max"),
    )
    evaluator = param(
        "evaluator",
        "a Spark evaluator instead of `monitor`; it scores the rows that the estimator validates on",
        converters.accepted(
            "evaluator", lambda value: isinstance(value, Evaluator), "an evaluator of pyspark.ml.evaluation"
        ),
    )
    scoreFunction = param(
        "scoreFunction",
        "a function of the fitted model of the moment instead of `monitor`; it may start Spark jobs; `mode` says which "
        "scores are better",
        converters.accepted("scoreFunction", callable, "a function of the fitted model that returns a number"),
    )
    evaluateEvery = param(
        "evaluateEvery",
        "epochs from one score to the next; the last epoch has one, too",
        converters.integer("evaluateEvery", 1),
    )
    patience = param(
        "patience",
        "stops after so many epochs without improvement, as in Keras; not set: does not stop for that",
        converters.integer("patience", 0),
    )
    minDelta = param("minDelta", "a score that is better by less is no improvement", TypeConverters.toFloat)
    baseline = param(
        "baseline", "only a score better than this one starts patience anew, as in Keras", TypeConverters.toFloat
    )
    startFromEpoch = param(
        "startFromEpoch",
        "epochs to wait before improvement is looked at, as in Keras",
        converters.integer("startFromEpoch", 0),
    )
    maxEpochs = param(
        "maxEpochs", "epochs at most, instead of the estimator's `epochs`", converters.integer("maxEpochs", 1)
    )
    maxSeconds = param(
        "maxSeconds",
        "seconds of training at most; looked at between rounds",
        converters.seconds("maxSeconds"),
    )
    targetScore = param("targetScore", "stops at a score as good as this one", TypeConverters.toFloat)
    worstScore = param("worstScore", "stops at a score worse than this one", TypeConverters.toFloat)
    stopOnNonFinite = param(
        "stopOnNonFinite", "whether a score that is NaN or infinite ends the training", TypeConverters.toBoolean
    )
    conditions = param("conditions", "further conditions, of which each one ends the training", _conditions)
    keepLast = param("keepLast", "whether the last model is kept beside the best one", TypeConverters.toBoolean)
    modelDir = param(
        "modelDir",
        "a folder on any file system that Spark reaches for the best model of the moment, best.keras; not set: it is "
        "kept in the driver's memory",
        TypeConverters.toString,
    )
    onError = param(
        "onError",
        'what happens when the training fails: "raise", or "keepBest" to return the best model so far with a warning',
        converters.one_of("onError", "raise", "keepBest"),
    )

    if TYPE_CHECKING:

        def getEstimator(self) -> Any: ...
        def setEstimator(self, value: Any) -> Self: ...
        def getMonitor(self) -> str: ...
        def setMonitor(self, value: str) -> Self: ...
        def getMode(self) -> str: ...
        def setMode(self, value: str) -> Self: ...
        def getEvaluator(self) -> Evaluator: ...
        def setEvaluator(self, value: Any) -> Self: ...
        def getScoreFunction(self) -> Callable[[Any], float]: ...
        def setScoreFunction(self, value: Callable[[Any], float]) -> Self: ...
        def getEvaluateEvery(self) -> int: ...
        def setEvaluateEvery(self, value: int) -> Self: ...
        def getPatience(self) -> int: ...
        def setPatience(self, value: int) -> Self: ...
        def getMinDelta(self) -> float: ...
        def setMinDelta(self, value: float) -> Self: ...
        def getBaseline(self) -> float: ...
        def setBaseline(self, value: float) -> Self: ...
        def getStartFromEpoch(self) -> int: ...
        def setStartFromEpoch(self, value: int) -> Self: ...
        def getMaxEpochs(self) -> int: ...
        def setMaxEpochs(self, value: int) -> Self: ...
        def getMaxSeconds(self) -> float: ...
        def setMaxSeconds(self, value: float) -> Self: ...
        def getTargetScore(self) -> float: ...
        def setTargetScore(self, value: float) -> Self: ...
        def getWorstScore(self) -> float: ...
        def setWorstScore(self, value: float) -> Self: ...
        def getStopOnNonFinite(self) -> bool: ...
        def setStopOnNonFinite(self, value: bool) -> Self: ...
        def getConditions(self) -> list[Condition]: ...
        def setConditions(self, value: list[Condition]) -> Self: ...
        def getKeepLast(self) -> bool: ...
        def setKeepLast(self, value: bool) -> Self: ...
        def getModelDir(self) -> str: ...
        def setModelDir(self, value: str) -> Self: ...
        def getOnError(self) -> str: ...
        def setOnError(self, value: str) -> Self: ...
