"""Figures of reports, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spark_keras.evaluation.class_counts import MATRIX_CLASSES
from spark_keras.reports import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stretches of neighbouring classes that are drawn as one, where classes are too many for an array.
_STRETCHES = 1000


def classification(report: Any) -> Figure:
    """Confusion matrix, ROC and precision-recall curves and, of probabilities, the calibration."""
    new, axes = tables.figure(1 + _axes_of(report.curves))
    confusion(axes[0], report)
    _draw(axes[1:], report.curves)
    return new


def labels(curves: Sequence[Any]) -> Figure:
    """ROC and precision-recall curves and, of probabilities, the calibration."""
    if not curves:
        raise ValueError("No curves were computed. Expected: an evaluation with curves=True.")
    new, axes = tables.figure(_axes_of(curves))
    _draw(axes, curves)
    return new


def _axes_of(curves: Sequence[Any]) -> int:
    """ROC, precision and recall; and of probabilities the calibration."""
    return 0 if not curves else 3 if any(len(curve.binCounts) for curve in curves) else 2


def _draw(axes: Sequence[Any], curves: Sequence[Any]) -> None:
    if curves:
        rates(axes[:2], curves)
    if len(axes) > 2:
        calibration(axes[2], curves)
    for axis in axes:
        axis.legend(fontsize="small")


def confusion(axis: Any, report: Any) -> None:
    """Shares of the rows of each true class, by predicted class."""
    classes, end = report.classes, len(report.classes) - 0.5
    if len(classes) > MATRIX_CLASSES:
        true, predicted, weights = report.cells
        matrix, _, _ = np.histogram2d(true, predicted, _STRETCHES, [[-0.5, end]] * 2, weights=weights)
    else:
        matrix = report.confusionMatrix
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-300)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, extent=(-0.5, end, end, -0.5))
    axis.set(title="Confusion matrix", xlabel="predicted", ylabel="true")
    if len(classes) > 20:
        return
    axis.set_xticks(range(len(classes)), classes, rotation=90)
    axis.set_yticks(range(len(classes)), classes)
    for (row, column), value in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, f"{value:,.0f}", ha="center", va="center", color=colour, fontsize="small")


def rates(axes: Sequence[Any], curves: Sequence[Any]) -> None:
    for curve in curves:
        label = f"{curve.name}: {curve.areaUnderROC:.3f}"
        axes[0].plot([0, *curve.falsePositiveRate], [0, *curve.truePositiveRate], label=label)
        label = f"{curve.name}: {curve.areaUnderPR:.3f}"
        axes[1].step([0, *curve.truePositiveRate], [*curve.precision[:1], *curve.precision], where="pre", label=label)
    axes[0].set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    axes[1].set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    axes[0].plot([0, 1], [0, 1], color="grey", linewidth=0.5)


def calibration(axis: Any, curves: Sequence[Any]) -> None:
    for curve in curves:
        axis.plot(curve.binScores, curve.binShares, marker="o", label=curve.name)
    axis.set(title="Calibration", xlabel="mean probability", ylabel="share of the class")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.5)


def residuals(curves: Sequence[Any]) -> Figure:
    """Rows by how far the probability is from the label, and rows by probability, of each class."""
    kept = [curve for curve in curves if len(curve.binCounts)]
    if not kept:
        raise ValueError("No probabilities were evaluated. Expected: an evaluation with `probabilityCol` and curves.")
    new, axes = tables.figure(2)
    edges = np.linspace(0, 1, len(kept[0].binCounts) + 1)
    for curve in kept:
        axes[0].stairs(curve.residualCounts, edges, label=curve.name)
        axes[1].stairs(curve.binCounts, edges, label=curve.name)
    axes[0].set(title="Residuals", xlabel="|label − probability|", ylabel="rows")
    axes[1].set(title="Probabilities", xlabel="probability", ylabel="rows")
    for axis in axes:
        axis.legend(fontsize="small")
    return new


def regression(report: Any) -> Figure:
    """Predictions against labels, as counts."""
    new, axes = tables.figure(len(report.histograms))
    for axis, output, (counts, low, high) in zip(axes, report.outputs, report.histograms):
        _counts(new, axis, counts, (low, high, low, high))
        axis.plot([low, high], [low, high], color="grey", linewidth=0.5)
        axis.set(title=f"{output.name}: R² {output.r2:.3f}", xlabel="label", ylabel="prediction")
    return new


def errors(report: Any) -> Figure:
    """Errors against predictions, as counts, and rows by error: two axes for each output."""
    new, axes = tables.figure(2 * len(report.residuals))
    for index, (output, (counts, low, high, largest)) in enumerate(zip(report.outputs, report.residuals)):
        scatter, rows = axes[2 * index : 2 * index + 2]
        _counts(new, scatter, counts, (low, high, -largest, largest))
        scatter.axhline(0, color="grey", linewidth=0.5)
        scatter.set(title=f"{output.name}: residuals", xlabel="prediction", ylabel="prediction − label", aspect="auto")
        rows.stairs(counts.sum(axis=0), np.linspace(-largest, largest, counts.shape[1] + 1), fill=True)
        rows.set(title=f"{output.name}: bias {output.bias:.4g}", xlabel="prediction − label", ylabel="rows")
    return new


def _counts(new: Any, axis: Any, counts: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    drawn = np.ma.masked_equal(counts.T, 0)
    image = axis.imshow(drawn, origin="lower", extent=extent, norm="log", cmap="viridis")
    new.colorbar(image, ax=axis, label="rows")
