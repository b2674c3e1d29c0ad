"""A report on a regressor's predictions, from sums that are made where the rows are."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_keras.evaluation import passes, plots, regression_sums
from spark_keras.evaluation.partial import EXPLODED, SCHEMA, Sums, exploded
from spark_keras.evaluation.regression_sums import Moments
from spark_keras.reports.tables import Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Cells along each axis of the drawn histogram of labels and predictions, and outputs that are drawn.
_CELLS = 40
_DRAWN = 4


@dataclasses.dataclass(frozen=True)
class RegressionFigures:
    """Quality of one output of a regressor; e is prediction − label.

    Args:
        name: of the output.
        rows: rows, or their weights' sum.
        mse: mean of e².
        rmse: its square root, in units of the label.
        mae: mean of |e|.
        medianAbsoluteError: one of the |e|, with about half of them below (`percentile_approx`, relative rank error
            1e-4); weights are not regarded.
        maxError: largest |e|.
        bias: mean of e.
        r2: 1 − Σe² / Σ(label − mean)², as scikit-learn's `r2_score`. NaN where all labels are the same.
        explainedVariance: 1 − Var(e) / Var(label), as scikit-learn's `explained_variance_score`.
        relativeSquaredError: 1 − r2.
        pearson: correlation of label and prediction. NaN where one of them is constant.
    """

    name: str
    rows: float
    mse: float
    rmse: float
    mae: float
    medianAbsoluteError: float
    maxError: float
    bias: float
    r2: float
    explainedVariance: float
    relativeSquaredError: float
    pearson: float


@dataclasses.dataclass(frozen=True, repr=False)
class RegressionEvaluation(Report):
    """Quality of a regressor on the rows of a DataFrame.

    Args:
        outputs: figures of each number that the model gives.
        histograms: of each drawn output: (counts of shape (cells, cells) by label and prediction, lowest and highest
            value of both axes).
        residuals: of each drawn output: (counts of shape (cells, cells) by prediction and error, lowest and highest
            prediction, largest error; errors go from −largest to largest).
        leftOut: rows without a prediction, and numbers that are masked.
    """

    outputs: list[RegressionFigures]
    histograms: list[tuple[np.ndarray, float, float]]
    residuals: list[tuple[np.ndarray, float, float, float]] = dataclasses.field(default_factory=list)
    leftOut: int = 0

    @classmethod
    def of(
        cls,
        predictions: DataFrame,
        labelCol: str = "label",
        predictionCol: str = "prediction",
        weightCol: str | None = None,
        names: Sequence[str] | None = None,
        maskCol: str | None = None,
    ) -> RegressionEvaluation:
        """Sums over the predictions of any Spark ML regressor.

        Rows whose prediction is null are left out, which handleInvalid="keep" has asked for. All other nulls, numbers
        that are NaN or infinite and negative weights are refused.

        Args:
            predictions: with these columns; each row is looked at once, and kept in memory or on disk meanwhile.
            labelCol: a number, or an array or vector of as many numbers as the prediction has.
            predictionCol: a number, or an array or vector of numbers, each an output. Of nested arrays, such as
                sequences, the innermost are outputs, and all steps count together.
            weightCol: weight of each row, or of each step.
            names: of the outputs; default: label column, or its name and an index.
            maskCol: 1 (or true) for rows, steps or single numbers that count, 0 (or false) for those that do not.

        Raises:
            ValueError: naming the column and how many rows are at fault; where there are no rows.
        """
        reads = passes.reads(
            predictions, labelCol=labelCol, predictionCol=predictionCol, weightCol=weightCol, maskCol=maskCol
        )
        with passes.told(passes.frame(predictions, reads), regression_sums.moments, True) as (sums, rows):
            passes.refuse(sums, reads, headline="Labels, weights or parts of predictions are missing")
            return cls._of(sums, rows, labelCol, names)

    @classmethod
    def _of(cls, sums: Sums, rows: Any, label: str, names: Sequence[str] | None) -> RegressionEvaluation:
        parts: dict[int, list[Moments]] = {}
        for output, message in sums.messages:
            parts.setdefault(output, []).append(Moments._make(message))
        moments = {output: regression_sums.merged(parts[output]) for output in sorted(parts)}
        if not all(each.rows > 0 for each in moments.values()):
            raise ValueError("The rows' weights sum to 0. Expected: at least one row with a positive weight.")
        names = list(names) if names else [label] if len(moments) == 1 else [f"{label}[{i}]" for i in moments]
        error = F.abs(F.col("second") - F.col("first"))
        medians = (
            rows.mapInArrow(exploded, EXPLODED).groupBy("key").agg(F.percentile_approx(error, 0.5, 10000).alias("e"))
        )
        by_output = {row.key: row.e for row in medians.collect()}
        figures = [
            _figures(name, each, by_output[output]) for name, (output, each) in zip(names, moments.items(), strict=True)
        ]
        drawn = {output: _extent(each) for output, each in list(moments.items())[:_DRAWN]}
        counted = Sums.of(
            rows.mapInArrow(functools.partial(regression_sums.histograms, drawn, _CELLS), SCHEMA).collect()
        )

        def cells(what: str, output: int) -> np.ndarray:
            return counted.dense(f"{what} {output}", _CELLS * _CELLS).reshape(_CELLS, _CELLS)

        return cls(
            figures,
            [(cells("labels", output), low, high) for output, (low, high, _) in drawn.items()],
            [(cells("errors", output), *extent) for output, extent in drawn.items()],
            int(sums.total("leftOut")),
        )

    def __getattr__(self, name: str) -> float:
        """A figure of the only output, such as `evaluation.rmse`; of several, their mean."""
        if name.startswith("_") or name not in RegressionFigures.__dataclass_fields__ or name == "name":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return float(np.mean([getattr(output, name) for output in self.outputs]))

    # --- how it shows itself ---

    def _facts(self) -> dict[str, Any]:
        figures = {name: getattr(self, name) for name in ("rows", "rmse", "mae", "bias", "r2")}
        return {"outputs": len(self.outputs), **figures, "leftOut": self.leftOut or None}

    _HEAD = tuple(field.name for field in dataclasses.fields(RegressionFigures))

    def _table(self) -> list[list[Any]]:
        return [list(dataclasses.astuple(output)) for output in self.outputs]

    def _tables(self) -> list[Table]:
        return [("Regression", self._HEAD, self._table())]

    def plot(self) -> Figure:
        """Predictions against labels, as counts, for at most four outputs; a matplotlib figure."""
        return plots.regression(self)

    def plotResiduals(self) -> Figure:
        """Errors against predictions, as counts, and rows by error, for at most four outputs; a matplotlib figure."""
        return plots.errors(self)


def _extent(moments: Moments) -> tuple[float, float, float]:
    high = moments.high if moments.high > moments.low else moments.low + 1.0
    return moments.low, high, moments.largest or 1.0


def _figures(name: str, of: Moments, median: float) -> RegressionFigures:
    bias, mse = of.p - of.y, of.ee / of.rows
    error_variance = mse - bias**2
    return RegressionFigures(
        name=name,
        rows=of.rows,
        mse=mse,
        rmse=math.sqrt(mse),
        mae=of.absolute / of.rows,
        medianAbsoluteError=median,
        maxError=of.largest,
        bias=bias,
        r2=1 - of.ee / of.yy if of.yy else math.nan,
        explainedVariance=1 - error_variance * of.rows / of.yy if of.yy else math.nan,
        relativeSquaredError=of.ee / of.yy if of.yy else math.nan,
        pearson=of.yp / math.sqrt(of.yy * of.pp) if of.yy and of.pp else math.nan,
    )
