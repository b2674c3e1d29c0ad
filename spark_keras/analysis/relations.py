"""Relations of columns to a label: contingency tables and Pearson correlations, in one pass over the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_keras.analysis import measured_columns as m
from spark_keras.analysis.aggregations import scale_of
from spark_keras.analysis.column_analysis import ColumnAnalysis
from spark_keras.analysis.distributions import distribution_of
from spark_keras.analysis.places import with_places
from spark_keras.analysis.summaries import category_names
from spark_keras.similar_names import unknown

# Numbers with more classes than this, by their percentiles, are divided at their deciles.
_CLASSES = 21
# Of strings so many, the most frequent ones, are classes of their own; all others are one class.
_STRINGS = 50


@dataclass(frozen=True)
class Relation:
    """Relation of a column to the label, of the rows in which neither is null, NaN or infinite.

    Numbers and times are divided into classes at their deciles, or where they have up to 20 values that are each 1 % or
    more, by these values. Of strings and categories the 50 most frequent are classes, all others are one.

    Args:
        column: the column's name.
        rows: rows that were counted.
        mutualInformation: of the classes, in nats: sum of p(x, y) log(p(x, y) / (p(x) p(y))); 0 where they are
            independent, at most the entropy of the label's classes.
        uncertainty: the share of the entropy of the label's classes that the column explains, from 0 to 1: Theil's
            uncertainty coefficient; None where the label is constant.
        cramersV: from 0 to 1: sqrt(chi2 / (rows * (min(classes) - 1))), without a correction (Cramér, "Mathematical
            Methods of Statistics", 1946, section 21.9), where both are strings, categories or booleans, else None.
        correlation: Pearson's, where both are numbers, times or booleans and neither is constant, else None.
    """

    column: str
    rows: int
    mutualInformation: float
    uncertainty: float | None = None
    cramersV: float | None = None
    correlation: float | None = None


_KINDS = ("numeric", "categorical", "boolean", "time", "string")


def check_label(fields: Sequence[m.Field], label: str) -> None:
    """Raises an error unless the label is one of the columns that are analysed, with values to relate to."""
    found = [field for field in fields if field.name == label]
    if not found:
        names = [field.name for field in fields]
        raise ValueError(unknown("Unknown column in Param `labelCol`", label, names, "one of the analysed columns"))
    if m.kind_of(found[0]) not in _KINDS:
        raise ValueError(
            f"Column {label!r} in Param `labelCol` has no relations. Received type: "
            f"{found[0].data_type.simpleString()}. Expected: numbers, booleans, times or strings."
        )


def relation(column: str, table: np.ndarray, discrete: bool, sums: Sequence[float] | None) -> Relation:
    """From counts and sums.

    Args:
        table: rows of each class of the column (first axis) and of the label.
        discrete: whether Cramér's V is told.
        sums: of x, y, x**2, y**2 and x y, near 0; None where one of them is no number.
    """
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows = int(table.sum())
    if not rows:
        return Relation(column, 0, 0.0)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / rows
    there = table > 0
    information = float((table[there] / rows * np.log(table[there] / expected[there])).sum())
    of_label = table.sum(axis=0) / rows
    entropy = -float((of_label * np.log(of_label)).sum())
    smaller = min(table.shape) - 1
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return Relation(
        column,
        rows,
        max(information, 0.0),
        min(max(information / entropy, 0.0), 1.0) if entropy > 0 else None,
        math.sqrt(chi2 / rows / smaller) if discrete and smaller else None,
        None if sums is None else _correlation(rows, *sums),
    )


def _correlation(rows: int, x: float, y: float, xx: float, yy: float, xy: float) -> float | None:
    of_x, of_y = xx - x * x / rows, yy - y * y / rows
    # What rounding leaves of a constant.
    if of_x <= 1e-12 * xx or of_y <= 1e-12 * yy:
        return None
    return min(max((xy - x * y / rows) / math.sqrt(of_x * of_y), -1.0), 1.0)


def relations(
    dataset: DataFrame, fields: Sequence[m.Field], analyses: Sequence[ColumnAnalysis], label: str, relative_error: float
) -> tuple[Relation, ...]:
    """Of every column of numbers, times, booleans, strings and categories to the label; one pass over the rows."""
    related = [
        (field, analysis)
        for field, analysis in zip(fields, analyses)
        if analysis.name != label and analysis.kind in _KINDS
    ]
    if not related:
        return ()
    ((own, target),) = [(field, analysis) for field, analysis in zip(fields, analyses) if analysis.name == label]
    numbers = [_number(index, field, analysis) for index, (field, analysis) in enumerate(related)]
    edges = [_edges(analysis, relative_error) for _, analysis in related]
    label_edges = _edges(target, relative_error)
    y = _number(0, own, target).expression
    y = F.when(F.abs(y) < math.inf, y)
    reached = [F.when(y >= edge, 1).otherwise(0) for edge in label_edges.tolist()]
    label_class = sum(reached, F.lit(0))
    rows = m.stream(dataset, numbers, kept={"y": y, "label": label_class})
    rows = with_places(rows.where((F.abs("x") < math.inf) & F.col("y").isNotNull()), edges)
    x = (F.col("x") - m.by_measure([_centre(each) for each in edges], "double")) * m.by_measure(
        [_scale(each) for each in edges], "double"
    )
    y = (F.col("y") - _centre(label_edges)) * _scale(label_edges)
    sums = (x, y, x * x, y * y, x * y)
    grouped = rows.groupBy("measure", "edge", "label").agg(
        F.count("*").alias("rows"), *[F.sum(each).alias(f"s{index}") for index, each in enumerate(sums)]
    )
    tables = [np.zeros((len(each) + 1, len(label_edges) + 1), int) for each in edges]
    totals = np.zeros((len(related), len(sums)))
    for row in grouped.collect():
        tables[row.measure][row.edge, row.label] = row.rows
        totals[row.measure] += [row[f"s{index}"] for index in range(len(sums))]
    return tuple(
        relation(
            analysis.name,
            table,
            not (_is_number(analysis) or _is_number(target)),
            total.tolist() if _has_order(analysis) and _has_order(target) else None,
        )
        for (_, analysis), table, total in zip(related, tables, totals)
    )


def _is_number(analysis: ColumnAnalysis) -> bool:
    return analysis.kind in ("numeric", "time")


def _has_order(analysis: ColumnAnalysis) -> bool:
    return analysis.kind in ("numeric", "time", "boolean")


def _number(index: int, field: m.Field, analysis: ColumnAnalysis) -> m.Measure:
    """Numbers as they are; strings and categories as their places among the frequent ones, from 1 on, or 0."""
    if _has_order(analysis):
        return m.measures_of([field], {})[0]._replace(column=index)
    texts = _frequent(field, analysis)
    text = field.expression.cast("string")
    places = [float(place) for place in range(1, len(texts) + 1)]
    known = F.map_from_arrays(
        F.array(*map(F.lit, texts)).cast("array<string>"), F.array(*map(F.lit, places)).cast("array<double>")
    )
    return m.Measure(index, m.VALUE, F.when(text.isNotNull(), F.coalesce(known[text], F.lit(0.0))))


def _frequent(field: m.Field, analysis: ColumnAnalysis) -> list[str]:
    """As the column has them: categories by their numbers."""
    names = category_names(field)
    wanted = [text for text, _ in analysis.mostFrequent or ()][:_STRINGS]
    if not names:
        return wanted
    floating = field.data_type.simpleString() in ("float", "double")
    known = {name: number for number, name in names.items() if number.endswith(".0") == floating}
    return [known.get(text, text) for text in wanted]


def _edges(analysis: ColumnAnalysis, relative_error: float) -> np.ndarray:
    """A number belongs to the class that has as many edges up to it."""
    if not _has_order(analysis):
        return np.arange(1.0, len((analysis.mostFrequent or ())[:_STRINGS]) + 1)
    if not distribution_of(analysis, relative_error).numbers:
        return np.zeros(0)
    known = np.array(analysis.percentiles or ())
    percentiles = np.unique(known)
    return percentiles if len(percentiles) <= _CLASSES else np.unique(known[10:91:10])


def _centre(edges: np.ndarray) -> float:
    return float(np.median(edges)) if len(edges) else 0.0


def _scale(edges: np.ndarray) -> float:
    return scale_of(float(edges[-1] - edges[0]) if len(edges) > 1 else 0.0)
