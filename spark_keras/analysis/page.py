"""The page of an analysis: what of each column stands in the table, in the charts, and behind "all figures"."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from spark_keras.analysis import times
from spark_keras.analysis.column_analysis import ColumnAnalysis, Histogram, Statistics
from spark_keras.reports.numbers import number
from spark_keras.reports.render import render as render_page

_FREQUENT = 6
_OTHERS = (
    "nan",
    "infinite",
    "sum",
    "variance",
    "skewness",
    "zeros",
    "negatives",
    "positives",
    "countAtMin",
    "countAtMax",
)
_FIGURES = ("nulls", "distinct", "min", "mean", "max", "stdev")


def render(analysis: Any, title: str) -> str:
    """The page as text."""
    cells = analysis.rows * len(analysis)
    missing = sum(column.nulls for column in analysis)
    tiles = [("rows", analysis.rows), ("columns", len(analysis)), ("nulls", missing)]
    if cells:
        tiles.append(("nulls, share", f"{missing / cells:.2%}"))
    return render_page(
        "analysis.html",
        title=title,
        tiles=tiles,
        alerts=analysis.alerts,
        relations=[[number(value) for value in dataclasses.astuple(each)[1:]] for each in analysis.relations],
        related=[each.column for each in analysis.relations],
        figure_names=_FIGURES,
        columns=[_column(column) for column in analysis],
        correlations=analysis.correlations._asdict() if analysis.correlations is not None else None,
    )


def _column(column: ColumnAnalysis) -> dict[str, Any]:
    shown = _shown(column)
    frequent = [(text, count) for text, count in (column.mostFrequent or ())][:_FREQUENT]
    histogram = _histogram(shown.histogram, column) if shown.histogram is not None and not frequent else None
    by_lengths = shown is column.lengths
    what = f"the lengths of {column.name}" if by_lengths else column.name
    figures = [
        ("nulls", _cell(column.nulls, f"{number(column.nulls)} ({column.nulls / max(column.rows, 1):.1%})")),
        ("distinct", _cell(column.distinct, _distinct(column))),
        *[(name, _cell(getattr(shown, name))) for name in ("min", "mean", "max", "stdev")],
    ]
    about = ", ".join(dict.fromkeys([column.kind, column.dataType])) + (" (lengths)" if by_lengths else "")
    more = _more(column)
    text = " ".join([column.name, about, *(name for name, _ in frequent)])
    return {
        "name": column.name,
        "about": about,
        "what": what,
        "text": text.lower(),
        "histogram": histogram,
        "frequent": frequent,
        "figures": figures,
        "more": more,
    }


def _shown(column: ColumnAnalysis) -> Statistics:
    """Of arrays of numbers their values, of strings and other arrays their lengths."""
    return column.values or column.lengths or column


def _histogram(histogram: Histogram, column: ColumnAnalysis) -> dict[str, Any]:
    shown = [_edge(edge, column) for edge in histogram.edges]
    last = len(histogram.counts) - 1
    labels = [
        f"[{left}, {right}{']' if index == last else ')'}"
        for index, (left, right) in enumerate(itertools.pairwise(shown))
    ]
    return {"counts": histogram.counts, "labels": labels, "ends": (shown[0], shown[-1])}


def _edge(edge: float, column: ColumnAnalysis) -> str:
    if column.kind != "time":
        return number(edge)
    moment = times.instant(edge, column.dataType)
    if isinstance(moment, np.datetime64):
        return str(moment.astype("datetime64[D]" if column.dataType == "date" else "datetime64[m]")).replace("T", " ")
    return f"{moment:%Y-%m-%d}" if column.dataType == "date" else f"{moment:%Y-%m-%d %H:%M}"


def _distinct(column: ColumnAnalysis) -> str:
    if column.distinct is None:
        return number(None)
    return number(column.distinct) if column.distinctIsExact else f"~{number(column.distinct)}"


def _cell(value: Any, shown: str | None = None) -> dict[str, str]:
    """Text of a cell, and the key that it is sorted by."""
    key = value
    if isinstance(value, datetime.timedelta):
        key = value.total_seconds()
    elif isinstance(value, datetime.datetime):
        key = value.replace(tzinfo=None).isoformat()
    return {"shown": number(value) if shown is None else shown, "key": "" if key is None else str(key)}


def _more(column: ColumnAnalysis) -> list[tuple[str, str]]:
    more = [("rows", number(column.rows)), ("count", number(column.count))]
    if column.tensorShape is not None:
        shape = ", ".join("?" if length is None else str(length) for length in column.tensorShape)
        more.append(("tensor shape", f"({shape})"))
    if column.values is not None:
        more += _statistics(column.values, "values, ", ("count", "min", "mean", "max", "stdev", *_OTHERS))
    if column.lengths is not None:
        shown = ("min", "mean", "max", "stdev") if column.values is not None else ()
        more += _statistics(column.lengths, "length, ", (*shown, *_OTHERS))
    else:
        more += _statistics(column, "", _OTHERS)
    for text, count in (column.mostFrequent or ())[:20]:
        more.append((f"“{text}”", number(count)))
    if column.elements is not None:
        more.append(("elements analysed", number(len(column.elements))))
    return more


def _statistics(statistics: Statistics, prefix: str, names: Sequence[str]) -> list[tuple[str, str]]:
    values = ((name, getattr(statistics, name)) for name in names)
    found = [(prefix + name, number(value)) for name, value in values if value is not None]
    quantiles = (statistics.quantiles or {}).items()
    return [*found, *((f"{prefix}quantile {probability:g}", number(value)) for probability, value in quantiles)]
