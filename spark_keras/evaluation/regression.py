"""A report on a regressor's predictions, from sums that Spark makes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from spark_keras import columns
from spark_keras.evaluation import display

# Cells along each axis of the drawn histogram of labels and predictions, and outputs that are drawn.
_CELLS = 40
_DRAWN = 4


@dataclasses.dataclass(frozen=True)
class RegressionFigures:
    """How good one output of a regressor is; e is prediction − label.

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


@dataclasses.dataclass(frozen=True)
class RegressionEvaluation:
    """How good a regressor is on the rows of a DataFrame.

    Args:
        outputs: figures of each number that the model gives.
        histograms: of each drawn output: (counts of shape (cells, cells) by label and prediction, lowest and highest
            value of both axes).
    """

    outputs: list[RegressionFigures]
    histograms: list[tuple[np.ndarray, float, float]]

    @classmethod
    def of(
        cls,
        predictions: Any,
        labelCol: str = "label",
        predictionCol: str = "prediction",
        weightCol: str | None = None,
        names: Sequence[str] | None = None,
    ) -> RegressionEvaluation:
        """Sums over the predictions of any Spark ML regressor.

        Args:
            predictions: with these columns; read once, and kept in memory or on disk meanwhile.
            predictionCol: a number, or an array or vector of numbers; labelCol the same.
            names: of the outputs; default: label column, or its name and an index.
        Raises:
            ValueError: where there are no rows, or labels or weights are missing. Rows without prediction are left
                out, which handleInvalid="keep" has asked for.
        """
        weight = F.lit(1.0) if weightCol is None else columns.reference(weightCol).cast("double")
        if weightCol is not None:
            columns.check_column(predictions, "weightCol", weightCol)
        label = _numbers(predictions, "labelCol", labelCol)
        prediction = _numbers(predictions, "predictionCol", predictionCol)
        pairs = (
            predictions.where(columns.reference(predictionCol).isNotNull())
            .select(weight.alias("w"), F.posexplode_outer(F.arrays_zip(label.alias("y"), prediction.alias("p"))))
            .select(F.col("pos").alias("output"), "w", F.col("col")["y"].alias("y"), F.col("col")["p"].alias("p"))
            .persist()
        )
        try:
            return cls._sum(pairs, labelCol, names)
        finally:
            pairs.unpersist()

    @classmethod
    def _sum(cls, pairs: Any, label: str, names: Sequence[str] | None) -> RegressionEvaluation:
        w, y, p = F.col("w"), F.col("y"), F.col("p")
        e = p - y
        means = pairs.groupBy("output").agg(
            F.sum("w").alias("rows"),
            (F.sum(w * y) / F.sum("w")).alias("y_mean"),
            (F.sum(w * p) / F.sum("w")).alias("p_mean"),
            F.least(F.min("y"), F.min("p")).alias("low"),
            F.greatest(F.max("y"), F.max("p")).alias("high"),
            F.sum((y + p + w).isNull().cast("long")).alias("incomplete"),
        )
        found = {row.output: row for row in means.collect()}
        if not found:
            raise ValueError("The DataFrame has no rows to evaluate. Expected: at least one.")
        # A row whose label is null as a whole has no outputs.
        incomplete = max(row.incomplete for row in found.values())
        if incomplete:
            raise ValueError(
                f"Labels, weights or parts of predictions are missing. Received: {incomplete} such rows. Expected: as "
                "many labels as predictions and no null among them, or among weights; leave such rows out before."
            )
        names = list(names) if names else [label] if len(found) == 1 else [f"{label}[{i}]" for i in sorted(found)]
        # Squares of what is left of the mean: those of the numbers themselves would lose their digits.
        from_y, from_p = y - F.col("y_mean"), p - F.col("p_mean")
        sums = (
            pairs.join(F.broadcast(pairs.sparkSession.createDataFrame(list(found.values()), means.schema)), "output")
            .groupBy("output")
            .agg(
                F.sum(w * e * e).alias("ee"),
                F.sum(w * F.abs(e)).alias("absolute"),
                F.max(F.abs(e)).alias("largest"),
                F.percentile_approx(F.abs(e), 0.5, 10000).alias("median"),
                F.sum(w * from_y * from_y).alias("yy"),
                F.sum(w * from_p * from_p).alias("pp"),
                F.sum(w * from_y * from_p).alias("yp"),
            )
        )
        figures = [
            _figures(name, found[row.output], row)
            for name, row in zip(names, sorted(sums.collect(), key=lambda row: row.output))
        ]
        return cls(figures, [_histogram(pairs, found[output]) for output in sorted(found)[:_DRAWN]])

    def __getattr__(self, name: str) -> float:
        """A figure of the only output, such as `evaluation.rmse`; of several, their mean."""
        if name.startswith("_") or name not in RegressionFigures.__dataclass_fields__ or name == "name":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return float(np.mean([getattr(output, name) for output in self.outputs]))

    # --- how it shows itself ---

    _HEAD = tuple(field.name for field in dataclasses.fields(RegressionFigures))

    def _table(self) -> list[list[Any]]:
        return [list(dataclasses.astuple(output)) for output in self.outputs]

    def toPandas(self) -> Any:
        """The figures: one row per output."""
        pandas = display.required("pandas", "pandas", "toPandas()")
        return pandas.DataFrame(self._table(), columns=self._HEAD).set_index("name")

    def __str__(self) -> str:
        return display.text_table(self._HEAD, self._table())

    def _repr_html_(self) -> str:
        return display.html_table(self._HEAD, self._table(), "Regression")

    def plot(self) -> Any:
        """Predictions against labels, as counts, for at most four outputs; a matplotlib figure."""
        new, axes = display.figure(len(self.histograms))
        for axis, output, (counts, low, high) in zip(axes, self.outputs, self.histograms):
            drawn = np.ma.masked_equal(counts.T, 0)
            image = axis.imshow(drawn, origin="lower", extent=(low, high, low, high), norm="log", cmap="viridis")
            axis.plot([low, high], [low, high], color="grey", linewidth=0.5)
            axis.set(title=f"{output.name}: R² {output.r2:.3f}", xlabel="label", ylabel="prediction")
            new.colorbar(image, ax=axis, label="rows")
        return new


def _numbers(predictions: Any, param: str, column: str) -> Any:
    """A column as an array of doubles."""
    from pyspark.ml.functions import vector_to_array

    kind = columns.check_column(predictions, param, column)
    depth, _ = columns.column_depth(kind, param, column)
    if depth > 1:
        raise ValueError(
            f"Column {column!r} in Param `{param}` is a nested array. Received type: {kind.simpleString()}. "
            "Expected: a number, or a flat array or vector of numbers."
        )
    source = columns.reference(column)
    if kind.simpleString() == "vector":
        return vector_to_array(source)
    return source.cast("array<double>") if depth else F.array(source.cast("double"))


def _figures(name: str, means: Any, sums: Any) -> RegressionFigures:
    rows, bias = means.rows, means.p_mean - means.y_mean
    mse = sums.ee / rows
    error_variance = mse - bias**2
    return RegressionFigures(
        name=name,
        rows=rows,
        mse=mse,
        rmse=math.sqrt(mse),
        mae=sums.absolute / rows,
        medianAbsoluteError=sums.median,
        maxError=sums.largest,
        bias=bias,
        r2=1 - sums.ee / sums.yy if sums.yy else math.nan,
        explainedVariance=1 - error_variance * rows / sums.yy if sums.yy else math.nan,
        relativeSquaredError=sums.ee / sums.yy if sums.yy else math.nan,
        pearson=sums.yp / math.sqrt(sums.yy * sums.pp) if sums.yy and sums.pp else math.nan,
    )


def _histogram(pairs: Any, means: Any) -> tuple[np.ndarray, float, float]:
    low, high = means.low, means.high if means.high > means.low else means.low + 1.0

    def cell(value: Any) -> Any:
        return F.least(F.floor((value - low) / (high - low) * _CELLS), F.lit(_CELLS - 1)).cast("int")

    own = pairs.where(F.col("output") == means.output)
    counted = own.groupBy(cell(F.col("y")).alias("y"), cell(F.col("p")).alias("p")).agg(F.sum("w").alias("n"))
    counts = np.zeros((_CELLS, _CELLS))
    for row in counted.collect():
        counts[row.y, row.p] = row.n
    return counts, low, high
