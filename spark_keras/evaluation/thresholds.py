"""Figures at single thresholds of a score, and tables of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spark_keras.reports import tables
from spark_keras.reports.tables import Report, Table

if TYPE_CHECKING:
    import pandas

# Thresholds of a table of scores that are no probabilities.
_QUANTILES = 20


@dataclasses.dataclass(frozen=True)
class ThresholdPoint:
    """Counts (or weights' sums) where a row is of the class if its score is at least `threshold`.

    Figures are 0.0 where nothing is counted in their denominator, as scikit-learn's with zero_division=0.
    """

    threshold: float
    truePositives: float
    falsePositives: float
    trueNegatives: float
    falseNegatives: float

    @property
    def precision(self) -> float:
        """Share of the class among the rows that are taken for it."""
        return _ratio(self.truePositives, self.truePositives + self.falsePositives)

    @property
    def recall(self) -> float:
        """Share of the class that is found; also called sensitivity or true positive rate."""
        return _ratio(self.truePositives, self.truePositives + self.falseNegatives)

    @property
    def specificity(self) -> float:
        """Share of the other rows that are not taken for the class."""
        return _ratio(self.trueNegatives, self.trueNegatives + self.falsePositives)

    @property
    def falsePositiveRate(self) -> float:
        """Share of the other rows that are taken for the class."""
        return _ratio(self.falsePositives, self.trueNegatives + self.falsePositives)

    @property
    def accuracy(self) -> float:
        """Share of the rows that are right."""
        right = self.truePositives + self.trueNegatives
        return _ratio(right, right + self.falsePositives + self.falseNegatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self.fBeta(1.0)

    def fBeta(self, beta: float) -> float:
        """Weighted harmonic mean of precision and recall; recall weighs beta² times as much (van Rijsbergen, 1979)."""
        square = beta**2
        return _ratio(
            (1 + square) * self.truePositives,
            (1 + square) * self.truePositives + square * self.falseNegatives + self.falsePositives,
        )


@dataclasses.dataclass(frozen=True, repr=False)
class ThresholdTable(Report):
    """Figures of a class at some thresholds.

    Args:
        name: of the class.
        points: one for each threshold.
    """

    name: str
    points: list[ThresholdPoint]

    _FIGURES = ("threshold", "precision", "recall", "f1", "accuracy", "specificity")
    _COUNTS = ("truePositives", "falsePositives", "trueNegatives", "falseNegatives")

    _HEAD = (*_FIGURES, *_COUNTS)

    def _facts(self) -> dict[str, Any]:
        return {"name": self.name, "thresholds": len(self.points)}

    def _table(self) -> list[list[float]]:
        return [[float(getattr(point, name)) for name in self._HEAD] for point in self.points]

    def toPandas(self) -> pandas.DataFrame:
        """One row per threshold."""
        pandas = tables.required("pandas", "pandas", "toPandas()")
        return pandas.DataFrame(self._table(), columns=self._HEAD)

    def _tables(self) -> list[Table]:
        return [(f"Thresholds of {self.name}", self._HEAD, self._table())]


class Thresholds:
    """Figures of a curve at single thresholds: exact, unless its class has more than two million distinct scores; then
    among the curve's points.
    """

    name: str
    positives: float
    negatives: float
    binCounts: np.ndarray
    _points: tuple[np.ndarray, np.ndarray, np.ndarray]

    def pointAtThreshold(self, threshold: float) -> ThresholdPoint:
        """The figures where rows are of the class whose score is at least this one."""
        falling = self._points[0]
        return self._point(len(falling) - int(np.searchsorted(falling[::-1], threshold, side="left")) - 1, threshold)

    def pointAtPrecision(self, precision: float) -> ThresholdPoint:
        """The highest recall whose precision is at least this one, as Keras' `RecallAtPrecision`.

        Where no threshold reaches it: the threshold infinity, with a recall of 0.
        """
        return self._best("precision", precision, lambda p, r, _s: (p, r))

    def pointAtRecall(self, recall: float) -> ThresholdPoint:
        """The highest precision whose recall is at least this one, as Keras' `PrecisionAtRecall`."""
        return self._best("recall", recall, lambda p, r, _s: (r, p))

    def pointAtSpecificity(self, specificity: float) -> ThresholdPoint:
        """The highest recall (sensitivity) whose specificity is at least this one, as Keras'
        `SensitivityAtSpecificity`.
        """
        return self._best("specificity", specificity, lambda _p, r, s: (s, r))

    def pointAtSensitivity(self, sensitivity: float) -> ThresholdPoint:
        """The highest specificity whose recall (sensitivity) is at least this one, as Keras'
        `SpecificityAtSensitivity`.
        """
        return self._best("sensitivity", sensitivity, lambda _p, r, s: (r, s))

    def thresholdTable(self, thresholds: Sequence[float] | None = None) -> ThresholdTable:
        """Precision, recall, F1, accuracy, specificity and counts at some thresholds.

        Args:
            thresholds: default: 0.00, 0.05, … 1.00; for scores that are no probabilities, 21 of the scores at equal
                steps of the rows' number.
        """
        if thresholds is None:
            own = np.linspace(0, 1, 21).round(2) if len(self.binCounts) else self._quantiles()
            thresholds = own.tolist()
        return ThresholdTable(self.name, [self.pointAtThreshold(float(threshold)) for threshold in thresholds])

    def _quantiles(self) -> np.ndarray:
        scores, tp, fp = self._points
        shares = np.linspace(0, 1, _QUANTILES + 1) * (self.positives + self.negatives)
        return np.unique(scores[np.clip(np.searchsorted(tp + fp, shares), 0, max(len(scores) - 1, 0))])

    def _point(self, index: int, threshold: float | None = None) -> ThresholdPoint:
        scores, tp, fp = self._points
        above, false = (float(tp[index]), float(fp[index])) if index >= 0 else (0.0, 0.0)
        shown = (float(scores[index]) if index >= 0 else math.inf) if threshold is None else threshold
        return ThresholdPoint(shown, above, false, self.negatives - false, self.positives - above)

    def _best(self, name: str, least: float, chosen: Callable[..., tuple[np.ndarray, np.ndarray]]) -> ThresholdPoint:
        if not 0 <= least <= 1:
            raise ValueError(f"Invalid value for argument `{name}`. Received: {least!r}. Expected: 0 to 1.")
        _, tp, fp = self._points
        if not len(tp):
            return self._point(-1)
        precision, recall = tp / (tp + fp), tp / max(self.positives, 1e-300)
        specificity = (self.negatives - fp) / max(self.negatives, 1e-300)
        given, sought = chosen(precision, recall, specificity)
        # Sums of weights have a rounding.
        enough = given >= least - 1e-12
        if not enough.any():
            return self._point(-1)
        # The first of the best has the highest threshold.
        return self._point(int(np.argmax(np.where(enough, sought, -1.0))))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
