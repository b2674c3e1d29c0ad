"""Curves of more points than the driver takes: sorted and accumulated by Spark, a class at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_keras.evaluation.partial import EXPLODED, exploded

_STRETCHES = 500


def curves(points: Any) -> dict[int, tuple[Any, ...]]:
    """By class: at most 1001 points (scores, positives and negatives at or above them), area under the ROC curve and
    under the precision-recall curve, both times the counts.

    Args:
        points: messages of `spark_keras.evaluation.partial`.
    """
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
        ranked.withColumn("stretch", F.floor(way * _STRETCHES))
        .groupBy("class", "stretch")
        .agg(
            F.sum(F.col("n") * (F.col("tp") - F.col("p") / 2)).alias("roc"),
            F.sum(F.col("p") * F.col("tp") / (F.col("tp") + F.col("fp"))).alias("pr"),
            F.max("tp").alias("tp"),
            F.max("fp").alias("fp"),
            F.min("score").alias("score"),
        )
    )
