"""A report on a classifier's predictions: counted where the rows are, figures by scikit-learn over the counts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import DataFrame

from spark_keras.columns import expressions
from spark_keras.columns import names as column_names
from spark_keras.evaluation import class_counts, passes, plots
from spark_keras.evaluation.class_counts import CURVES_FOR_CLASSES, MATRIX_CLASSES, Counting
from spark_keras.evaluation.curves import Curve, CurvesReport, curves
from spark_keras.evaluation.steps import Rules
from spark_keras.reports import tables
from spark_keras.reports.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, repr=False)
class ClassificationEvaluation(CurvesReport):
    """Quality of a classifier on the rows of a DataFrame, or on the steps of their sequences.

    Args:
        classes: names of the classes; their indices where they have no names.
        cells: of the confusion matrix that hold rows: (true classes, predicted classes, rows or their weights' sums).
        ranks: shape (classes,): rows by how many classes have a larger score than the true one; None without scores.
        curves: one for each class; for two classes only that of the second one. Empty where none was asked for.
        leftOut: rows without a prediction, and rows or steps that are masked or of an ignored class.
    """

    classes: list[str]
    cells: tuple[np.ndarray, np.ndarray, np.ndarray]
    ranks: np.ndarray | None
    curves: list[Curve]
    leftOut: int = 0

    @classmethod
    def of(
        cls,
        predictions: DataFrame,
        labelCol: str = "label",
        predictionCol: str | None = "prediction",
        probabilityCol: str | None = None,
        weightCol: str | None = None,
        classes: Sequence[str] | None = None,
        curves: bool | None = None,
        bins: int = 10,
        rawPredictionCol: str | None = None,
        maskCol: str | None = None,
        ignoreClass: int | Sequence[int] | None = None,
        nonFinite: str = "error",
        fromLogits: bool = False,
        oneHotLabels: bool = False,
    ) -> ClassificationEvaluation:
        """Counts the predictions of any Spark ML classifier, in one pass.

        Rows whose prediction is null are left out, which handleInvalid="keep" has asked for. All other nulls, numbers
        that are NaN or infinite, labels and predictions that are no class indices, probabilities outside [0, 1] and
        negative weights are refused.

        Args:
            predictions: with these columns; each row is looked at once.
            labelCol: class indices: a number, or for sequences an array of them, nested as they are.
            predictionCol: the predicted classes, alike. None: the first class with the largest score.
            probabilityCol: a vector or array with the probability of each class, for each step one; or a number for
                each step, that of the second of two classes. Default: "probability" where there is such a column. ""
                for none.
            weightCol: weight of each row, or of each step.
            classes: their names; default: from the prediction column's ML attributes, else the indices.
            curves: whether to compute the curves of the classes; default: for at most 32 of them.
            bins: of probabilities, for the calibration; 0: none, for scores that are no probabilities.
            rawPredictionCol: scores for the curves and top k instead of probabilities, such as margins. Default:
                "rawPrediction" where there is such a column and no probability.
            maskCol: 1 (or true) for rows or steps that count, 0 (or false) for those that do not.
            ignoreClass: a label, or labels, whose rows or steps do not count.
            nonFinite: "error" (default), or "wrong": a row with a score that is NaN or infinite counts, and is right
                for no k and at no threshold, as in Keras.
            fromLogits: whether `probabilityCol` holds logits, which become probabilities by softmax or sigmoid.
            oneHotLabels: whether labels are arrays with a 1 for the class and 0 for the others.

        Raises:
            ValueError: naming the column and how many rows are at fault.
        """
        passes.check_options(bins, nonFinite)
        probability, raw = _score_columns(predictions, probabilityCol, rawPredictionCol)
        bins = bins if probability else 0
        scores = {"probabilityCol": probability} if probability else {"rawPredictionCol": raw}
        reads = passes.reads(
            predictions, labelCol=labelCol, predictionCol=predictionCol, **scores, weightCol=weightCol, maskCol=maskCol
        )
        _check_depths(reads, predictions, oneHotLabels)
        known = _attributes(predictions, predictionCol)
        names = known.get("vals") if classes is None else [str(name) for name in classes]
        has_scores = bool(probability or raw)
        rules = Rules(
            lead="prediction" if predictionCol else "scores",
            label="index",
            prediction="index",
            scores="logit" if fromLogits and probability else "probability" if bins else "finite",
            one_hot=oneHotLabels,
            classes=len(names) if names else known.get("num_vals"),
            ignored=tuple(np.atleast_1d([] if ignoreClass is None else ignoreClass).tolist()),
            non_finite=nonFinite,
        )
        count = functools.partial(class_counts.count, Counting(rules, curves, bins))
        wanted = has_scores and curves is not False
        with passes.told(passes.frame(predictions, reads), count, wanted) as (sums, points):
            found = sums["lengths"][0] if has_scores else np.array([rules.classes or 0])
            _check_lengths(found, reads, names)
            total = max(2, int(found[0])) if len(found) and found[0] else 0
            passes.refuse(sums, reads, total or None)
            return cls._made(sums, points, names, total, curves if has_scores else False, bins)

    @classmethod
    def _made(
        cls, sums: Any, points: Any, names: Sequence[str] | None, total: int, wanted: bool | None, bins: int
    ) -> ClassificationEvaluation:
        true, predicted, weights = cells = class_counts.pairs(sums)
        if not weights.sum() > 0:
            raise ValueError("The rows' weights sum to 0. Expected: at least one row with a positive weight.")
        total = total or int(max(true.max(), predicted.max(), 1)) + 1
        names = list(names) if names else [str(index) for index in range(total)]
        made = curves(sums, points, class_counts.classes_of_curves(total, wanted), names, bins) if points else []
        ranks = sums.dense("ranks", total) if wanted is not False or points is not None else None
        return cls(names, cells, ranks, made, int(sums.total("leftOut")))

    # --- figures ---

    @property
    def rows(self) -> float:
        """Rows, or their weights' sum."""
        return float(self.cells[2].sum())

    @property
    def confusionPairs(self) -> Any:
        """The pairs of classes that occur, for any number of classes: a pandas DataFrame with the columns `true`,
        `predicted` (names of the classes, in their order) and `rows` (or their weights' sum).
        """
        pandas = tables.required("pandas", "pandas", "confusionPairs")
        names = np.array(self.classes, object)
        true, predicted, weights = self.cells
        return pandas.DataFrame({"true": names[true], "predicted": names[predicted], "rows": weights})

    @cached_property
    def confusionMatrix(self) -> np.ndarray:
        """Shape (classes, classes): rows (or their weights' sum) by true class, then by predicted class.

        Raises:
            ValueError: for more than 5000 classes; `confusionPairs` has the same numbers.
        """
        if len(self.classes) > MATRIX_CLASSES:
            raise ValueError(
                f"A confusion matrix of so many classes is too large for an array. Received: {len(self.classes)} "
                f"classes. Expected: at most {MATRIX_CLASSES}; `confusionPairs` has the pairs of classes that occur, "
                "and all figures are computed for any number of classes."
            )
        matrix = np.zeros((len(self.classes), len(self.classes)))
        matrix[self.cells[:2]] = self.cells[2]
        return matrix

    @property
    def accuracy(self) -> float:
        """Share of the rows whose class was predicted."""
        return float(self._counts[0].sum() / self.rows)

    def precision(self, average: str = "macro", over: str = "occurring") -> float:
        """Precision over all classes.

        Args:
            average: "macro" (mean of the classes), "micro" (of all rows) or "weighted" (by rows).
            over: the classes of a macro average: "occurring" (default) among labels or predictions, as scikit-learn;
                "labelled": those that have rows; "all", where one without rows or predictions counts as 0.
        """
        return self._averages(average, over)[0]

    def recall(self, average: str = "macro", over: str = "occurring") -> float:
        """Recall over all classes, as `precision`."""
        return self._averages(average, over)[1]

    def f1(self, average: str = "macro", over: str = "occurring") -> float:
        """F1 over all classes, as `precision`."""
        return self._averages(average, over)[2]

    def fBeta(self, beta: float, average: str = "macro", over: str = "occurring") -> float:
        """Weighted harmonic mean of precision and recall, averaged as `precision`; recall weighs beta² times as much
        (van Rijsbergen, 1979).
        """
        return self._averages(average, over, beta)[2]

    @property
    def balancedAccuracy(self) -> float:
        """Mean recall of the classes that have rows."""
        return self.recall("macro", "labelled")

    def topK(self, k: int) -> float:
        """Share of the rows whose class is among the k with the largest score; ties count, as in Keras."""
        if self.ranks is None:
            raise ValueError(
                "No scores were evaluated. Expected: an evaluation with `probabilityCol` or `rawPredictionCol`."
            )
        return float(self.ranks[:k].sum() / self.rows)

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient; for more than two classes as of Gorodkin (2004). 0 where only one class
        occurs among labels or among predictions.
        """
        right, labelled, predicted = self._counts
        covariance = right.sum() * self.rows - labelled @ predicted
        spread = (self.rows**2 - labelled @ labelled) * (self.rows**2 - predicted @ predicted)
        return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0

    @cached_property
    def _metrics(self) -> Any:
        return tables.required("sklearn.metrics", "scikit-learn", "A report on classification")

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By class: rows that are right, of it, and predicted as it."""
        true, predicted, weights = self.cells
        hits = weights * (true == predicted)
        count = len(self.classes)
        right, labelled = np.bincount(true, hits, count), np.bincount(true, weights, count)
        return right, labelled, np.bincount(predicted, weights, count)

    def _averages(self, average: str | None, over: str = "all", beta: float = 1.0) -> Any:
        true, predicted, weights = self.cells
        ranges = {"occurring": None, "labelled": np.unique(true), "all": range(len(self.classes))}
        if over not in ranges:
            raise ValueError(f"Invalid value for argument `over`. Received: {over!r}. Expected: one of {list(ranges)}.")
        return self._metrics.precision_recall_fscore_support(
            true,
            predicted,
            beta=beta,
            labels=ranges[over] if average in ("macro", None) else None,
            average=average,
            sample_weight=weights,
            zero_division=0.0,
        )

    # --- how it shows itself ---

    def _facts(self) -> dict[str, Any]:
        figures = {"rows": self.rows, "classes": len(self.classes), "accuracy": self.accuracy, "mcc": self.mcc}
        return {**figures, **super()._facts()}

    _OF = "classes"
    _HEAD = ("class", *CurvesReport._FIGURES)

    def _table(self) -> list[list[Any]]:
        figures = zip(self.classes, *self._averages(None))
        return [[name, *map(float, each), *self._of_curve(name)] for name, *each in figures]

    def _overall(self) -> list[tuple[str, float]]:
        figures = [("rows", self.rows), ("accuracy", self.accuracy)]
        for name in ("precision", "recall", "f1"):
            figures += [(f"{name} ({way})", getattr(self, name)(way)) for way in ("macro", "micro")]
        if self.ranks is not None:
            figures += [(f"top {k}", self.topK(k)) for k in (2, 3, 5) if k < len(self.classes)]
        return [*figures, ("balanced accuracy", self.balancedAccuracy), ("MCC", self.mcc), *self._last(self.leftOut)]

    def _tables(self) -> list[Table]:
        by_class: Table = ("By class", self._HEAD, self._table())
        if len(self.classes) > CURVES_FOR_CLASSES:
            return [by_class]
        rows = [[name, *row] for name, row in zip(self.classes, self.confusionMatrix.tolist())]
        return [by_class, ("Confusion matrix", ("true \\ predicted", *self.classes), rows)]

    def plot(self) -> Figure:
        """Confusion matrix, ROC and precision-recall curves and calibration, as one matplotlib figure."""
        return plots.classification(self)


def _score_columns(predictions: DataFrame, probability: str | None, raw: str | None) -> tuple[str, str]:
    """Names of the columns with probabilities and with other scores; "" for none."""
    if probability is None:
        probability = "probability" if "probability" in predictions.columns and not raw else ""
    if raw is None:
        raw = "rawPrediction" if "rawPrediction" in predictions.columns and not probability else ""
    return probability, raw


def _check_depths(reads: list[passes.Read], predictions: DataFrame, one_hot: bool) -> None:
    by_role = {each.role: each for each in reads}
    label, scores = by_role["label"], by_role.get("scores")
    if one_hot and not label.depth:
        raise ValueError(
            f"Column {label.column!r} in `labelCol` is a number. Expected: an array with a number for each class."
        )
    label = label._replace(depth=label.depth - one_hot)
    if scores and not scores.depth and not label.depth:
        kind = expressions.column_type(predictions, scores.param, scores.column).simpleString()
        raise ValueError(
            f"Column {scores.column!r} in Param `{scores.param}` is not a vector. Received type: {kind}. "
            "Expected: a vector or array with the score of each class."
        )
    for each in reads:
        if each.role in ("prediction", "mask", "weight") and each.depth and not label.depth:
            raise ValueError(
                f"Column {each.column!r} in `{each.param}` is an array. Received: a number in the label column "
                f"{label.column!r}. Expected: a number, too."
            )
    if "prediction" not in by_role and not scores:
        raise ValueError("Nothing says what was predicted. Expected: `predictionCol`, or a column of scores.")


def _check_lengths(found: np.ndarray, reads: list[passes.Read], names: Sequence[str] | None) -> None:
    scores = next((each for each in reads if each.role == "scores"), None)
    if scores is None or not len(found):
        return
    expected = len(names) if names else None
    if len(found) > 1 or (expected and max(2, found[0]) != expected):
        lengths = " and ".join(str(length) for length in found)
        of = f"labels of {list(names)[:10]} and " if names else ""
        raise ValueError(
            f"Labels and probabilities do not agree. Received: {of}vectors of {lengths} scores in {scores.label}. "
            f"Expected: one score for each of the {expected or 'same'} classes, in every row."
        )


def _attributes(predictions: DataFrame, prediction: str | None) -> dict[str, Any]:
    if not prediction:
        return {}
    return column_names.field(predictions, "predictionCol", prediction).metadata.get("ml_attr", {})
