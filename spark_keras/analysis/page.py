"""The page of an analysis: what of each column stands in the table, in the charts, and behind "all figures"."""

from __future__ import annotations

import datetime
from typing import Any

from spark_keras.analysis.figures import ColumnAnalysis, Histogram
from spark_keras.pages.charts import number
from spark_keras.pages.render import render as render_page

_FREQUENT = 6
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
        figure_names=_FIGURES,
        columns=[_column(column) for column in analysis],
        correlations=analysis.correlations._asdict() if analysis.correlations is not None else None,
    )


def _column(column: ColumnAnalysis) -> dict[str, Any]:
    # Strings and arrays are shown by their lengths.
    shown = column.lengths or column
    frequent = [(text, count) for text, count in (column.mostFrequent or ())][:_FREQUENT]
    histogram = _histogram(shown.histogram, column) if shown.histogram is not None and not frequent else None
    what = f"the lengths of {column.name}" if column.lengths else column.name
    figures = [
        ("nulls", _cell(column.nulls, f"{number(column.nulls)} ({column.nulls / max(column.rows, 1):.1%})")),
        ("distinct", _cell(column.distinct, _distinct(column))),
        *[(name, _cell(getattr(shown, name))) for name in ("min", "mean", "max", "stdev")],
    ]
    about = ", ".join(dict.fromkeys([column.kind, column.dataType])) + (" (lengths)" if column.lengths else "")
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


def _histogram(histogram: Histogram, column: ColumnAnalysis) -> dict[str, Any]:
    shown = [_edge(edge, column) for edge in histogram.edges]
    last = len(histogram.counts) - 1
    labels = [
        f"[{left}, {right}{']' if index == last else ')'}" for index, (left, right) in enumerate(zip(shown, shown[1:]))
    ]
    return {"counts": histogram.counts, "labels": labels, "ends": (shown[0], shown[-1])}


def _edge(edge: float, column: ColumnAnalysis) -> str:
    if column.kind != "time":
        return number(edge)
    microseconds = edge * 86_400_000_000 if column.dataType == "date" else edge
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=round(microseconds))
    return f"{moment:%Y-%m-%d}" if column.dataType == "date" else f"{moment:%Y-%m-%d %H:%M}"


def _distinct(column: ColumnAnalysis) -> str:
    if column.distinct is None:
        return number(None)
    return number(column.distinct) if column.distinctIsExact else f"~{number(column.distinct)}"


def _cell(value: Any, shown: str | None = None) -> dict[str, str]:
    """What a cell shows, and what it is sorted by."""
    key = value
    if isinstance(value, datetime.timedelta):
        key = value.total_seconds()
    elif isinstance(value, datetime.datetime):
        key = value.replace(tzinfo=None).isoformat()
    return {"shown": number(value) if shown is None else shown, "key": "" if key is None else str(key)}


def _more(column: ColumnAnalysis) -> list[tuple[str, str]]:
    shown = column.lengths or column
    prefix = "length, " if column.lengths else ""
    more = [("rows", number(column.rows)), ("count", number(column.count))]
    if column.tensorShape is not None:
        shape = ", ".join("?" if length is None else str(length) for length in column.tensorShape)
        more.append(("tensor shape", f"({shape})"))
    names = ("nan", "infinite", "sum", "variance", "skewness", "zeros", "negatives", "positives")
    names += ("countAtMin", "countAtMax")
    more += [(prefix + name, number(getattr(shown, name))) for name in names if getattr(shown, name) is not None]
    for probability, value in (shown.quantiles or {}).items():
        more.append((f"{prefix}quantile {probability:g}", number(value)))
    for text, count in (column.mostFrequent or ())[:20]:
        more.append((f"“{text}”", number(count)))
    if column.elements is not None:
        more.append(("elements analysed", number(len(column.elements))))
    return more
