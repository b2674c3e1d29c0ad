"""A classifier's rows, of classes or of labels, counted where they are. Free of Keras; runs on the executors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras.evaluation.partial import Points, Sums, rest, shares
from spark_keras.evaluation.steps import Rules, Steps, read

# A curve of each class is a sort of its scores: for more classes only on request.
CURVES_FOR_CLASSES = 32
# A confusion matrix of more classes, 200 MB as an array, is kept as the pairs of classes that occur.
MATRIX_CLASSES = 5000
# Numbers that are compared at a time.
_CELLS = 2**20
# A pair of classes is one number: the true class times this, and the predicted one.
_TRUE = 2**31


class Counting(NamedTuple):
    """Rules of the count.

    Args:
        rules: for the columns.
        curves: for each class; None: for at most 32 of them.
        bins: of probabilities; 0 where scores are none.
    """

    rules: Rules
    curves: bool | None
    bins: int


def count(counting: Counting, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pairs of a true and a predicted class, ranks of the true classes, calibration and points of the curves."""
    sums, points = Sums(), Points()
    for rows in (rows for batch in batches for rows in _parts(batch)):
        steps = read(rows, counting.rules, sums)
        sums.add("cells", steps.label.astype("int64") * _TRUE + steps.prediction.astype("int64"), steps.weight)
        if steps.scores is not None:
            chunk = max(1, _CELLS // steps.scores.shape[1])
            for start in range(0, len(steps.label), chunk):
                part = slice(start, start + chunk)
                _scores(counting, steps.label[part], steps.scores[part], steps.weight[part], sums, points)
                yield from points.overflow()
    yield from rest(sums, points)


def pairs(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of classes that occur, in order: true classes, predicted classes, rows or their weights' sums."""
    codes, weights = sums["cells"]
    return *np.divmod(codes[weights > 0], _TRUE), weights[weights > 0]


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in slices of about `_CELLS` numbers: with many classes, what is made of a slice would be large for all
    rows of a batch at once.
    """
    rows = max(1, batch.num_rows * _CELLS * 8 // max(1, batch.nbytes))
    return (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def classes_of_curves(classes: int, wanted: bool | None) -> list[int]:
    """The classes that have a curve: of two only the second."""
    if wanted is False or (wanted is None and classes > CURVES_FOR_CLASSES):
        return []
    return [1] if classes == 2 else list(range(classes))


def _scores(
    counting: Counting, label: np.ndarray, scores: np.ndarray, weight: np.ndarray, sums: Sums, points: Points
) -> None:
    label = label.astype("int64")
    finite = np.isfinite(scores).all(axis=1)
    own = np.take_along_axis(scores, label[:, None], axis=1)
    ranks = np.count_nonzero(scores > own, axis=1)
    # As in Keras, a row is never right where a score is NaN or infinite.
    sums.add("ranks", ranks[finite], weight[finite])
    chosen = classes_of_curves(scores.shape[1], counting.curves)
    if chosen:
        hits = label[:, None] == np.array(chosen)
        add_scores(
            scores[:, chosen],
            hits,
            np.repeat(weight[:, None], len(chosen), axis=1),
            chosen,
            counting.bins,
            sums,
            points,
        )


def add_scores(
    scores: np.ndarray,
    hits: np.ndarray,
    weights: np.ndarray,
    keys: list[int],
    bins: int,
    sums: Sums,
    points: Points,
) -> None:
    """Adds scores to the curves and the calibration of their classes.

    Args:
        scores: shape (steps, classes); a step with a NaN or infinite score is wrong at any threshold.
        hits: same shape: whether the step is of the class.
        weights: same shape.
        keys: of the classes.
        bins: of [0, 1]; 0 where scores are no probabilities.
    """
    finite = np.isfinite(scores).all(axis=1, keepdims=True)
    ordered = np.where(finite, scores, np.where(hits, -np.inf, np.inf))
    for column, key in enumerate(keys):
        hit, weight = hits[:, column], weights[:, column]
        points.add(key, ordered[:, column], np.where(hit, weight, 0.0), np.where(hit, 0.0, weight))
    if bins:
        p = np.where(finite, np.clip(scores, 0.0, 1.0), 0.0)
        weight = np.where(finite, weights, 0.0)
        first = np.array(keys) * bins
        where = (first + _bin(p, bins)).ravel()
        sums.add("binCounts", where, weight.ravel())
        sums.add("binScores", where, (weight * p).ravel())
        sums.add("binHits", where, (weight * hits).ravel())
        sums.add("residuals", (first + _bin(np.abs(hits - p), bins)).ravel(), weight.ravel())


def _bin(values: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum(np.floor(values * bins).astype("int64"), bins - 1)


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


def count_labels(counting: LabelCounting, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
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
    yield from rest(sums, points)


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
