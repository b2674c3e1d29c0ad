"""A report on a multi-label classifier's predictions: several labels per row, each of them true or not."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import DataFrame

from spark_keras.evaluation import class_counts, passes, plots
from spark_keras.evaluation.class_counts import CURVES_FOR_CLASSES, LabelCounting
from spark_keras.evaluation.curves import Curve, CurvesReport, curves
from spark_keras.evaluation.partial import shares
from spark_keras.evaluation.steps import Rules
from spark_keras.reports.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, repr=False)
class MultiLabelEvaluation(CurvesReport):
    """Quality of a multi-label classifier on the rows of a DataFrame, or on the steps of their sequences.

    Args:
        labels: their names; their indices where they have no names.
        truePositives: shape (labels,): rows (or their weights' sum) with the label, for which it was predicted.
        falsePositives: shape (labels,): without it, for which it was predicted.
        falseNegatives: shape (labels,): with it, for which it was not predicted.
        trueNegatives: shape (labels,): without it, for which it was not predicted.
        rows: rows, or their weights' sum.
        subsetAccuracy: share of the rows all of whose labels are right.
        jaccard: labels that are true and predicted, as a share of those that are one of both; mean over rows, 0 for a
            row with neither.
        samples: precision, recall and F1 of each row, as means over rows.
        curves: one for each label. Empty where none was asked for.
        leftOut: rows without a prediction, and labels or steps that are masked.
    """

    labels: list[str]
    truePositives: np.ndarray
    falsePositives: np.ndarray
    falseNegatives: np.ndarray
    trueNegatives: np.ndarray
    rows: float
    subsetAccuracy: float
    jaccard: float
    samples: tuple[float, float, float]
    curves: list[Curve]
    leftOut: int = 0

    @classmethod
    def of(
        cls,
        predictions: DataFrame,
        labelCol: str = "label",
        predictionCol: str = "prediction",
        weightCol: str | None = None,
        threshold: float | Sequence[float] | None = None,
        labels: Sequence[str] | None = None,
        curves: bool | None = None,
        bins: int = 10,
        maskCol: str | None = None,
        nonFinite: str = "error",
        fromLogits: bool = False,
    ) -> MultiLabelEvaluation:
        """Counts the predictions of a model with a score for each label, in one pass.

        Rows whose prediction is null are left out, which handleInvalid="keep" has asked for. All other nulls, NaN,
        labels other than 0 and 1, scores outside [0, 1] and negative weights are refused.

        Args:
            predictions: with these columns; each row is looked at once.
            labelCol: an array or vector of 0 and 1 (or false and true), one for each label; for sequences such an array
                for each step.
            predictionCol: the scores, alike: probabilities, or 0 and 1.
            weightCol: weight of each row, or of each step.
            threshold: a label is predicted where its score is larger, as in Keras' `BinaryAccuracy`; one, or one for
                each label. Default 0.5; 0 with bins=0.
            labels: their names.
            curves: whether to compute the curves of the labels; default: for at most 32 of them.
            bins: of probabilities, for the calibration; 0: none, for scores that are no probabilities, such as margins.
            maskCol: 1 (or true) for rows, steps or single labels that count, 0 (or false) for those that do not.
            nonFinite: "error" (default), or "wrong": a score that is NaN or infinite counts as wrong.
            fromLogits: whether scores are logits, which become probabilities by the sigmoid.

        Raises:
            ValueError: naming the column and how many rows are at fault; where there are no rows.
        """
        passes.check_options(bins, nonFinite)
        reads = passes.reads(
            predictions, labelCol=labelCol, predictionCol=predictionCol, weightCol=weightCol, maskCol=maskCol
        )
        for each in reads[:2]:
            if not each.depth:
                raise ValueError(
                    f"Column {each.column!r} in `{each.param}` is a number. Expected: an array or vector with one "
                    "number for each label."
                )
        if threshold is None:
            threshold = 0.5 if bins else 0.0
        limits = tuple(float(limit) for limit in np.atleast_1d(threshold))
        rules = Rules(
            lead="prediction",
            label="binary",
            prediction="logit" if fromLogits else "probability" if bins else "finite",
            grouped=True,
            non_finite=nonFinite,
        )
        count = functools.partial(class_counts.count_labels, LabelCounting(rules, limits, curves, bins))
        with passes.told(passes.frame(predictions, reads), count, curves is not False) as (sums, points):
            lengths = sums["lengths"][0]
            expected = [*([len(labels)] if labels else []), *([len(limits)] if len(limits) > 1 else [])]
            if len(lengths) and len({*lengths.tolist(), *expected}) > 1:
                raise ValueError(
                    "Labels and predictions do not agree. Received: arrays of "
                    f"{' and '.join(str(length) for length in lengths)} numbers in {reads[1].label}, "
                    f"{len(limits)} threshold{'s' if len(limits) > 1 else ''} and names {labels}. Expected: a number "
                    "for each label, in every row; one threshold, or one for each label."
                )
            passes.refuse(sums, reads)
            return cls._made(sums, points, int(lengths[0]), labels, curves, bins)

    @classmethod
    def _made(
        cls, sums: Any, points: Any, width: int, names: Sequence[str] | None, wanted: bool | None, bins: int
    ) -> MultiLabelEvaluation:
        rows = sums.total("rowWeights")
        if not rows > 0:
            raise ValueError("The rows' weights sum to 0. Expected: at least one row with a positive weight.")
        names = [str(name) for name in (names or range(width))]
        drawn = range(width) if wanted or (wanted is None and width <= CURVES_FOR_CLASSES) else []
        figures = {name: sums.total(name) / rows for name in ("subsetAccuracy", "jaccard", "precision", "recall", "f1")}
        return cls(
            names,
            truePositives=sums.dense("truePositives", width),
            falsePositives=sums.dense("falsePositives", width),
            falseNegatives=sums.dense("falseNegatives", width),
            trueNegatives=sums.dense("trueNegatives", width),
            rows=rows,
            subsetAccuracy=figures["subsetAccuracy"],
            jaccard=figures["jaccard"],
            samples=(figures["precision"], figures["recall"], figures["f1"]),
            curves=curves(sums, points, list(drawn), names, bins) if drawn else [],
            leftOut=int(sums.total("leftOut")),
        )

    # --- figures ---

    @property
    def hammingLoss(self) -> float:
        """Share of the labels of all rows that are wrong."""
        wrong = self.falsePositives + self.falseNegatives
        return float(wrong.sum() / (wrong + self.truePositives + self.trueNegatives).sum())

    def precision(self, average: str = "macro", over: str = "all") -> float:
        """Precision over all labels.

        Args:
            average: "macro" (mean of the labels), "micro" (of all labels of all rows), "weighted" (by rows that have
                them) or "samples" (mean over rows).
            over: the labels of a macro average: "all" (default), where one that nobody has and nobody is predicted to
                have counts as 0, as scikit-learn; or "occurring", without such ones.
        """
        return self.samples[0] if average == "samples" else self._average(0, average, over)

    def recall(self, average: str = "macro", over: str = "all") -> float:
        """Recall over all labels, as `precision`."""
        return self.samples[1] if average == "samples" else self._average(1, average, over)

    def f1(self, average: str = "macro", over: str = "all") -> float:
        """F1 over all labels, as `precision`."""
        return self.samples[2] if average == "samples" else self._average(2, average, over)

    def fBeta(self, beta: float, average: str = "macro", over: str = "all") -> float:
        """Weighted harmonic mean of precision and recall, averaged as `precision`, but not over rows; recall weighs
        beta² times as much (van Rijsbergen, 1979).
        """
        return self._average(2, average, over, beta)

    def _average(self, which: int, average: str, over: str, beta: float = 1.0) -> float:
        right, false, missed = self.truePositives, self.falsePositives, self.falseNegatives
        if average == "micro":
            return float(_figures(right.sum(), false.sum(), missed.sum(), beta)[which])
        values = _figures(right, false, missed, beta)[which]
        if average == "weighted":
            support = self.truePositives + self.falseNegatives
            return float(values @ support / support.sum()) if support.sum() else 0.0
        choices = {"all": np.ones(len(values), bool), "occurring": right + false + missed > 0}
        if average != "macro" or over not in choices:
            raise ValueError(
                f"Invalid value for argument `average` or `over`. Received: {average!r} and {over!r}. Expected: "
                '"macro", "micro" or "weighted", and "all" or "occurring".'
            )
        return float(values[choices[over]].mean()) if choices[over].any() else 0.0

    # --- how it shows itself ---

    def _facts(self) -> dict[str, Any]:
        names = ("rows", "subsetAccuracy", "hammingLoss", "jaccard")
        return {"labels": len(self.labels), **{name: getattr(self, name) for name in names}, **super()._facts()}

    _OF = "labels"
    _HEAD = ("label", *CurvesReport._FIGURES)

    def _table(self) -> list[list[Any]]:
        support = self.truePositives + self.falseNegatives
        figures = _figures(self.truePositives, self.falsePositives, self.falseNegatives, 1.0)
        by_label = zip(self.labels, *figures, support)
        return [[name, *map(float, each), *self._of_curve(name)] for name, *each in by_label]

    def _overall(self) -> list[tuple[str, float]]:
        shown = [("rows", self.rows), ("subset accuracy", self.subsetAccuracy), ("Hamming loss", self.hammingLoss)]
        for name in ("precision", "recall", "f1"):
            shown += [(f"{name} ({way})", getattr(self, name)(way)) for way in ("macro", "micro", "samples")]
        return [*shown, ("Jaccard (samples)", self.jaccard), *self._last(self.leftOut)]

    def _tables(self) -> list[Table]:
        return [("By label", self._HEAD, self._table())]

    def plot(self) -> Figure:
        """ROC and precision-recall curves and calibration, as one matplotlib figure."""
        return plots.labels(self.curves)


def _figures(right: Any, false: Any, missed: Any, beta: float) -> tuple[Any, Any, Any]:
    """Precision, recall and F-beta; 0 where there is nothing to take a share of, as scikit-learn's zero_division=0."""
    square = beta**2
    parts = (right, right + false), (right, right + missed)
    f = (1 + square) * right, (1 + square) * right + square * missed + false
    return shares(*parts[0]), shares(*parts[1]), shares(*f)
