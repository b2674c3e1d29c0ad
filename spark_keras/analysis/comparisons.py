"""Comparisons of rows with an analysis: from counts to p-values and to words; without Spark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spark_keras.analysis import significance
from spark_keras.analysis.column_analysis import ColumnAnalysis, Statistics
from spark_keras.analysis.distributions import Distribution
from spark_keras.analysis.places import Placed


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
    """Limits below which nothing is a difference, however sure it is; and how often chance may be told as one."""

    max_distance: float
    max_out_of_range: float
    max_null_increase: float
    max_unseen: float
    false_alarm_rate: float


class Comparison(NamedTuple):
    """One comparison, and its test: of a column, or of one position of its arrays.

    Args:
        probability: the p-value: so great a difference by chance.
        size: how great it is.
        allowed: up to this size it is no difference.
    """

    column: str
    check: str
    probability: float
    size: float
    allowed: float
    received: str
    expected: str
    position: int | None = None


def drifts(comparisons: Sequence[Comparison], rate: float) -> list[Drift]:
    """The differences that are greater than allowed, and told apart from chance; positions of an array are one."""
    chosen = significance.significant([each.probability for each in comparisons], rate)
    told = [each for each, is_chosen in zip(comparisons, chosen) if is_chosen and each.size > each.allowed]
    together: dict[tuple[str, str], list[Comparison]] = {}
    for each in told:
        together.setdefault((each.column, each.check), []).append(each)
    found = []
    for (column, check), all_of_it in together.items():
        most = max(all_of_it, key=lambda each: each.size)
        received, expected = most.received, most.expected
        if most.position is not None:
            others = f"the greatest of {len(all_of_it)} positions, " if len(all_of_it) > 1 else ""
            received = f"at position {most.position}, {others}{received}"
        found.append(Drift(column, check, received, expected))
    return found


class Unseen(NamedTuple):
    """Values that the analysis does not know: how often they occur, {times: how many of them}, and some of them."""

    counts: Mapping[int, int] = {}
    examples: Sequence[str] = ()


class Comparer(NamedTuple):
    """Comparisons of one column, or of one position of its arrays."""

    column: str
    tolerances: Tolerances
    position: int | None = None

    def nulls(self, now: Placed, before: int, rows_before: int) -> Comparison:
        """Nulls and NaN: more of them."""
        missing = now.nulls + now.nan
        share, usual = missing / now.rows, before / rows_before if rows_before else 0.0
        allowed = self.tolerances.max_null_increase
        probability = significance.increase(missing, now.rows, before, rows_before)
        expected = f"at most {usual + allowed:.2%}, as it was {usual:.2%}"
        return self._made("nulls", probability, share - usual, allowed, f"{share:.2%} null or NaN", expected)

    def numbers(self, what: str, now: Placed, before: Statistics, distribution: Distribution) -> Iterator[Comparison]:
        """Numbers beyond all that were analysed, and the distance of the distributions."""
        received, known = now.finite + now.infinite, distribution.numbers + (before.infinite or 0)
        if not received:
            return
        yield self._out_of_range(what, now, now, received, before, known)
        if now.finite and distribution.numbers:
            distance = distribution.distance(now.places)
            probability = significance.distance(distance, now.finite, distribution.numbers)
            yield self._distance("Kolmogorov-Smirnov distance", distance, probability)

    def _out_of_range(
        self, what: str, least: Placed, greatest: Placed, received: int, before: Statistics, known: int
    ) -> Comparison:
        """Values below the least, above the greatest, or infinite.

        Args:
            least, greatest: what is compared with the least, with the greatest value.
            received, known: how many of them there are, now and in the analysis.
        """
        below, above = least.below_first, greatest.above_last
        infinite, infinite_before = max(least.infinite, greatest.infinite), min(before.infinite or 0, known)
        chances = (
            significance.increase(below, received, 0, known),
            significance.increase(above, received, 0, known),
            significance.increase(infinite, received, infinite_before, known),
        )
        probability = min(1.0, len(chances) * min(chances))
        excess = max(infinite / received - (infinite_before / known if known else 0.0), 0.0)
        outside = (below + above) / received + excess
        further = f", {infinite} infinite" if infinite else ""
        limits = f"outside [{before.min}, {before.max}]" if before.min is not None else "at all, as there were none"
        allowed = self.tolerances.max_out_of_range
        told = f"{outside:.2%} of the {what} are outside ({below} below, {above} above{further})"
        return self._made("range", probability, outside, allowed, told, f"at most {allowed:.2%} {limits}")

    def array_values(
        self,
        analysis: ColumnAnalysis,
        lengths: Placed,
        values: Placed,
        least: Placed,
        greatest: Placed,
        distribution: Distribution,
    ) -> Iterator[Comparison]:
        """All values of arrays, whatever their position. Values of one row may depend on each other, so rows are
        counted.

        Args:
            lengths, least, greatest: of each row.
            values: of all rows.
        """
        before, known = analysis.values, analysis.count
        rows = lengths.finite
        if not rows or not known or before is None:
            return
        # So many arrays have a NaN; of those before it is known that they were no more than the NaN.
        with_nan = Placed(greatest.nan, 0, 0, np.array([rows - greatest.nan]))
        yield self.nulls(with_nan, min(before.nan or 0, known), known)
        yield self._out_of_range("rows' values", least, greatest, rows, before, known)
        longest = _longest(analysis, lengths)
        if values.finite and distribution.numbers and longest:
            distance = distribution.distance(values.places)
            # Values up to an edge, in the mean of the rows: they differ by the sum of what each position differs by.
            mean = distribution.distance(values.places, distribution.numbers / known, rows) / longest
            probability = significance.mean_distance(mean, rows, known)
            yield self._distance("Kolmogorov-Smirnov distance of all values", distance, probability)

    def categories(self, now: Mapping[str, int], unseen: Unseen, before: Mapping[str, int]) -> Iterator[Comparison]:
        """Categories that were not there, and the total variation distance of the frequencies."""
        new = np.repeat(np.array(list(unseen.counts), int), list(unseen.counts.values()))
        counts_now = np.concatenate([[now.get(text, 0) for text in before], new]).astype(int)
        counts_before = np.concatenate([list(before.values()), np.zeros(len(new))]).astype(int)
        values, total = int(counts_now.sum()), int(counts_before.sum())
        if not values:
            return
        probability = significance.unseen(counts_now, counts_before) if total else 1.0
        allowed, found = self.tolerances.max_unseen, int(new.sum())
        told = f"{found} of {values} values are new, such as {', '.join(map(repr, unseen.examples))}"
        shown = ", ".join(map(repr, list(before)[:5])) + (", …" if len(before) > 5 else "")
        expected = f"at most {allowed:.2%} new; {len(before)} are known: {shown}"
        yield self._made("categories", probability, found / values, allowed, told, expected)
        if total:
            distance = float(np.abs(counts_now / values - counts_before / total).sum()) / 2
            probability = significance.frequencies(counts_now, counts_before)
            yield self._distance("total variation distance", distance, probability)

    def _distance(self, name: str, distance: float, probability: float) -> Comparison:
        allowed = self.tolerances.max_distance
        told = f"{name} {distance:.3f}"
        return self._made("distribution", probability, distance, allowed, told, f"at most {allowed:.3f}")

    def _made(
        self, check: str, probability: float, size: float, allowed: float, received: str, expected: str
    ) -> Comparison:
        return Comparison(self.column, check, probability, size, allowed, received, expected, self.position)


def _longest(analysis: ColumnAnalysis, lengths: Placed) -> float | None:
    """Values of the longest array; None where it is not known."""
    analysed = analysis.lengths.max if analysis.lengths is not None else None
    shape = (analysis.tensorShape or (None,))[1:]
    inner = [size for size in shape if size is not None]
    return max(analysed or 0, lengths.greatest or 0) * math.prod(inner) if len(inner) == len(shape) else None
