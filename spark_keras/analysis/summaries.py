"""From what the two passes counted to the figures of an analysis; plain arithmetic on the driver."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pyspark.sql.types import StringType

from spark_keras.analysis import measured_columns as m
from spark_keras.analysis.aggregations import Counts, Range, Sketch
from spark_keras.analysis.column_analysis import ColumnAnalysis, Histogram, Statistics
from spark_keras.analysis.times import as_times

# Of more than `maxDistinct` strings those are counted that have such a share of the column.
_FREQUENT = 0.01

# Far below `relativeError`, and above what rounding does to a probability times a number of values.
_BESIDE = 1e-9

# For each rule, the probabilities of the values whose mean a quantile is.
QUANTILE_RULES: dict[str, Callable[[float], tuple[float, ...]]] = {
    "value": lambda probability: (probability,),
    "midpoint": lambda probability: (max(probability - _BESIDE, 0.0), min(probability + _BESIDE, 1.0)),
}


class Measured(NamedTuple):
    """Findings of the two passes on a measure."""

    measure: m.Measure
    sketch: Sketch
    range: Range
    counts: Counts


def statistics(
    measured: Measured, probabilities: Sequence[float], rule: Callable[[float], tuple[float, ...]]
) -> Statistics:
    """The figures of one measure; `rule` is one of `QUANTILE_RULES`."""
    _, sketch, range_, counts = measured
    finite = counts.finite
    found: dict[str, Any] = {
        "count": finite + counts.nan + counts.infinite,
        "nan": counts.nan,
        "infinite": counts.infinite,
        "zeros": counts.zeros,
        "negatives": counts.negatives,
        "positives": finite - counts.zeros - counts.negatives,
        "distinct": counts.distinct if range_.few else min(sketch.distinct, finite),
    }
    if finite and range_.low is not None and range_.high is not None:
        low, high = _exact(sketch.least, range_.low), _exact(sketch.greatest, range_.high)
        # Powers of distances to the median: it is at most one standard deviation away from the mean, so that hardly
        # anything cancels in the differences below.
        first, second, third = (counts.powers / finite).tolist()
        m2 = max(second - first**2, 0.0)
        m3 = third - 3 * first * second + 2 * first**3
        constant = low == high
        found |= {
            "min": low,
            "max": high,
            # What rounding may have put beside the range.
            "mean": min(max(counts.sum / finite, low), high),
            "sum": counts.sum,
            "countAtMin": counts.at_low,
            "countAtMax": counts.at_high,
            "skewness": m3 / m2**1.5 if m2 > 0 and not constant else None,
            "quantiles": {
                float(each): min(max(_mean([sketch.quantiles[p] for p in rule(each)]), low), high)
                for each in probabilities
            },
            "percentiles": sketch.percentiles,
            "histogram": histogram(counts, range_),
        }
        if finite > 1:
            found["variance"] = 0.0 if constant else m2 * finite / (finite - 1) / range_.scale / range_.scale
            found["stdev"] = math.sqrt(found["variance"])
    return Statistics(**found)


def _exact(key: int | None, value: float) -> float:
    """The value, where a double has it, else its key."""
    return value if key is None or (int(value) == key and abs(key) <= 2**53) else key


def _mean(values: Sequence[float]) -> float:
    # Each one divided, because the sum of two doubles may be too large for a double.
    return values[0] if len(set(values)) == 1 else sum(value / len(values) for value in values)


def histogram(counts: Counts, range_: Range) -> Histogram | None:
    """None where the range is too wide for a double."""
    if range_.width is None or not math.isfinite(range_.width):
        return None
    edges = range_.edges(len(counts.bins))
    return Histogram(tuple(edges.tolist()), tuple(counts.bins.tolist()))


def columns(
    fields: Sequence[m.Field],
    measured: Sequence[Measured],
    probabilities: Sequence[float],
    rule: Callable[[float], tuple[float, ...]],
    max_distinct: int,
) -> list[ColumnAnalysis]:
    """One analysis for each field."""
    by_column: dict[int, list[Measured]] = defaultdict(list)
    for each in measured:
        by_column[each.measure.column].append(each)
    analyses = []
    for index, field in enumerate(fields):
        own = by_column[index]
        numbers = [each for each in own if each.measure.role != m.HASH]
        figures = [(each.measure, statistics(each, probabilities, rule)) for each in numbers]
        described = _described(field, figures, own[0].counts.nulls)
        for hashes in own[len(numbers) :]:
            described |= _frequencies(field, hashes, max_distinct, described["count"])
        analyses.append(ColumnAnalysis(**described))
    return analyses


def _described(field: m.Field, figures: Sequence[tuple[m.Measure, Statistics]], nulls: int) -> dict[str, Any]:
    """The fields of `ColumnAnalysis`, without the frequencies; the first measure is that of the whole column."""
    measure, whole = figures[0]
    kind = m.kind_of(field)
    described: dict[str, Any] = {
        "name": field.name,
        "dataType": field.data_type.simpleString(),
        "kind": kind,
        "rows": whole.count + nulls,
        "nulls": nulls,
        "count": whole.count,
    }
    if measure.role == m.VALUE:
        values = as_times(whole, described["dataType"]) if kind == "time" else whole
        described |= {name: getattr(values, name) for name in Statistics.__dataclass_fields__}
    if measure.role == m.LENGTH:
        described["lengths"] = whole
    if kind == "array":
        described["tensorShape"] = _tensor_shape(figures)
        described["elements"] = tuple(each for measure, each in figures if measure.role == m.ELEMENT) or None
        described["values"] = next((each for measure, each in figures if measure.role == m.VALUES), None)
    return described


def _tensor_shape(figures: Sequence[tuple[m.Measure, Statistics]]) -> tuple[int | None, ...]:
    # An inner array that is null counts as one of length -1.
    dimensions: list[tuple[float | None, float | None]] = []
    for measure, each in figures:
        if measure.role == m.LENGTH:
            dimensions.append((each.min, each.max))
        elif measure.role == m.INNER_LEAST:
            dimensions.append((each.min, None))
        elif measure.role == m.INNER_GREATEST:
            dimensions[measure.index] = (dimensions[measure.index][0], each.max)
    return tuple(int(least) if least is not None and least == greatest else None for least, greatest in dimensions)


def _frequencies(field: m.Field, hashes: Measured, max_distinct: int, count: int) -> dict[str, Any]:
    sketch = hashes.sketch
    known = [(text, number) for text, number in hashes.counts.strings.items() if text is not None]
    distinct = len(known) if few(sketch, max_distinct) else min(sketch.distinct, count)
    exact = few(sketch, max_distinct) and distinct <= max_distinct
    if not exact:
        known = [(text, number) for text, number in known if number >= _FREQUENT * count]
    frequent = sorted(known, key=lambda each: (-each[1], each[0]))
    names = category_names(field)
    return {
        "distinct": distinct,
        "distinctIsExact": exact,
        "mostFrequent": tuple((names.get(text, text), number) for text, number in frequent),
    }


def few(sketch: Sketch, max_distinct: int) -> bool:
    """Tells whether there may be so few distinct values that they are counted one by one.

    `approx_count_distinct` has a relative standard deviation of 5 %: this is ten of them.
    """
    return sketch.distinct <= max(1.5 * max_distinct, max_distinct + 16)


def category_names(field: m.Field) -> dict[str, str]:
    """Names that a nominal column's numbers stand for, where its ML attributes tell."""
    if isinstance(field.data_type, StringType):
        return {}
    names = field.metadata.get("ml_attr", {}).get("vals", [])
    return {number: name for index, name in enumerate(names) for number in (str(index), f"{index}.0")}
