"""Bounds of the distribution function of numbers, from their statistics."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from spark_keras.analysis import times
from spark_keras.analysis.column_analysis import Statistics


class Distribution(NamedTuple):
    """Bounds of a distribution function F at some edges.

    Args:
        edges: ascending; the first is the least number, the last the greatest; empty where there are no numbers.
        below: the share of numbers below each edge, F(edge-), is at most this.
        upto: the share of numbers up to each edge, F(edge), is at least this.
        numbers: finite numbers.
    """

    edges: np.ndarray
    below: np.ndarray
    upto: np.ndarray
    numbers: int

    def distance(self, places: np.ndarray, numbers: float = 0.0, others: float = 0.0) -> float:
        """The Kolmogorov-Smirnov distance to other numbers at the edges, or less where F is not known exactly.

        Args:
            places: counts of the other numbers, as `Placed` has them.
            numbers, others: instead of shares, compare F times `numbers` and the other counts over `others`.
        """
        reached = np.cumsum(places)
        below, upto = reached[0:-1:2], reached[1::2]
        size = others or reached[-1]
        scale = numbers or 1.0
        return max(
            float(np.max(below / size - self.below * scale)), float(np.max(self.upto * scale - upto / size)), 0.0
        )


def distribution_of(statistics: Statistics, relative_error: float) -> Distribution:
    """From the stored quantiles, the histogram, and the least and the greatest number.

    A quantile of the probability p, at a rank that is off by at most `relative_error`, has at most p + relative_error
    of the numbers below it, and at least p - relative_error up to it; what the bins of a histogram hold is exact.
    """
    numbers = numbers_of(statistics)
    if not numbers:
        nothing = np.zeros(0)
        return Distribution(nothing, nothing, nothing, 0)
    low, high = as_number(statistics.min), as_number(statistics.max)
    known = [
        (low, 0.0, (statistics.countAtMin or 0) / numbers),
        (high, 1 - (statistics.countAtMax or 0) / numbers if high > low else 0.0, 1.0),
    ]
    quantiles: Iterable[tuple[float, float]]
    if statistics.percentiles is not None:
        quantiles = zip(np.linspace(0, 1, len(statistics.percentiles)).tolist(), statistics.percentiles)
    else:
        quantiles = ((probability, as_number(value)) for probability, value in (statistics.quantiles or {}).items())
    known += [
        (value, min(probability + relative_error, 1.0), max(probability - relative_error, 0.0))
        for probability, value in quantiles
        if low <= value <= high
    ]
    if statistics.histogram is not None and low < high:
        share = np.cumsum(statistics.histogram.counts) / numbers
        inner = zip(statistics.histogram.edges[1:-1], share.tolist())
        known += [(edge, below, below) for edge, below in inner if low < edge < high]
    edges, where = np.unique([each[0] for each in known], return_inverse=True)
    below, upto = np.ones(len(edges)), np.zeros(len(edges))
    np.minimum.at(below, where, [each[1] for each in known])
    np.maximum.at(upto, where, [each[2] for each in known])
    # F grows: what is known of one edge tells of those beside it.
    below = np.minimum.accumulate(below[::-1])[::-1]
    return Distribution(edges, below, np.maximum.accumulate(upto), numbers)


def numbers_of(statistics: Statistics) -> int:
    """Finite numbers."""
    return statistics.count - (statistics.nan or 0) - (statistics.infinite or 0)


def as_number(value: Any) -> float:
    """As the histogram's edges are: times as microseconds since 1970, dates as days."""
    if isinstance(value, (datetime.date, np.datetime64)):
        return float(times.units(value))
    return float(value)
