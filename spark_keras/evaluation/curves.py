"""Curves over all thresholds of a score, exact: counted and accumulated by Spark, a class at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

# Points of a curve that are kept for drawing, spread over its length.
_POINTS = 1000


@dataclasses.dataclass(frozen=True)
class Curve:
    """One class against all others, at every threshold of its probability.

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
        binCounts: rows by probability, in equal bins of [0, 1].
        binScores: the mean probability in each bin; NaN in an empty one.
        binShares: the share of rows of the class in each bin; NaN in an empty one.
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

    @property
    def calibrationError(self) -> float:
        """Expected calibration error: |mean probability − share of the class|, averaged over rows (Naeini, 2015).
        NaN without bins."""
        if not len(self.binCounts):
            return float("nan")
        gap = np.abs(np.nan_to_num(self.binScores) - np.nan_to_num(self.binShares))
        return float(np.sum(gap * self.binCounts) / np.sum(self.binCounts))


def curves(scores: Any, classes: Sequence[int], names: Sequence[str], bins: int) -> list[Curve]:
    """The curves of some classes.

    Args:
        scores: DataFrame with columns "class" (int), "score" (double), "positive" and "negative" (double): weights of
            rows, of which one is zero.
    """
    counts = scores.groupBy("class", "score").agg(F.sum("positive").alias("p"), F.sum("negative").alias("n")).cache()
    try:
        points = _points(counts).collect()
        binned = _binned(counts, bins).collect() if bins else []
    finally:
        counts.unpersist()
    made = []
    for index in classes:
        # Some bins of a partition may be empty; a class that nobody scored has no row at all.
        own = sorted((row for row in points if row["class"] == index), key=lambda row: (row.tp + row.fp, -row.score))
        made.append(_curve(names[index], own, [row for row in binned if row["class"] == index], bins))
    return made


def _points(counts: Any) -> Any:
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
        ranked.withColumn("stretch", F.floor(way * (_POINTS // 2)))
        .groupBy("class", "stretch")
        .agg(
            F.sum(F.col("n") * (F.col("tp") - F.col("p") / 2)).alias("roc"),
            F.sum(F.when(F.col("p") > 0, F.col("p") * F.col("tp") / (F.col("tp") + F.col("fp"))).otherwise(0.0)).alias(
                "pr"
            ),
            F.max("tp").alias("tp"),
            F.max("fp").alias("fp"),
            F.min("score").alias("score"),
        )
    )


def _binned(counts: Any, bins: int) -> Any:
    index = F.least(F.floor(F.col("score") * bins), F.lit(bins - 1)).cast("int")
    total = F.col("p") + F.col("n")
    return counts.groupBy("class", index.alias("bin")).agg(
        F.sum(total).alias("count"), F.sum(total * F.col("score")).alias("scores"), F.sum("p").alias("positives")
    )


def _curve(name: str, points: list[Any], binned: list[Any], bins: int) -> Curve:
    tp = np.array([row.tp for row in points], "float64")
    fp = np.array([row.fp for row in points], "float64")
    positives, negatives = (float(tp[-1]), float(fp[-1])) if points else (0.0, 0.0)
    counts, scores, shares = np.zeros(bins), np.full(bins, np.nan), np.full(bins, np.nan)
    for row in binned:
        counts[row.bin] = row["count"]
        if row["count"]:
            scores[row.bin], shares[row.bin] = row.scores / row["count"], row.positives / row["count"]
    return Curve(
        name=name,
        positives=positives,
        negatives=negatives,
        areaUnderROC=_share(sum(row.roc for row in points), positives * negatives),
        areaUnderPR=_share(sum(row.pr for row in points), positives),
        thresholds=np.array([row.score for row in points], "float64"),
        truePositiveRate=tp / positives if positives else np.full(len(tp), np.nan),
        falsePositiveRate=fp / negatives if negatives else np.full(len(fp), np.nan),
        precision=np.divide(tp, tp + fp, out=np.full(len(tp), np.nan), where=tp + fp > 0),
        binCounts=counts,
        binScores=scores,
        binShares=shares,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
