"""Curves over all thresholds of a score, exact: of points that the partitions have counted; and reports with them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_keras.evaluation import plots
from spark_keras.evaluation.partial import EXPLODED, Sums, decoded, exploded, shares, together
from spark_keras.evaluation.thresholds import Thresholds
from spark_keras.reports import charts, tables
from spark_keras.reports.cards import Shown, side_by_side
from spark_keras.reports.tables import Report
from spark_keras.similar_names import did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Points of a curve that are kept for drawing, spread over its length.
POINTS = 1000
# Points of a curve that a notebook shows.
_DRAWN = 200
# Points of all curves that the driver takes; more are sorted by Spark.
DRIVER_POINTS = 2**21


@dataclasses.dataclass(frozen=True, repr=False)
class Curve(Shown, Thresholds):
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

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "positives", "negatives", "areaUnderROC", "areaUnderPR")}

    def _parts(self) -> list[str]:
        return _charts([self])


class CurvesReport(Report):
    """A report on classes or labels, each of which may have a curve."""

    curves: list[Curve]
    leftOut: int

    # Of what, for the captions.
    _OF: ClassVar[str]
    _FIGURES = ("precision", "recall", "F1", "rows", "area under ROC", "area under PR", "calibration error")

    @property
    def areaUnderROC(self) -> float:
        """Of the second of two classes; else the mean over the classes or labels that have an area."""
        return self._mean("areaUnderROC")

    @property
    def areaUnderPR(self) -> float:
        """Of the second of two classes; else the mean over the classes or labels that have an area."""
        return self._mean("areaUnderPR")

    def curve(self, name: Any) -> Curve:
        """The curve of the class or label of this name."""
        found = [curve for curve in self.curves if curve.name == str(name)]
        if not found:
            names = [curve.name for curve in self.curves]
            raise KeyError(f"No curve of {name!r}. Expected: one of {names}.{did_you_mean(name, names)}")
        return found[0]

    def plotResiduals(self) -> Figure:
        """Rows by |probability − 1| where they are of the class or have the label, else by probability, and rows by
        probability, of each class or label; a matplotlib figure.
        """
        return plots.residuals(self.curves)

    def _mean(self, area: str) -> float:
        """The mean over the curves that have this area."""
        if not self.curves:
            raise ValueError("No curves were computed. Expected: an evaluation with scores, and with curves=True.")
        areas = np.array([getattr(curve, area) for curve in self.curves])
        known = ~np.isnan(areas)
        return float(areas[known].mean()) if known.any() else float("nan")

    def _of_curve(self, name: str) -> tuple[float, ...]:
        curve = next((curve for curve in self.curves if curve.name == name), None)
        return (curve.areaUnderROC, curve.areaUnderPR, curve.calibrationError) if curve else (float("nan"),) * 3

    def _overall(self) -> list[tuple[str, float]]:
        """Figures over all, by name."""
        raise NotImplementedError

    def _last(self, leftOut: int) -> list[tuple[str, float]]:
        """The last of the figures over all."""
        areas = [("area under ROC", self.areaUnderROC), ("area under PR", self.areaUnderPR)] if self.curves else []
        return [*areas, ("left out", float(leftOut))] if leftOut else areas

    def __str__(self) -> str:
        return f"{tables.text_table((f'all {self._OF}', ''), self._overall())}\n\n{super().__str__()}"

    def _facts(self) -> dict[str, Any]:
        areas = {name: getattr(self, name) for name in ("areaUnderROC", "areaUnderPR") if self.curves}
        return {**areas, "leftOut": self.leftOut or None}

    def _parts(self) -> list[str]:
        overall = tables.html_table(("figure", "value"), self._overall(), f"All {self._OF}")
        return [overall, *super()._parts(), *_charts(self.curves)]


def _charts(curves: Sequence[Curve]) -> list[str]:
    """ROC and precision-recall curves side by side, with so few points and curves that a notebook stays small."""
    roc: dict[str, list[tuple[float, float]]] = {}
    pr: dict[str, list[tuple[float, float]]] = {}
    for curve in curves[: len(charts.COLOURS)]:
        few = np.unique(np.linspace(0, max(len(curve.thresholds) - 1, 0), _DRAWN).astype(int))[: len(curve.thresholds)]
        true, false, precision = (
            values[few].tolist() for values in (curve.truePositiveRate, curve.falsePositiveRate, curve.precision)
        )
        roc[curve.name] = [(0.0, 0.0), *zip(false, true)]
        pr[curve.name] = list(zip(true, precision))
    titles = ("true positive rate by false positive rate", "false positive rate"), ("precision by recall", "recall")
    return [side_by_side(charts.curves(each, *title) for each, title in zip((roc, pr), titles))] if roc else []


def curves(sums: Sums, points: Any, classes: Sequence[int], names: Sequence[str], bins: int) -> list[Curve]:
    """The curves of some classes.

    Args:
        sums: with the number of points and the calibration.
        points: the DataFrame of points.
    """
    if not classes:
        return []
    made = _long(points) if sums.total("points") > DRIVER_POINTS else _short(points)
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


def _long(points: Any) -> dict[int, tuple[Any, ...]]:
    """Of more points than the driver takes, sorted and accumulated by Spark: as `_short`, with at most 1001 points."""
    each = points.mapInArrow(exploded, EXPLODED).toDF("class", "score", "p", "n")
    counts = each.groupBy("class", "score").agg(F.sum("p").alias("p"), F.sum("n").alias("n"))
    made = {}
    found: dict[int, list[Any]] = {}
    for row in _stretches(counts).collect():
        found.setdefault(row["class"], []).append(row)
    for key, rows in found.items():
        rows.sort(key=lambda row: (row.tp + row.fp, -row.score))
        kept = tuple(np.array([row[name] for row in rows], "float64") for name in ("score", "tp", "fp"))
        made[key] = kept, sum(row.roc for row in rows), sum(row.pr for row in rows)
    return made


def _stretches(counts: Any) -> Any:
    """Stretches of the curves: their last point, and what they add to the areas."""
    by_class = Window.partitionBy("class")
    from_top = by_class.orderBy(F.desc("score")).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = counts.select(
        "*",
        F.sum("p").over(from_top).alias("tp"),
        F.sum("n").over(from_top).alias("fp"),
        F.sum("p").over(by_class).alias("positives"),
        F.sum("n").over(by_class).alias("negatives"),
    )
    # Along both axes, so that steep and flat parts have their points.
    way = (F.col("tp") / F.greatest("positives", F.lit(1e-300))) + (
        F.col("fp") / F.greatest("negatives", F.lit(1e-300))
    )
    return (
        ranked.withColumn("stretch", F.floor(way * (POINTS // 2)))
        .groupBy("class", "stretch")
        .agg(
            F.sum(F.col("n") * (F.col("tp") - F.col("p") / 2)).alias("roc"),
            F.sum(F.col("p") * F.col("tp") / (F.col("tp") + F.col("fp"))).alias("pr"),
            F.max("tp").alias("tp"),
            F.max("fp").alias("fp"),
            F.min("score").alias("score"),
        )
    )


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
