"""Alerts: what a reader of an analysis should see first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spark_keras.analysis.column_analysis import ColumnAnalysis, Statistics

# Shares of rows that are null or NaN, from which on nearly all is missing.
_MISSING = 0.95
# As many distinct values as values, within three standard deviations of `approx_count_distinct`.
_UNIQUE = 0.85
# 1 - entropy / log(categories), from which on categories are imbalanced: 0 where all are as frequent, 1 for one alone.
_IMBALANCE = 0.5
_SKEWNESS = 2.0
_CORRELATION = 0.9


@dataclass(frozen=True)
class Alert:
    """Something unusual about a column.

    Args:
        column: the column's name.
        kind: "missing", "constant", "unique", "imbalanced", "skewed" or "correlated".
        value: the figure that tells so.
        message: a sentence.
    """

    column: str
    kind: str
    value: float
    message: str

    def __str__(self) -> str:
        return f"{self.column}: {self.message}"


def alerts_of(analysis: Any) -> tuple[Alert, ...]:
    """The alerts of a `DataFrameAnalysis`, in the order of its columns; those of correlations last."""
    found = [alert for column in analysis for alert in _of_column(column, analysis.getMaxDistinct())]
    return (*found, *_correlated(analysis))


def _of_column(column: ColumnAnalysis, max_distinct: int) -> Iterator[Alert]:
    numbers = column.values or column
    missing = column.nulls + (column.nan or 0)
    if column.rows and missing >= _MISSING * column.rows:
        share = missing / column.rows
        yield Alert(column.name, "missing", share, f"{share:.1%} of the rows are null or NaN")
    if _is_constant(column):
        yield Alert(column.name, "constant", 1, "all values are the same")
        return
    # Of floating-point numbers it is usual.
    distinct = column.distinct or 0
    if column.dataType not in ("float", "double") and column.kind != "boolean" and distinct > 1:
        exact = column.count <= max_distinct
        if distinct >= (1 if exact else _UNIQUE) * column.count:
            about = "" if exact else "about "
            yield Alert(column.name, "unique", distinct, f"{about}as many distinct values as values")
    imbalance = _imbalance(column)
    if imbalance is not None and imbalance > _IMBALANCE:
        yield Alert(column.name, "imbalanced", imbalance, f"categories are imbalanced: {imbalance:.2f} of 1")
    if column.kind in ("numeric", "array") and numbers.skewness is not None and abs(numbers.skewness) > _SKEWNESS:
        yield Alert(column.name, "skewed", numbers.skewness, f"skewness {numbers.skewness:.3g}")


def _is_constant(column: ColumnAnalysis) -> bool:
    if not column.count:
        return False
    if column.kind in ("string", "categorical"):
        return column.distinct == 1
    if column.kind == "array":
        inner, lengths = column.values, column.lengths
        return inner is not None and lengths is not None and lengths.min == lengths.max and _one_value(inner)
    return column.kind in ("numeric", "boolean", "time") and _one_value(column)


def _one_value(statistics: Statistics) -> bool:
    others = (statistics.nan or 0) + (statistics.infinite or 0)
    return not others and statistics.min is not None and statistics.min == statistics.max


def _imbalance(column: ColumnAnalysis) -> float | None:
    if column.kind == "boolean":
        counts = [column.zeros or 0, column.positives or 0]
    elif column.distinctIsExact:
        counts = [count for _, count in column.mostFrequent or ()]
    else:
        return None
    if len(counts) < 2 or not all(counts):
        return None
    shares = [count / sum(counts) for count in counts]
    return 1 + sum(share * math.log(share) for share in shares) / math.log(len(shares))


def _correlated(analysis: Any) -> Iterator[Alert]:
    if analysis.correlations is not None:
        names, values = analysis.correlations
        for i, name in enumerate(names):
            for j in range(i):
                if abs(values[i][j]) >= _CORRELATION:
                    message = f"correlation of {values[i][j]:.3f} with {names[j]}"
                    yield Alert(name, "correlated", values[i][j], message)
    for each in analysis.relations:
        figures = (("correlation", each.correlation), ("Cramér's V", each.cramersV), ("uncertainty", each.uncertainty))
        name, value = max(figures, key=lambda figure: abs(figure[1] or 0.0))
        if abs(value or 0.0) >= _CORRELATION:
            yield Alert(each.column, "correlated", value, f"{name} of {value:.3f} with the label")
