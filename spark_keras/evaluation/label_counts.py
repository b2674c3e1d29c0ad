"""A multi-label classifier's rows, counted where they are. Free of Keras; runs on the executors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras.evaluation.class_counts import CURVES_FOR_CLASSES, add_scores
from spark_keras.evaluation.partial import Points, Sums, shares
from spark_keras.evaluation.steps import Rules, Steps, read


class LabelCounting(NamedTuple):
    """Rules of the count.

    Args:
        rules: for the columns.
        thresholds: a label is predicted where its score is larger; one, or one for each label.
        curves: for each label; None: for at most 32 of them.
        bins: of probabilities; 0 where scores are none.
    """

    rules: Rules
    thresholds: tuple[float, ...]
    curves: bool | None
    bins: int


def count(counting: LabelCounting, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Counts of each label, figures of each row, calibration and points of the curves."""
    sums, points = Sums(), Points()
    for batch in batches:
        steps = read(batch, counting.rules, sums)
        limits = np.asarray(counting.thresholds)
        limit = limits[np.minimum(steps.place, len(limits) - 1)]
        label = steps.label == 1
        predicted = np.where(np.isfinite(steps.prediction), steps.prediction > limit, ~label)
        for name, which in (
            ("truePositives", label & predicted),
            ("falsePositives", ~label & predicted),
            ("falseNegatives", label & ~predicted),
            ("trueNegatives", ~label & ~predicted),
        ):
            sums.add(name, steps.place, steps.weight * which)
        _rows(steps, label, predicted, sums)
        if counting.curves or (counting.curves is None and steps.width <= CURVES_FOR_CLASSES):
            for place in np.unique(steps.place).tolist():
                own = steps.place == place
                scores, hits, weights = (array[own, None] for array in (steps.prediction, label, steps.weight))
                add_scores(scores, hits, weights, [place], counting.bins, sums, points)
        yield from points.overflow()
    yield from points.flush()
    sums.add("points", 0, points.sent)
    yield from sums.batches()


def _rows(steps: Steps, label: np.ndarray, predicted: np.ndarray, sums: Sums) -> None:
    """Figures of each row, weighted: shares of its labels, 0 where there are none to take a share of."""
    _, which, labels = np.unique(steps.group, return_inverse=True, return_counts=True)

    def each(values: np.ndarray) -> np.ndarray:
        return np.bincount(which, values, minlength=len(labels))

    weight = each(steps.weight) / labels
    right, true, found = each(label & predicted), each(label), each(predicted)
    figures = {
        "rowWeights": np.ones(len(labels)),
        "subsetAccuracy": each(label != predicted) == 0,
        "precision": shares(right, found),
        "recall": shares(right, true),
        "f1": shares(2 * right, true + found),
        # As scikit-learn has it, where a row has no label and none is predicted.
        "jaccard": shares(right, true + found - right),
    }
    for name, values in figures.items():
        sums.add(name, 0, float(weight @ values))
