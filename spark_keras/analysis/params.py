"""Params of the analysis stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Param, Params, TypeConverters
from typing_extensions import Self

from spark_keras.params import converters
from spark_keras.params.accessors import param, with_accessors
from spark_keras.params.shown import ShowsParams


def _share(name: str) -> Callable[[Any], float]:
    return converters.number(name, lambda share: 0 <= share <= 1, "0 ≤ value ≤ 1")


def _quantiles(value: Any) -> list[float]:
    numbers = TypeConverters.toListFloat(value)
    if not all(0 <= number <= 1 for number in numbers):
        raise converters.wrong("quantiles", value, "probabilities in [0, 1]")
    return numbers


@with_accessors
class HasInputCols(converters.NoneIsUnset, ShowsParams):
    """The columns that are looked at."""

    # Set by `keyword_only`.
    _input_kwargs: dict[str, Any]

    inputCols: Param[list[str]] = param("inputCols", "columns to look at; not set: all", TypeConverters.toListString)

    if TYPE_CHECKING:

        def getInputCols(self) -> list[str]: ...
        def setInputCols(self, value: list[str]) -> Self: ...


@with_accessors
class AnalysisParams(HasInputCols):
    """The figures that are analysed, and how finely."""

    bins: Param[int] = param("bins", "bins of a histogram", converters.integer("bins", 1))
    quantiles: Param[list[float]] = param("quantiles", "probabilities of the quantiles, in [0, 1]", _quantiles)
    quantileRule: Param[str] = param(
        "quantileRule",
        'what a quantile is: "value", always a value of the column; or "midpoint", halfway between two neighbouring '
        "values where the probability falls between them, as the usual median does",
        converters.one_of("quantileRule", "value", "midpoint"),
    )
    relativeError: Param[float] = param(
        "relativeError",
        "greatest error of a quantile's rank, as a share of the values; from 1e-7 to 0.001",
        converters.number("relativeError", lambda error: 1e-7 <= error <= 0.001, "1e-7 ≤ value ≤ 0.001"),
    )
    maxDistinct: Param[int] = param(
        "maxDistinct",
        "up to so many distinct strings or categories are counted one by one; of columns with more, only those that "
        "are 1 % of the column or more",
        converters.integer("maxDistinct", 1),
    )
    elementStatistics: Param[bool] = param(
        "elementStatistics",
        "whether each position of arrays and vectors of numbers is analysed as a column is",
        TypeConverters.toBoolean,
    )
    correlationCols: Param[list[str]] = param(
        "correlationCols",
        "numeric columns whose Pearson correlations are computed, in one more pass",
        TypeConverters.toListString,
    )
    labelCol: Param[str] = param(
        "labelCol",
        "column to which the relation of each other column is computed, in one more pass; not set: none",
        TypeConverters.toString,
    )

    if TYPE_CHECKING:

        def getBins(self) -> int: ...
        def setBins(self, value: int) -> Self: ...
        def getQuantiles(self) -> list[float]: ...
        def setQuantiles(self, value: list[float]) -> Self: ...
        def getQuantileRule(self) -> str: ...
        def setQuantileRule(self, value: str) -> Self: ...
        def getRelativeError(self) -> float: ...
        def setRelativeError(self, value: float) -> Self: ...
        def getMaxDistinct(self) -> int: ...
        def setMaxDistinct(self, value: int) -> Self: ...
        def getElementStatistics(self) -> bool: ...
        def setElementStatistics(self, value: bool) -> Self: ...
        def getCorrelationCols(self) -> list[str]: ...
        def setCorrelationCols(self, value: list[str]) -> Self: ...
        def getLabelCol(self) -> str: ...
        def setLabelCol(self, value: str) -> Self: ...


@with_accessors
class DriftParams(Params):
    """Limits within which later rows may differ from those that were analysed."""

    onDrift: Param[str] = param(
        "onDrift",
        'what transform does where rows differ from those that were analysed: "error", "warn", or "ignore", which does '
        "not look",
        converters.one_of("onDrift", "error", "warn", "ignore"),
    )
    maxDistance: Param[float] = param(
        "maxDistance",
        "greatest distance between distributions, in [0, 1]: Kolmogorov-Smirnov's at the percentiles, total variation "
        "for categories",
        _share("maxDistance"),
    )
    maxOutOfRange: Param[float] = param(
        "maxOutOfRange",
        "greatest share of values below the least or above the greatest that was analysed",
        _share("maxOutOfRange"),
    )
    maxNullIncrease: Param[float] = param(
        "maxNullIncrease",
        "by how much the share of nulls and NaN may exceed that of the analysis",
        _share("maxNullIncrease"),
    )
    maxUnseen: Param[float] = param(
        "maxUnseen",
        "greatest share of strings or categories that were not there in the analysis, where it knows all",
        _share("maxUnseen"),
    )
    falseAlarmRate: Param[float] = param(
        "falseAlarmRate",
        "greatest probability that rows of the same distribution are told to differ, in whatever columns and checks; "
        "with 1 the limits alone decide",
        _share("falseAlarmRate"),
    )

    if TYPE_CHECKING:

        def getOnDrift(self) -> str: ...
        def setOnDrift(self, value: str) -> Self: ...
        def getMaxDistance(self) -> float: ...
        def setMaxDistance(self, value: float) -> Self: ...
        def getMaxOutOfRange(self) -> float: ...
        def setMaxOutOfRange(self, value: float) -> Self: ...
        def getMaxNullIncrease(self) -> float: ...
        def setMaxNullIncrease(self, value: float) -> Self: ...
        def getMaxUnseen(self) -> float: ...
        def setMaxUnseen(self, value: float) -> Self: ...
        def getFalseAlarmRate(self) -> float: ...
        def setFalseAlarmRate(self, value: float) -> Self: ...


class AnalysisStageParams(AnalysisParams, DriftParams):
    """Params that analyzer and analysis share."""

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
