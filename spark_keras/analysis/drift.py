"""Comparison of rows with those that were analysed: differences beyond the tolerances, and beyond chance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_keras.analysis import comparisons
from spark_keras.analysis import measured_columns as m
from spark_keras.analysis.aggregations import only_strings
from spark_keras.analysis.column_analysis import ColumnAnalysis, Statistics
from spark_keras.analysis.comparisons import Comparer, Comparison, Drift, Tolerances, Unseen
from spark_keras.analysis.distributions import Distribution, distribution_of
from spark_keras.analysis.places import Placed, count_places
from spark_keras.analysis.summaries import category_names

_EXAMPLES = 3


class DriftError(ValueError):
    """Rows differ from those that were analysed."""


class DriftWarning(UserWarning):
    """Rows differ from those that were analysed."""


class _Watched(NamedTuple):
    """A measure that is compared: of a whole column, of a position of its arrays, or of all their values."""

    measure: m.Measure
    before: Statistics | None
    edges: Distribution


def check(
    dataset: DataFrame, analyses: Sequence[ColumnAnalysis], tolerances: Tolerances, relative_error: float
) -> list[Drift]:
    """All differences, in the order of the columns; one pass over the rows, and one over those with unseen categories.

    Args:
        relative_error: that of the analysis' quantiles.
    """
    found = _schema(dataset, analyses)
    if found:
        return found
    names = list(dict.fromkeys(_column_of(dataset, analysis) for analysis in analyses))
    fields = {field.name: field for field in m.fields_of(dataset, names)}
    own = [fields[analysis.name] for analysis in analyses]
    watched = [
        each
        for index, (field, analysis) in enumerate(zip(own, analyses))
        for each in _watched(index, field, analysis, relative_error)
    ]
    complete = {
        index: only_strings(field.expression.cast("string"), _seen_strings(field, analysis))
        for index, (field, analysis) in enumerate(zip(own, analyses))
        if analysis.distinctIsExact
    }
    strings = [complete.get(each.measure.column) for each in watched]
    told = count_places(dataset, [each.measure for each in watched], [each.edges.edges for each in watched], strings)
    placed: list[list[tuple[_Watched, Placed]]] = [[] for _ in analyses]
    for each, counted in zip(watched, told):
        placed[each.measure.column].append((each, counted))
    unseen = _unseen(dataset, {index: own[index] for index in complete if _has_unseen(placed[index][0][1])}, analyses)
    compared: list[Comparison] = []
    for index, (field, analysis) in enumerate(zip(own, analyses)):
        (whole, counted), *others = placed[index]
        if not counted.rows:
            continue
        if not analysis.rows:
            found.append(Drift(analysis.name, "range", f"{counted.rows} rows", "none, as no rows were analysed"))
            continue
        before = analysis.nulls + (analysis.nan or 0)
        compare = Comparer(analysis.name, tolerances)
        compared.append(compare.nulls(counted, before, analysis.rows))
        if index in complete:
            now = _by_name(field, counted.strings)
            frequent = dict(analysis.mostFrequent or ())
            compared += compare.categories(now, unseen.get(index, Unseen()), frequent)
        elif whole.before is not None:
            what = "lengths" if analysis.lengths is not None else "values"
            compared += compare.numbers(what, counted, whole.before, whole.edges)
        compared += _arrays(compare, analysis, counted, others)
    return found or comparisons.drifts(compared, tolerances.false_alarm_rate)


def _watched(column: int, field: m.Field, analysis: ColumnAnalysis, relative_error: float) -> list[_Watched]:
    """Comparisons of a column; the first one is of the whole column."""

    def watched(measure: m.Measure, before: Statistics | None) -> _Watched:
        return _Watched(measure, before, distribution_of(before or Statistics(), relative_error))

    elements = analysis.elements or ()
    of_column = m.measures_of([field], {field.name: len(elements)} if elements else {})
    of_column = [each._replace(column=column) for each in of_column]
    found = [watched(of_column[0], statistics_of(analysis))]
    if elements:
        of_elements = [each for each in of_column if each.role == m.ELEMENT]
        found += [watched(each, before) for each, before in zip(of_elements, elements)]
    elif analysis.values is not None:
        (all_values,) = [each for each in of_column if each.role == m.VALUES]
        limits = distribution_of(analysis.values, relative_error)
        ends = {limits.edges[0], limits.edges[-1]} if limits.numbers else ()
        limits = limits._replace(edges=np.array(sorted(ends)))
        found.append(watched(all_values, analysis.values))
        found += [_Watched(each, analysis.values, limits) for each in m.row_extremes(field, column)]
    return found


def _arrays(
    compare: Comparer, analysis: ColumnAnalysis, lengths: Placed, others: Sequence[tuple[_Watched, Placed]]
) -> list[Comparison]:
    """The positions of arrays where they were analysed, else all their values."""
    found: list[Comparison] = []
    if analysis.elements:
        for each, counted in others:
            before = each.before
            if before is None:
                continue
            at_position = compare._replace(position=each.measure.index)
            missing = analysis.rows - before.count + (before.nan or 0)
            found.append(at_position.nulls(counted, missing, analysis.rows))
            found += at_position.numbers("values", counted, before, each.edges)
    elif others:
        (values, counted), (_, least), (_, greatest) = others
        found += compare.array_values(analysis, lengths, counted, least, greatest, values.edges)
    return found


def statistics_of(analysis: ColumnAnalysis) -> Statistics | None:
    """The statistics of the numbers that stand for a whole column."""
    if analysis.lengths is not None:
        return analysis.lengths
    return None if analysis.kind in ("struct", "other") else analysis


def warn_of_earlier_version(analyses: Sequence[ColumnAnalysis], stacklevel: int) -> None:
    """Tells what is not compared, where an analysis was saved before there were percentiles."""
    earlier = [
        analysis.name
        for analysis in analyses
        if (numbers := statistics_of(analysis)) is not None and numbers.min is not None and numbers.percentiles is None
    ]
    if earlier:
        warnings.warn(
            "Distributions are compared at few places, and of arrays nothing but lengths and analysed positions. "
            f"Received: an analysis of an earlier version, without percentiles of the columns {earlier}. "
            "Expected: one that is fitted anew.",
            stacklevel=stacklevel,
        )


def _column_of(dataset: DataFrame, analysis: ColumnAnalysis) -> str:
    """The DataFrame's column that an analysis, maybe that of a struct's field, comes from."""
    name = analysis.name
    while name not in dataset.columns and "." in name:
        name = name.rpartition(".")[0]
    return name


def _schema(dataset: DataFrame, analyses: Sequence[ColumnAnalysis]) -> list[Drift]:
    present = [name for name in {_column_of(dataset, analysis) for analysis in analyses} if name in dataset.columns]
    types = {field.name: field.data_type.simpleString() for field in m.fields_of(dataset, present)}
    return [
        Drift(analysis.name, "schema", types.get(analysis.name, "no such column"), f"type {analysis.dataType}")
        for analysis in analyses
        if types.get(analysis.name) != analysis.dataType
    ]


def _seen_strings(field: Any, analysis: ColumnAnalysis) -> list[str]:
    """As the column has them: numbers of categories go by their names in an analysis."""
    names = category_names(field)
    wanted = {text for text, _ in analysis.mostFrequent or ()}
    return sorted(wanted - set(names.values()) | {number for number, name in names.items() if name in wanted})


def _by_name(field: m.Field, strings: Any) -> dict[str, int]:
    names = category_names(field)
    now: dict[str, int] = {}
    for text, count in strings.items():
        if text is not None:
            now[names.get(text, text)] = now.get(names.get(text, text), 0) + count
    return now


def _has_unseen(counted: Placed) -> bool:
    known = sum(count for text, count in counted.strings.items() if text is not None)
    return counted.rows - counted.nulls > known


def _unseen(dataset: DataFrame, fields: dict[int, m.Field], analyses: Sequence[ColumnAnalysis]) -> dict[int, Unseen]:
    """The categories that the analyses do not know: only how often they occur, because they may be many."""
    if not fields:
        return {}
    unknown = []
    for index, field in fields.items():
        text = field.expression.cast("string")
        seen = _seen_strings(field, analyses[index])
        new = F.when(~text.isin(*seen), text) if seen else text
        unknown.append(F.struct(F.lit(index).alias("column"), new.alias("text")))
    rows = dataset.select(F.inline(F.array(*unknown))).where(F.col("text").isNotNull())
    times = rows.groupBy("column", "text").agg(F.count("*").alias("times"))
    counts = times.groupBy("column", "times").agg(
        F.count("*").alias("categories"),
        F.slice(F.array_sort(F.collect_set(F.substring("text", 1, 100))), 1, _EXAMPLES).alias("examples"),
    )
    found: dict[int, Unseen] = {}
    for row in counts.orderBy("column", F.desc("times")).collect():
        known = found.get(row.column, Unseen())
        examples = [*known.examples, *row.examples][:_EXAMPLES]
        found[row.column] = Unseen({**known.counts, row.times: row.categories}, examples)
    return found
