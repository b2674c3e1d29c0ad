"""A report on a classifier's predictions: counted by Spark, figures by scikit-learn over the counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from spark_keras import columns
from spark_keras.evaluation import display
from spark_keras.evaluation.curves import Curve, curves

# A curve of each class is a sort of its scores: for more classes only on request.
_CURVES_FOR_CLASSES = 32


@dataclasses.dataclass(frozen=True)
class ClassificationEvaluation:
    """How good a classifier is on the rows of a DataFrame.

    Args:
        classes: names of the classes; their indices where they have no names.
        confusionMatrix: shape (classes, classes): rows (or their weights' sum) by true class, then by predicted class.
        ranks: shape (classes,): rows by how many classes have a larger probability than the true one.
        curves: one for each class; for two classes only that of the second one. Empty where none was asked for.
    """

    classes: list[str]
    confusionMatrix: np.ndarray
    ranks: np.ndarray
    curves: list[Curve]

    @classmethod
    def of(
        cls,
        predictions: Any,
        labelCol: str = "label",
        predictionCol: str = "prediction",
        probabilityCol: str = "probability",
        weightCol: str | None = None,
        classes: Sequence[str] | None = None,
        curves: bool | None = None,
        bins: int = 10,
    ) -> ClassificationEvaluation:
        """Counts the predictions of any Spark ML classifier.

        Args:
            predictions: with these columns; read once, and kept in memory or on disk meanwhile.
            classes: their names; default: from the prediction column's ML attributes, else the indices.
            curves: whether to compute the curves of the classes; default: for at most 32 of them.
            bins: of probabilities, for the calibration; 0: none, for scores that are no probabilities.
        """
        for param, column in (("labelCol", labelCol), ("predictionCol", predictionCol), ("weightCol", weightCol)):
            if column is not None:
                columns.check_column(predictions, param, column)
        kind = columns.check_column(predictions, "probabilityCol", probabilityCol)
        if kind.simpleString() != "vector":
            raise ValueError(
                f"Column {probabilityCol!r} in Param `probabilityCol` is not a vector. "
                f"Received type: {kind.simpleString()}. Expected: a vector with the probability of each class."
            )
        scored = _scored(predictions, labelCol, predictionCol, probabilityCol, weightCol).persist()
        try:
            return cls._count(scored, _names(predictions, predictionCol, classes), curves, bins)
        finally:
            scored.unpersist()

    @classmethod
    def _count(
        cls, scored: Any, names: Sequence[str] | None, wanted: bool | None, bins: int
    ) -> ClassificationEvaluation:
        p = F.col("p")
        weight = F.sum("w").alias("weight")
        unweighted = F.sum(F.col("w").isNull().cast("long")).alias("unweighted")
        pairs = scored.groupBy("label", "prediction", F.size("p").alias("classes")).agg(weight, unweighted).collect()
        if not pairs:
            raise ValueError("The DataFrame has no rows to evaluate. Expected: at least one.")
        if missing := sum(row.unweighted for row in pairs):
            raise ValueError(
                f"Weights are missing. Received: {missing} rows with null. Expected: a weight in each row."
            )
        count = max(row.classes for row in pairs)
        names = list(names) if names else [str(index) for index in range(count)]
        bad = sorted({row.label for row in pairs if row.label not in range(count)}, key=str)
        if bad or len(names) != count:
            raise ValueError(
                f"Labels and probabilities do not agree. Received: labels {bad or 'of ' + str(names)} and vectors of "
                f"{count} probabilities. Expected: class indices from 0 to {count - 1}."
            )
        confusion = np.zeros((count, count))
        for row in pairs:
            confusion[int(row.label), int(row.prediction)] += row.weight
        own = p[F.col("label").cast("int")]
        ranks = np.zeros(count)
        for row in scored.groupBy(F.size(F.filter(p, lambda other: other > own)).alias("rank")).agg(weight).collect():
            ranks[row["rank"]] += row.weight
        if wanted is None:
            wanted = count <= _CURVES_FOR_CLASSES
        indices = [1] if count == 2 else list(range(count))
        made = curves(_scores(scored, indices), indices, names, bins) if wanted else []
        return cls(names, confusion, ranks, made)

    # --- figures ---

    @property
    def rows(self) -> float:
        """Rows, or their weights' sum."""
        return float(self.confusionMatrix.sum())

    @property
    def accuracy(self) -> float:
        """Share of the rows whose class was predicted."""
        return float(np.trace(self.confusionMatrix) / self.rows)

    def precision(self, average: str = "macro") -> float:
        """Precision over all classes: "macro" (mean of the classes), "micro" (of all rows) or "weighted" (by rows)."""
        return self._averages(average)[0]

    def recall(self, average: str = "macro") -> float:
        """Recall over all classes, as `precision`."""
        return self._averages(average)[1]

    def f1(self, average: str = "macro") -> float:
        """F1 over all classes, as `precision`."""
        return self._averages(average)[2]

    def topK(self, k: int) -> float:
        """Share of the rows whose class is among the k with the largest probability; ties count, as in Keras."""
        return float(self.ranks[:k].sum() / self.rows)

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient; for more than two classes as of Gorodkin (2004)."""
        return float(self._metrics.matthews_corrcoef(*self._pairs[:2], sample_weight=self._pairs[2]))

    @property
    def areaUnderROC(self) -> float:
        """Of the second of two classes; for more, the mean over the classes."""
        return self._mean_area("areaUnderROC")

    @property
    def areaUnderPR(self) -> float:
        """Of the second of two classes; for more, the mean over the classes."""
        return self._mean_area("areaUnderPR")

    def curve(self, name: Any) -> Curve:
        """The curve of the class of this name."""
        found = [curve for curve in self.curves if curve.name == str(name)]
        if not found:
            raise KeyError(f"No curve of class {name!r}. Expected: one of {[curve.name for curve in self.curves]}.")
        return found[0]

    def _mean_area(self, which: str) -> float:
        if not self.curves:
            raise ValueError("No curves were computed. Expected: an evaluation with curves=True.")
        return float(np.nanmean([getattr(curve, which) for curve in self.curves]))

    @cached_property
    def _metrics(self) -> Any:
        return display.required("sklearn.metrics", "scikit-learn", "A report on classification")

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True class, predicted class and weight of each cell that holds rows."""
        true, predicted = np.nonzero(self.confusionMatrix)
        return true, predicted, self.confusionMatrix[true, predicted]

    def _averages(self, average: str | None) -> Any:
        true, predicted, weights = self._pairs
        return self._metrics.precision_recall_fscore_support(
            true,
            predicted,
            labels=range(len(self.classes)),
            average=average,
            sample_weight=weights,
            zero_division=0.0,
        )

    # --- how it shows itself ---

    _HEAD = ("class", "precision", "recall", "F1", "rows", "area under ROC", "area under PR", "calibration error")

    def _table(self) -> list[list[Any]]:
        by_name = {curve.name: curve for curve in self.curves}
        table = []
        for name, *figures in zip(self.classes, *self._averages(None)):
            curve = by_name.get(name)
            areas = (curve.areaUnderROC, curve.areaUnderPR, curve.calibrationError) if curve else [float("nan")] * 3
            table.append([name, *map(float, figures), *areas])
        return table

    def _figures(self) -> list[tuple[str, float]]:
        figures = [("rows", self.rows), ("accuracy", self.accuracy)]
        for name in ("precision", "recall", "f1"):
            figures += [(f"{name} ({way})", getattr(self, name)(way)) for way in ("macro", "micro")]
        figures += [(f"top {k}", self.topK(k)) for k in (2, 3, 5) if k < len(self.classes)]
        figures.append(("MCC", self.mcc))
        if self.curves:
            figures += [("area under ROC", self.areaUnderROC), ("area under PR", self.areaUnderPR)]
        return figures

    def toPandas(self) -> Any:
        """The figures of each class: one row per class."""
        pandas = display.required("pandas", "pandas", "toPandas()")
        return pandas.DataFrame(self._table(), columns=self._HEAD).set_index("class")

    def __str__(self) -> str:
        parts = [
            display.text_table(("all classes", ""), self._figures()),
            display.text_table(self._HEAD, self._table()),
        ]
        if len(self.classes) <= _CURVES_FOR_CLASSES:
            matrix = [[name, *row] for name, row in zip(self.classes, self.confusionMatrix.tolist())]
            parts.append(display.text_table(("true \\ predicted", *self.classes), matrix))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        matrix = [[name, *row] for name, row in zip(self.classes, self.confusionMatrix.tolist())]
        return "".join(
            [
                display.html_table(("figure", "value"), self._figures(), "All classes"),
                display.html_table(self._HEAD, self._table(), "By class"),
                display.html_table(("true \\ predicted", *self.classes), matrix, "Confusion matrix")
                if len(self.classes) <= _CURVES_FOR_CLASSES
                else "",
            ]
        )

    def plot(self) -> Any:
        """Confusion matrix, ROC and precision-recall curves and calibration, as one matplotlib figure."""
        new, axes = display.figure(4 if self.curves else 1)
        shares = self.confusionMatrix / np.maximum(self.confusionMatrix.sum(axis=1, keepdims=True), 1e-300)
        axes[0].imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes[0].set(title="Confusion matrix", xlabel="predicted", ylabel="true")
        if len(self.classes) <= 20:
            axes[0].set_xticks(range(len(self.classes)), self.classes, rotation=90)
            axes[0].set_yticks(range(len(self.classes)), self.classes)
            for (row, column), value in np.ndenumerate(self.confusionMatrix):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes[0].text(column, row, f"{value:,.0f}", ha="center", va="center", color=colour, fontsize="small")
        for curve in self.curves:
            label = f"{curve.name}: {curve.areaUnderROC:.3f}"
            axes[1].plot([0, *curve.falsePositiveRate], [0, *curve.truePositiveRate], label=label)
            label = f"{curve.name}: {curve.areaUnderPR:.3f}"
            axes[2].step(
                [0, *curve.truePositiveRate], [*curve.precision[:1], *curve.precision], where="pre", label=label
            )
            axes[3].plot(curve.binScores, curve.binShares, marker="o", label=curve.name)
        if self.curves:
            axes[1].set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
            axes[2].set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
            axes[3].set(title="Calibration", xlabel="mean probability", ylabel="share of the class")
            for axis in (axes[1], axes[3]):
                axis.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
            for axis in axes[1:]:
                axis.legend(fontsize="small")
        return new


def _scored(predictions: Any, label: str, prediction: str, probability: str, weight: str | None) -> Any:
    """Label, prediction, probabilities "p" and weight "w", as narrow as may be. Rows without prediction are left out,
    which handleInvalid="keep" has asked for."""
    from pyspark.ml.functions import vector_to_array

    row_weight = F.lit(1.0) if weight is None else columns.reference(weight).cast("double")
    return predictions.where(columns.reference(prediction).isNotNull()).select(
        columns.reference(label).cast("double").alias("label"),
        columns.reference(prediction).cast("double").alias("prediction"),
        vector_to_array(columns.reference(probability)).alias("p"),
        row_weight.alias("w"),
    )


def _scores(scored: Any, classes: Sequence[int]) -> Any:
    """One row for each row and class: the class's probability, and the row's weight as positive or negative."""
    if len(classes) == 1:
        each = scored.select("*", F.lit(classes[0]).alias("class"), F.col("p")[classes[0]].alias("score"))
    else:
        each = scored.select("label", "w", F.posexplode("p").alias("class", "score"))
    hit = F.col("label") == F.col("class")
    return each.select(
        "class",
        "score",
        F.when(hit, F.col("w")).otherwise(0.0).alias("positive"),
        F.when(hit, 0.0).otherwise(F.col("w")).alias("negative"),
    )


def _names(predictions: Any, prediction: str, classes: Sequence[str] | None) -> Sequence[str] | None:
    if classes is not None:
        return [str(name) for name in classes]
    return predictions.schema[prediction].metadata.get("ml_attr", {}).get("vals")
