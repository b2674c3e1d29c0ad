"""From what the two passes counted to the figures of an analysis; plain arithmetic on the driver."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from spark_keras.analysis.figures import ColumnAnalysis, Histogram, Statistics, as_times
from spark_keras.analysis.measures import (
    ELEMENT,
    INNER_GREATEST,
    INNER_LEAST,
    LENGTH,
    VALUE,
    Category,
    Field,
    Measure,
    kind_of,
)
from spark_keras.analysis.passes import Counts, Range, Sketch

# Far below `relativeError`, and above what rounding does to a probability times a number of values.
_BESIDE = 1e-9

# For each rule, the probabilities of the values whose mean a quantile is.
QUANTILE_RULES: dict[str, Callable[[float], tuple[float, ...]]] = {
    "value": lambda probability: (probability,),
    "midpoint": lambda probability: (max(probability - _BESIDE, 0.0), min(probability + _BESIDE, 1.0)),
}


def statistics(
    counts: Counts,
    range_: Range,
    sketch: Sketch,
    probabilities: Sequence[float],
    rule: Callable[[float], tuple[float, ...]],
) -> Statistics:
    """The figures of one measure; `rule` is one of `QUANTILE_RULES`."""
    finite = counts.finite
    found: dict[str, Any] = {
        "count": finite + counts.nan + counts.infinite,
        "nan": counts.nan,
        "infinite": counts.infinite,
        "zeros": counts.zeros,
        "negatives": counts.negatives,
        "positives": finite - counts.zeros - counts.negatives,
        "distinct": sketch.distinct,
    }
    if finite:
        # Powers of distances to the median: it is at most one standard deviation away from the mean, so that hardly
        # anything cancels in the differences below.
        first, second, third = (counts.powers / finite).tolist()
        m2 = max(second - first**2, 0.0)
        m3 = third - 3 * first * second + 2 * first**3
        constant = range_.low == range_.high
        found |= {
            "min": range_.low,
            "max": range_.high,
            "mean": range_.low if constant else counts.sum / finite,
            "sum": counts.sum,
            "countAtMin": counts.at_low,
            "countAtMax": counts.at_high,
            "skewness": m3 / m2**1.5 if m2 > 0 and not constant else None,
            "quantiles": {float(each): _mean([sketch.quantiles[p] for p in rule(each)]) for each in probabilities},
            "histogram": histogram(counts, range_),
        }
        if finite > 1:
            found["variance"] = 0.0 if constant else m2 * finite / (finite - 1) / range_.scale / range_.scale
            found["stdev"] = math.sqrt(found["variance"])
    return Statistics(**found)


def _mean(values: Sequence[float]) -> float:
    # Each one divided, because the sum of two doubles may be too large for a double.
    return values[0] if len(set(values)) == 1 else sum(value / len(values) for value in values)


def histogram(counts: Counts, range_: Range) -> Histogram | None:
    """None where the range is too wide for a double."""
    if not math.isfinite(range_.high - range_.low):
        return None
    edges = range_.edges(len(counts.bins))
    return Histogram(tuple(edges.tolist()), tuple(counts.bins.tolist()))


def columns(
    fields: Sequence[Field],
    measures: Sequence[Measure],
    figures: Sequence[Statistics],
    counts: Sequence[Counts],
    categories: Sequence[Category],
    strings: Sequence[dict[str | None, int]],
    string_sketches: Sequence[Sketch],
    max_distinct: int,
) -> list[ColumnAnalysis]:
    """One analysis for each field.

    Args:
        figures, counts: one for each measure.
        strings, string_sketches: one for each category.
    """
    by_column: dict[int, list[int]] = {}
    for index, measure in enumerate(measures):
        by_column.setdefault(measure.column, []).append(index)
    category_of = {category.column: index for index, category in enumerate(categories)}
    analyses = []
    for index, field in enumerate(fields):
        own = by_column[index]
        category = category_of.get(index)
        described = _described(field, [measures[i] for i in own], [figures[i] for i in own], counts[own[0]])
        if category is not None:
            described |= _frequencies(field, strings[category], string_sketches[category], max_distinct)
        analyses.append(ColumnAnalysis(**described))
    return analyses


def _described(
    field: Field, measures: Sequence[Measure], figures: Sequence[Statistics], counts: Counts
) -> dict[str, Any]:
    """The fields of `ColumnAnalysis`, without the frequencies; the first measure is that of the whole column."""
    whole = figures[0]
    kind = kind_of(field)
    described: dict[str, Any] = {
        "name": field.name,
        "dataType": field.data_type.simpleString(),
        "kind": kind,
        "rows": whole.count + counts.nulls,
        "nulls": counts.nulls,
        "count": whole.count,
    }
    if measures[0].role == VALUE:
        values = as_times(whole, described["dataType"]) if kind == "time" else whole
        described |= {name: getattr(values, name) for name in Statistics.__dataclass_fields__}
    if measures[0].role == LENGTH:
        described["lengths"] = whole
    if kind == "array":
        described["tensorShape"] = _tensor_shape(measures, figures)
        elements = tuple(each for measure, each in zip(measures, figures) if measure.role == ELEMENT)
        described["elements"] = elements or None
    return described


def _tensor_shape(measures: Sequence[Measure], figures: Sequence[Statistics]) -> tuple[int | None, ...]:
    dimensions: list[tuple[float | None, float | None]] = []
    for measure, each in zip(measures, figures):
        if measure.role == LENGTH:
            dimensions.append((each.min, each.max))
        elif measure.role == INNER_LEAST:
            dimensions.append((each.min, None))
        elif measure.role == INNER_GREATEST:
            dimensions[measure.index] = (dimensions[measure.index][0], each.max)
    return tuple(int(least) if least is not None and least == greatest else None for least, greatest in dimensions)


def _frequencies(field: Field, strings: dict[str | None, int], sketch: Sketch, max_distinct: int) -> dict[str, Any]:
    exact = counts_every_string(sketch, max_distinct)
    known = [(text, count) for text, count in strings.items() if text is not None]
    frequent = sorted(known, key=lambda each: (-each[1], each[0]))
    names = category_names(field)
    return {
        "distinct": len(known) if exact else sketch.distinct,
        "distinctIsExact": exact,
        "mostFrequent": tuple((names.get(text, text), count) for text, count in frequent),
    }


def counts_every_string(sketch: Sketch, max_distinct: int) -> bool:
    return sketch.distinct <= max_distinct


def category_names(field: Field) -> dict[str, str]:
    """What a nominal column's numbers stand for, where its ML attributes tell."""
    from pyspark.sql.types import StringType

    if isinstance(field.data_type, StringType):
        return {}
    names = field.metadata.get("ml_attr", {}).get("vals", [])
    return {number: name for index, name in enumerate(names) for number in (str(index), f"{index}.0")}
