"""Params of EarlyStopping, with their getters and setters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.ml import Estimator
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params, TypeConverters
from typing_extensions import Self

from spark_keras.early_stopping.conditions import Condition
from spark_keras.params import converters


def _estimator(value: Any) -> Any:
    from spark_keras.base_estimator import BaseEstimator

    if not isinstance(value, Estimator) or not isinstance(value, BaseEstimator):
        raise converters.refuse(
            "estimator",
            value,
            "a KerasClassifier, KerasRegressor or KerasEstimator; a Pipeline holds an EarlyStopping as a stage, and is "
            "not held by one",
        )
    return value


def _evaluator(value: Any) -> Any:
    if not isinstance(value, Evaluator):
        raise converters.refuse("evaluator", value, "an evaluator of pyspark.ml.evaluation")
    return value


def _score_function(value: Any) -> Any:
    if not callable(value):
        raise converters.refuse("scoreFunction", value, "a function of the fitted model that returns a number")
    return value


def _conditions(value: Any) -> list[Condition]:
    conditions = list(value) if isinstance(value, (list, tuple)) else [value]
    for condition in conditions:
        if not isinstance(condition, Condition):
            raise converters.refuse("conditions", condition, "a list of spark_keras.early_stopping.Condition objects")
    return conditions


def _positive(name: str) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        number = TypeConverters.toFloat(value)
        if not number > 0:
            raise ValueError(f"Invalid value for Param `{name}`. Received: {value}. Expected: more than 0.")
        return number

    return convert


def _param(name: str, doc: str, converter: Callable[[Any], Any]) -> Any:
    return Param(Params._dummy(), name, doc, converter)


class EarlyStoppingParams(converters.NoneIsUnset):
    """When to stop, by what score, and what is kept."""

    estimator = _param("estimator", "the Keras estimator that trains", _estimator)
    monitor = _param("monitor", 'the result to watch, such as "val_loss" or "val_accuracy"', TypeConverters.toString)
    mode = _param(
        "mode",
        'whether a smaller ("min") or larger ("max") score is better; "auto" infers it as Keras does',
        converters.one_of("mode", "auto", "min", "max"),
    )
    evaluator = _param(
        "evaluator",
        "a Spark evaluator instead of `monitor`; it scores the rows that the estimator validates on",
        _evaluator,
    )
    scoreFunction = _param(
        "scoreFunction",
        "a function of the fitted model of the moment instead of `monitor`; it may start Spark jobs; `mode` says which "
        "scores are better",
        _score_function,
    )
    evaluateEvery = _param(
        "evaluateEvery",
        "epochs from one score to the next; the last epoch has one, too",
        converters.integer("evaluateEvery", 1),
    )
    patience = _param(
        "patience",
        "stops after so many epochs without improvement, as in Keras; not set: does not stop for that",
        converters.integer("patience", 0),
    )
    minDelta = _param("minDelta", "a score that is better by less is no improvement", TypeConverters.toFloat)
    baseline = _param(
        "baseline", "only a score better than this one starts patience anew, as in Keras", TypeConverters.toFloat
    )
    startFromEpoch = _param(
        "startFromEpoch",
        "epochs to wait before improvement is looked at, as in Keras",
        converters.integer("startFromEpoch", 0),
    )
    maxEpochs = _param(
        "maxEpochs", "epochs at most, instead of the estimator's `epochs`", converters.integer("maxEpochs", 1)
    )
    maxSeconds = _param("maxSeconds", "seconds of training at most; looked at between rounds", _positive("maxSeconds"))
    targetScore = _param("targetScore", "stops at a score as good as this one", TypeConverters.toFloat)
    worstScore = _param("worstScore", "stops at a score worse than this one", TypeConverters.toFloat)
    stopOnNonFinite = _param(
        "stopOnNonFinite", "whether a score that is NaN or infinite ends the training", TypeConverters.toBoolean
    )
    conditions = _param("conditions", "further conditions, of which each one ends the training", _conditions)
    keepLast = _param("keepLast", "whether the last model is kept beside the best one", TypeConverters.toBoolean)
    modelDir = _param(
        "modelDir",
        "a folder on any file system that Spark reaches for the best model of the moment, best.keras; not set: it is "
        "kept in the driver's memory",
        TypeConverters.toString,
    )
    onError = _param(
        "onError",
        'what happens when the training fails: "raise", or "keepBest" to return the best model so far with a warning',
        converters.one_of("onError", "raise", "keepBest"),
    )

    def getEstimator(self) -> Any:
        """Value of `estimator` or its default."""
        return self.getOrDefault(self.estimator)

    def setEstimator(self, value: Any) -> Self:
        """Sets `estimator`."""
        return self._set(estimator=value)

    def getMonitor(self) -> str:
        """Value of `monitor` or its default."""
        return self.getOrDefault(self.monitor)

    def setMonitor(self, value: str) -> Self:
        """Sets `monitor`."""
        return self._set(monitor=value)

    def getMode(self) -> str:
        """Value of `mode` or its default."""
        return self.getOrDefault(self.mode)

    def setMode(self, value: str) -> Self:
        """Sets `mode`."""
        return self._set(mode=value)

    def getEvaluator(self) -> Evaluator:
        """Value of `evaluator` or its default."""
        return self.getOrDefault(self.evaluator)

    def setEvaluator(self, value: Any) -> Self:
        """Sets `evaluator`."""
        return self._set(evaluator=value)

    def getScoreFunction(self) -> Callable[[Any], float]:
        """Value of `scoreFunction` or its default."""
        return self.getOrDefault(self.scoreFunction)

    def setScoreFunction(self, value: Callable[[Any], float]) -> Self:
        """Sets `scoreFunction`."""
        return self._set(scoreFunction=value)

    def getEvaluateEvery(self) -> int:
        """Value of `evaluateEvery` or its default."""
        return self.getOrDefault(self.evaluateEvery)

    def setEvaluateEvery(self, value: int) -> Self:
        """Sets `evaluateEvery`."""
        return self._set(evaluateEvery=value)

    def getPatience(self) -> int:
        """Value of `patience` or its default."""
        return self.getOrDefault(self.patience)

    def setPatience(self, value: int) -> Self:
        """Sets `patience`."""
        return self._set(patience=value)

    def getMinDelta(self) -> float:
        """Value of `minDelta` or its default."""
        return self.getOrDefault(self.minDelta)

    def setMinDelta(self, value: float) -> Self:
        """Sets `minDelta`."""
        return self._set(minDelta=value)

    def getBaseline(self) -> float:
        """Value of `baseline` or its default."""
        return self.getOrDefault(self.baseline)

    def setBaseline(self, value: float) -> Self:
        """Sets `baseline`."""
        return self._set(baseline=value)

    def getStartFromEpoch(self) -> int:
        """Value of `startFromEpoch` or its default."""
        return self.getOrDefault(self.startFromEpoch)

    def setStartFromEpoch(self, value: int) -> Self:
        """Sets `startFromEpoch`."""
        return self._set(startFromEpoch=value)

    def getMaxEpochs(self) -> int:
        """Value of `maxEpochs` or its default."""
        return self.getOrDefault(self.maxEpochs)

    def setMaxEpochs(self, value: int) -> Self:
        """Sets `maxEpochs`."""
        return self._set(maxEpochs=value)

    def getMaxSeconds(self) -> float:
        """Value of `maxSeconds` or its default."""
        return self.getOrDefault(self.maxSeconds)

    def setMaxSeconds(self, value: float) -> Self:
        """Sets `maxSeconds`."""
        return self._set(maxSeconds=value)

    def getTargetScore(self) -> float:
        """Value of `targetScore` or its default."""
        return self.getOrDefault(self.targetScore)

    def setTargetScore(self, value: float) -> Self:
        """Sets `targetScore`."""
        return self._set(targetScore=value)

    def getWorstScore(self) -> float:
        """Value of `worstScore` or its default."""
        return self.getOrDefault(self.worstScore)

    def setWorstScore(self, value: float) -> Self:
        """Sets `worstScore`."""
        return self._set(worstScore=value)

    def getStopOnNonFinite(self) -> bool:
        """Value of `stopOnNonFinite` or its default."""
        return self.getOrDefault(self.stopOnNonFinite)

    def setStopOnNonFinite(self, value: bool) -> Self:
        """Sets `stopOnNonFinite`."""
        return self._set(stopOnNonFinite=value)

    def getConditions(self) -> list[Condition]:
        """Value of `conditions` or its default."""
        return self.getOrDefault(self.conditions)

    def setConditions(self, value: list[Condition]) -> Self:
        """Sets `conditions`."""
        return self._set(conditions=value)

    def getKeepLast(self) -> bool:
        """Value of `keepLast` or its default."""
        return self.getOrDefault(self.keepLast)

    def setKeepLast(self, value: bool) -> Self:
        """Sets `keepLast`."""
        return self._set(keepLast=value)

    def getModelDir(self) -> str:
        """Value of `modelDir` or its default."""
        return self.getOrDefault(self.modelDir)

    def setModelDir(self, value: str) -> Self:
        """Sets `modelDir`."""
        return self._set(modelDir=value)

    def getOnError(self) -> str:
        """Value of `onError` or its default."""
        return self.getOrDefault(self.onError)

    def setOnError(self, value: str) -> Self:
        """Sets `onError`."""
        return self._set(onError=value)
