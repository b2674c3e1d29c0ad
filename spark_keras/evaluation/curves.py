"""Curves over all thresholds of a score, exact: of points that the partitions have counted."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from spark_keras.evaluation import long_curves
from spark_keras.evaluation.partial import Sums, decoded, shares, together
from spark_keras.evaluation.thresholds import Thresholds

# Points of a curve that are kept for drawing, spread over its length.
POINTS = 1000
# Points of all curves that the driver takes; more are sorted by Spark.
DRIVER_POINTS = 2**21


@dataclasses.dataclass(frozen=True)
class Curve(Thresholds):
    """One class against all others, at every threshold of its score.

    Args:
        name: of the class.
        positives: rows of the class (or their weights' sum).
        negatives: rows of other classes.
        areaUnderROC: exact: the probability that a row of the class scores higher than another, ties counted half
            (Mann and Whitney). NaN where there are no positives or no negatives.
        areaUnderPR: exact: average precision, Σ (Rₙ − Rₙ₋₁) Pₙ over all distinct scores, as scikit-learn's
            `average_precision_score`. Not interpolated between points, which would be too optimistic (Davis and
            Goadrich, ICML 2006). NaN where there are no positives.
        thresholds: at most 1001 of the scores, falling.
        truePositiveRate: recall, at each of these thresholds.
        falsePositiveRate: at each of these thresholds.
        precision: at each of these thresholds.
        binCounts: rows by probability, in equal bins of [0, 1]. This and what follows is empty where scores are no
            probabilities.
        binScores: the mean probability in each bin; NaN in an empty one.
        binShares: the share of rows of the class in each bin; NaN in an empty one.
        residualCounts: rows by |probability − 1| where they are of the class, else by probability, in the same bins.
    """

    name: str
    positives: float
    negatives: float
    areaUnderROC: float
    areaUnderPR: float
    thresholds: np.ndarray
    truePositiveRate: np.ndarray
    falsePositiveRate: np.ndarray
    precision: np.ndarray
    binCounts: np.ndarray
    binScores: np.ndarray
    binShares: np.ndarray
    residualCounts: np.ndarray
    # All distinct scores, falling, with the positives and negatives that score as high or higher; where they are too
    # many for the driver, those of `thresholds`.
    _points: tuple[np.ndarray, np.ndarray, np.ndarray] = dataclasses.field(repr=False, compare=False)

    @property
    def calibrationError(self) -> float:
        """Expected calibration error: |mean probability − share of the class|, averaged over rows (Naeini, 2015)."""
        gap = np.abs(np.nan_to_num(self.binScores) - np.nan_to_num(self.binShares))
        return _share(float(np.sum(gap * self.binCounts)), float(np.sum(self.binCounts)))


def mean_area(drawn: Sequence[Curve], which: str) -> float:
    """The mean over the curves that have this area."""
    if not drawn:
        raise ValueError("No curves were computed. Expected: an evaluation with scores, and with curves=True.")
    areas = np.array([getattr(curve, which) for curve in drawn])
    known = ~np.isnan(areas)
    return float(areas[known].mean()) if known.any() else float("nan")


def named(drawn: Sequence[Curve], name: Any) -> Curve:
    """The curve of this name."""
    found = [curve for curve in drawn if curve.name == str(name)]
    if not found:
        raise KeyError(f"No curve of {name!r}. Expected: one of {[curve.name for curve in drawn]}.")
    return found[0]


def curves(sums: Sums, points: Any, classes: Sequence[int], names: Sequence[str], bins: int) -> list[Curve]:
    """The curves of some classes.

    Args:
        sums: with the number of points and the calibration.
        points: the DataFrame of points.
    """
    if not classes:
        return []
    made = long_curves.curves(points) if sums.total("points") > DRIVER_POINTS else _short(points)
    binned = [
        sums.dense(which, len(names) * bins).reshape(len(names), bins)
        for which in ("binCounts", "binScores", "binHits", "residuals")
    ]
    return [_curve(names[index], made.get(index), *(array[index] for array in binned)) for index in classes]


def _short(points: Any) -> dict[int, tuple[Any, ...]]:
    """By class: points, area under the ROC curve and under the precision-recall curve, both times the counts."""
    parts: dict[int, list[Any]] = defaultdict(list)
    for row in points.collect():
        parts[row.key].append(decoded(row))
    made = {}
    for key in list(parts):
        scores, positives, negatives = (array[::-1] for array in together(parts.pop(key)))
        tp, fp = np.cumsum(positives), np.cumsum(negatives)
        roc = np.sum(negatives * (tp - positives / 2))
        pr = np.sum(positives * tp / (tp + fp))
        made[key] = (scores, tp, fp), float(roc), float(pr)
    return made


def _curve(
    name: str, made: Any, counts: np.ndarray, totals: np.ndarray, hits: np.ndarray, residuals: np.ndarray
) -> Curve:
    # A class that nobody scored has no points at all.
    points, roc, pr = made or ((np.zeros(0), np.zeros(0), np.zeros(0)), 0.0, 0.0)
    positives, negatives = (float(points[1][-1]), float(points[2][-1])) if len(points[0]) else (0.0, 0.0)
    kept = _spread(*points[1:])
    scores, tp, fp = (array[kept] for array in points)
    return Curve(
        name=name,
        positives=positives,
        negatives=negatives,
        areaUnderROC=_share(roc, positives * negatives),
        areaUnderPR=_share(pr, positives),
        thresholds=scores,
        truePositiveRate=tp / positives if positives else np.full(len(tp), np.nan),
        falsePositiveRate=fp / negatives if negatives else np.full(len(fp), np.nan),
        precision=tp / (tp + fp),
        binCounts=counts,
        binScores=shares(totals, counts, np.nan),
        binShares=shares(hits, counts, np.nan),
        residualCounts=residuals,
        _points=points,
    )


def _spread(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """The last points of at most 1001 stretches. Along both axes, so that steep and flat parts have their points."""
    if not len(tp):
        return np.zeros(0, "int64")
    way = tp / max(tp[-1], 1e-300) + fp / max(fp[-1], 1e-300)
    stretch = np.floor(way * (POINTS // 2))
    return np.flatnonzero(np.append(stretch[1:] != stretch[:-1], True))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
