"""Whether rows look like those that were analysed: differences beyond the tolerances, and beyond chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from spark_keras.analysis import measures as m
from spark_keras.analysis.figures import ColumnAnalysis, Statistics
from spark_keras.analysis.passes import Counts, Range, counts, only_strings
from spark_keras.analysis.statistics import category_names

# How rarely a difference that is only chance is told of, for each check.
_LEVEL = 0.001


class DriftError(ValueError):
    """Rows differ from those that were analysed."""


class DriftWarning(UserWarning):
    """Rows differ from those that were analysed."""


class Drift(NamedTuple):
    """One difference.

    Args:
        column: the column's name.
        check: "schema", "nulls", "range", "categories" or "distribution".
        received: what the rows are like.
        expected: what the analysis allows.
    """

    column: str
    check: str
    received: str
    expected: str

    def __str__(self) -> str:
        return f"Column {self.column!r}, {self.check}. Received: {self.received}. Expected: {self.expected}."


class Tolerances(NamedTuple):
    max_distance: float
    max_out_of_range: float
    max_null_increase: float
    max_unseen: float


def chance(rows: int, others: int, subsets: int = 1) -> float:
    """The distance of two samples of one distribution that is exceeded with a probability below `_LEVEL`.

    From Hoeffding's inequality and a union bound over the subsets; for distances between distribution functions that of
    Dvoretzky, Kiefer, Wolfowitz and Massart.
    """
    return math.sqrt((subsets * math.log(2) + math.log(1 / _LEVEL)) / 2 * (1 / max(rows, 1) + 1 / max(others, 1)))


def check(dataset: Any, analyses: Sequence[ColumnAnalysis], tolerances: Tolerances) -> list[Drift]:
    """All differences, in the order of the columns; one pass over the rows."""
    found = _schema(dataset, analyses)
    if found:
        return found
    names = list(dict.fromkeys(_column_of(dataset, analysis) for analysis in analyses))
    fields = {field.name: field for field in m.fields_of(dataset, names)}
    own = [fields[analysis.name] for analysis in analyses]
    all_measures, categories = m.measures_of(own, {})
    # The first measure of a column is that of the whole column.
    first = {measure.column: measure for measure in reversed(all_measures)}
    watched = [first[index] for index in range(len(own))]
    known = [analyses[category.column].distinctIsExact for category in categories]
    categories = [category for category, complete in zip(categories, known) if complete]
    seen = [_seen_strings(own[category.column], analyses[category.column]) for category in categories]
    histograms = [statistics.histogram for statistics in map(statistics_of, analyses) if statistics is not None]
    bins = max((len(histogram.counts) for histogram in histograms if histogram is not None), default=1)
    told = counts(
        dataset,
        watched,
        [_range(statistics_of(analysis)) for analysis in analyses],
        bins,
        [only_strings(category, strings) for category, strings in zip(categories, seen)],
    )
    strings = {category.column: counted.strings for category, counted in zip(categories, told[len(watched) :])}
    for index, (analysis, counted) in enumerate(zip(analyses, told)):
        found += _nulls(analysis, counted, tolerances)
        if index in strings:
            found += _categories(dataset, own[index], analysis, counted, strings[index], tolerances)
        elif statistics_of(analysis) is not None:
            found += _range_and_distribution(analysis, counted, tolerances)
    return found


def statistics_of(analysis: ColumnAnalysis) -> Statistics | None:
    """The statistics whose distribution is watched."""
    return analysis.lengths if analysis.lengths is not None else analysis if analysis.histogram is not None else None


def _column_of(dataset: Any, analysis: ColumnAnalysis) -> str:
    """The DataFrame's column that an analysis, maybe that of a struct's field, comes from."""
    name = analysis.name
    while name not in dataset.columns and "." in name:
        name = name.rpartition(".")[0]
    return name


def _schema(dataset: Any, analyses: Sequence[ColumnAnalysis]) -> list[Drift]:
    present = [name for name in {_column_of(dataset, analysis) for analysis in analyses} if name in dataset.columns]
    types = {field.name: field.data_type.simpleString() for field in m.fields_of(dataset, present)}
    return [
        Drift(analysis.name, "schema", types.get(analysis.name, "no such column"), f"type {analysis.dataType}")
        for analysis in analyses
        if types.get(analysis.name) != analysis.dataType
    ]


def _range(statistics: Statistics | None) -> Range:
    if statistics is None or statistics.histogram is None:
        return Range()
    low, high = statistics.histogram.edges[0], statistics.histogram.edges[-1]
    if statistics.min == statistics.max:
        low = high = low / 2 + high / 2
    return Range(low, high, low)


def _seen_strings(field: Any, analysis: ColumnAnalysis) -> list[str]:
    """As the column has them: numbers of categories go by their names in an analysis."""
    names = category_names(field)
    wanted = {text for text, _ in analysis.mostFrequent}
    return sorted(wanted - set(names.values()) | {number for number, name in names.items() if name in wanted})


def _nulls(analysis: ColumnAnalysis, counted: Counts, tolerances: Tolerances) -> list[Drift]:
    rows = counted.nulls + counted.nan + counted.infinite + counted.finite
    before = analysis.nulls + (analysis.nan or 0)
    if not rows or not analysis.rows:
        return []
    share, usual = (counted.nulls + counted.nan) / rows, before / analysis.rows
    allowed = usual + tolerances.max_null_increase
    if share <= allowed or (before and share <= usual + chance(rows, analysis.rows)):
        return []
    return [Drift(analysis.name, "nulls", f"{share:.2%} null or NaN", f"at most {allowed:.2%}, as it was {usual:.2%}")]


def _range_and_distribution(analysis: ColumnAnalysis, counted: Counts, tolerances: Tolerances) -> list[Drift]:
    statistics = statistics_of(analysis)
    what = "lengths" if statistics is analysis.lengths else "values"
    outside = counted.below + counted.above + (counted.infinite if not analysis.infinite else 0)
    numbers = counted.finite + counted.infinite
    if not numbers or statistics.histogram is None:
        return []
    found = []
    if outside / numbers > tolerances.max_out_of_range:
        found.append(
            Drift(
                analysis.name,
                "range",
                f"{outside / numbers:.2%} of the {what} are outside ({counted.below} below, {outside - counted.below} "
                "above)",
                f"at most {tolerances.max_out_of_range:.2%} outside [{statistics.min}, {statistics.max}]",
            )
        )
    before = np.array([0, *statistics.histogram.counts, 0])
    now = np.array([counted.below, *counted.bins, counted.above])
    if now.sum():
        distance = float(np.abs(np.cumsum(before) / before.sum() - np.cumsum(now) / now.sum()).max())
        found += _distance(
            analysis, distance, chance(now.sum(), before.sum()), tolerances, "Kolmogorov-Smirnov distance"
        )
    return found


def _categories(
    dataset: Any,
    field: Any,
    analysis: ColumnAnalysis,
    counted: Counts,
    strings: Mapping[str | None, int],
    tolerances: Tolerances,
) -> list[Drift]:
    names = category_names(field)
    now: dict[str, int] = {}
    for text, count in strings.items():
        if text is not None:
            now[names.get(text, text)] = now.get(names.get(text, text), 0) + count
    values = counted.finite + counted.nan + counted.infinite
    unseen = values - sum(now.values())
    if not values:
        return []
    found = []
    before = dict(analysis.mostFrequent)
    if unseen / values > tolerances.max_unseen:
        examples = _unseen_examples(dataset, field, _seen_strings(field, analysis))
        shown = ", ".join(repr(text) for text, _ in analysis.mostFrequent[:5]) + (", …" if len(before) > 5 else "")
        found.append(
            Drift(
                analysis.name,
                "categories",
                f"{unseen} of {values} values are new, such as {examples}",
                f"at most {tolerances.max_unseen:.2%} new; {len(before)} are known: {shown}",
            )
        )
    total = sum(before.values())
    if total:
        distance = (sum(abs(now.get(each, 0) / values - before[each] / total) for each in before) + unseen / values) / 2
        margin = chance(values, total, len(before))
        found += _distance(analysis, distance, margin, tolerances, "total variation distance")
    return found


def _unseen_examples(dataset: Any, field: Any, seen: Sequence[str]) -> str:
    text = field.expression.cast("string")
    rows = dataset.where(text.isNotNull() & ~text.isin(*seen)).select(text.alias("text")).limit(3).collect()
    return ", ".join(sorted({repr(row.text) for row in rows}))


def _distance(
    analysis: ColumnAnalysis, distance: float, margin: float, tolerances: Tolerances, name: str
) -> list[Drift]:
    allowed = max(tolerances.max_distance, margin)
    if distance <= allowed:
        return []
    return [Drift(analysis.name, "distribution", f"{name} {distance:.3f}", f"at most {allowed:.3f}")]
