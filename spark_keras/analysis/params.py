"""Params of the analysis stages."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters
from typing_extensions import Self

from spark_keras.params import converters


def _share(name: str) -> Any:
    def convert(value: Any) -> float:
        number = TypeConverters.toFloat(value)
        if not 0 <= number <= 1:
            raise ValueError(f"Invalid value for Param `{name}`. Received: {value}. Expected: 0 ≤ value ≤ 1.")
        return number

    return convert


def _quantiles(value: Any) -> list[float]:
    numbers = TypeConverters.toListFloat(value)
    if not all(0 <= number <= 1 for number in numbers):
        raise ValueError(f"Invalid value for Param `quantiles`. Received: {value}. Expected: probabilities in [0, 1].")
    return numbers


def _relative_error(value: Any) -> float:
    number = TypeConverters.toFloat(value)
    if not 1e-7 <= number <= 0.001:
        raise ValueError(f"Invalid value for Param `relativeError`. Received: {value}. Expected: 1e-7 ≤ value ≤ 0.001.")
    return number


class HasInputCols(converters.NoneIsUnset):
    """Which columns are looked at."""

    # Set by `keyword_only`.
    _input_kwargs: dict[str, Any]

    inputCols: Param[list[str]] = Param(
        Params._dummy(), "inputCols", "columns to look at; not set: all", TypeConverters.toListString
    )

    def getInputCols(self) -> list[str]:
        """Value of `inputCols` or its default."""
        return self.getOrDefault(self.inputCols)

    def setInputCols(self, value: list[str]) -> Self:
        """Sets `inputCols`."""
        return self._set(inputCols=value)


class AnalysisParams(HasInputCols):
    """What is analysed, and how finely."""

    bins: Param[int] = Param(Params._dummy(), "bins", "bins of a histogram", converters.integer("bins", 1))

    quantiles: Param[list[float]] = Param(
        Params._dummy(), "quantiles", "probabilities of the quantiles, in [0, 1]", _quantiles
    )

    quantileRule: Param[str] = Param(
        Params._dummy(),
        "quantileRule",
        'what a quantile is: "value", always a value of the column; or "midpoint", halfway between two neighbouring '
        "values where the probability falls between them, as the usual median does",
        converters.one_of("quantileRule", "value", "midpoint"),
    )

    relativeError: Param[float] = Param(
        Params._dummy(),
        "relativeError",
        "greatest error of a quantile's rank, as a share of the values; from 1e-7 to 0.001",
        _relative_error,
    )

    maxDistinct: Param[int] = Param(
        Params._dummy(),
        "maxDistinct",
        "up to so many distinct strings or categories are counted one by one; of columns with more, only those that "
        "are 1 % of the column or more",
        converters.integer("maxDistinct", 1),
    )

    elementStatistics: Param[bool] = Param(
        Params._dummy(),
        "elementStatistics",
        "whether each position of arrays and vectors of numbers is analysed as a column is",
        TypeConverters.toBoolean,
    )

    correlationCols: Param[list[str]] = Param(
        Params._dummy(),
        "correlationCols",
        "numeric columns whose Pearson correlations are computed, in one more pass",
        TypeConverters.toListString,
    )

    labelCol: Param[str] = Param(
        Params._dummy(),
        "labelCol",
        "column to which the relation of each other column is computed, in one more pass; not set: none",
        TypeConverters.toString,
    )

    def getBins(self) -> int:
        """Value of `bins` or its default."""
        return self.getOrDefault(self.bins)

    def setBins(self, value: int) -> Self:
        """Sets `bins`."""
        return self._set(bins=value)

    def getQuantiles(self) -> list[float]:
        """Value of `quantiles` or its default."""
        return self.getOrDefault(self.quantiles)

    def setQuantiles(self, value: list[float]) -> Self:
        """Sets `quantiles`."""
        return self._set(quantiles=value)

    def getQuantileRule(self) -> str:
        """Value of `quantileRule` or its default."""
        return self.getOrDefault(self.quantileRule)

    def setQuantileRule(self, value: str) -> Self:
        """Sets `quantileRule`."""
        return self._set(quantileRule=value)

    def getRelativeError(self) -> float:
        """Value of `relativeError` or its default."""
        return self.getOrDefault(self.relativeError)

    def setRelativeError(self, value: float) -> Self:
        """Sets `relativeError`."""
        return self._set(relativeError=value)

    def getMaxDistinct(self) -> int:
        """Value of `maxDistinct` or its default."""
        return self.getOrDefault(self.maxDistinct)

    def setMaxDistinct(self, value: int) -> Self:
        """Sets `maxDistinct`."""
        return self._set(maxDistinct=value)

    def getElementStatistics(self) -> bool:
        """Value of `elementStatistics` or its default."""
        return self.getOrDefault(self.elementStatistics)

    def setElementStatistics(self, value: bool) -> Self:
        """Sets `elementStatistics`."""
        return self._set(elementStatistics=value)

    def getCorrelationCols(self) -> list[str]:
        """Value of `correlationCols` or its default."""
        return self.getOrDefault(self.correlationCols)

    def setCorrelationCols(self, value: list[str]) -> Self:
        """Sets `correlationCols`."""
        return self._set(correlationCols=value)

    def getLabelCol(self) -> str:
        """Value of `labelCol` or its default."""
        return self.getOrDefault(self.labelCol)

    def setLabelCol(self, value: str) -> Self:
        """Sets `labelCol`."""
        return self._set(labelCol=value)


class DriftParams(Params):
    """What happens when later rows differ from those that were analysed."""

    onDrift: Param[str] = Param(
        Params._dummy(),
        "onDrift",
        'what transform does where rows differ from those that were analysed: "error", "warn", or "ignore", which does '
        "not look",
        converters.one_of("onDrift", "error", "warn", "ignore"),
    )

    maxDistance: Param[float] = Param(
        Params._dummy(),
        "maxDistance",
        "greatest distance between distributions, in [0, 1]: Kolmogorov-Smirnov's at the percentiles, total variation "
        "for categories",
        _share("maxDistance"),
    )

    maxOutOfRange: Param[float] = Param(
        Params._dummy(),
        "maxOutOfRange",
        "greatest share of values below the least or above the greatest that was analysed",
        _share("maxOutOfRange"),
    )

    maxNullIncrease: Param[float] = Param(
        Params._dummy(),
        "maxNullIncrease",
        "by how much the share of nulls and NaN may exceed that of the analysis",
        _share("maxNullIncrease"),
    )

    maxUnseen: Param[float] = Param(
        Params._dummy(),
        "maxUnseen",
        "greatest share of strings or categories that were not there in the analysis, where it knows all",
        _share("maxUnseen"),
    )

    falseAlarmRate: Param[float] = Param(
        Params._dummy(),
        "falseAlarmRate",
        "greatest probability that rows of the same distribution are told to differ, in whatever columns and checks; "
        "with 1 the limits alone decide",
        _share("falseAlarmRate"),
    )

    def getOnDrift(self) -> str:
        """Value of `onDrift` or its default."""
        return self.getOrDefault(self.onDrift)

    def setOnDrift(self, value: str) -> Self:
        """Sets `onDrift`."""
        return self._set(onDrift=value)

    def getMaxDistance(self) -> float:
        """Value of `maxDistance` or its default."""
        return self.getOrDefault(self.maxDistance)

    def setMaxDistance(self, value: float) -> Self:
        """Sets `maxDistance`."""
        return self._set(maxDistance=value)

    def getMaxOutOfRange(self) -> float:
        """Value of `maxOutOfRange` or its default."""
        return self.getOrDefault(self.maxOutOfRange)

    def setMaxOutOfRange(self, value: float) -> Self:
        """Sets `maxOutOfRange`."""
        return self._set(maxOutOfRange=value)

    def getMaxNullIncrease(self) -> float:
        """Value of `maxNullIncrease` or its default."""
        return self.getOrDefault(self.maxNullIncrease)

    def setMaxNullIncrease(self, value: float) -> Self:
        """Sets `maxNullIncrease`."""
        return self._set(maxNullIncrease=value)

    def getMaxUnseen(self) -> float:
        """Value of `maxUnseen` or its default."""
        return self.getOrDefault(self.maxUnseen)

    def setMaxUnseen(self, value: float) -> Self:
        """Sets `maxUnseen`."""
        return self._set(maxUnseen=value)

    def getFalseAlarmRate(self) -> float:
        """Value of `falseAlarmRate` or its default."""
        return self.getOrDefault(self.falseAlarmRate)

    def setFalseAlarmRate(self, value: float) -> Self:
        """Sets `falseAlarmRate`."""
        return self._set(falseAlarmRate=value)


class AnalysisStageParams(AnalysisParams, DriftParams):
    """What analyzer and analysis share."""

    def _defaults(self) -> None:
        self._setDefault(
            bins=10,
            quantiles=[0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99],
            quantileRule="value",
            relativeError=0.0001,
            maxDistinct=1000,
            elementStatistics=False,
            correlationCols=[],
            onDrift="error",
            maxDistance=0.1,
            maxOutOfRange=0.01,
            maxNullIncrease=0.05,
            maxUnseen=0.0,
            falseAlarmRate=0.01,
        )
