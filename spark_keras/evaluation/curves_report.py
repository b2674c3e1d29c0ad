"""Parts that the reports on classes and on labels share: curves, and figures over all beside those of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from spark_keras.evaluation import plots
from spark_keras.evaluation.curves import Curve, mean_area, named
from spark_keras.evaluation.report import Report
from spark_keras.reports import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CurvesReport(Report):
    """A report on classes or labels, each of which may have a curve."""

    curves: list[Curve]

    # Of what, for the captions.
    _OF: ClassVar[str]
    _FIGURES = ("precision", "recall", "F1", "rows", "area under ROC", "area under PR", "calibration error")

    @property
    def areaUnderROC(self) -> float:
        """Of the second of two classes; else the mean over the classes or labels that have an area."""
        return mean_area(self.curves, "areaUnderROC")

    @property
    def areaUnderPR(self) -> float:
        """Of the second of two classes; else the mean over the classes or labels that have an area."""
        return mean_area(self.curves, "areaUnderPR")

    def curve(self, name: Any) -> Curve:
        """The curve of the class or label of this name."""
        return named(self.curves, name)

    def plotResiduals(self) -> Figure:
        """Rows by |probability − 1| where they are of the class or have the label, else by probability, and rows by
        probability, of each class or label; a matplotlib figure.
        """
        return plots.residuals(self.curves)

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

    def _repr_html_(self) -> str:
        return tables.html_table(("figure", "value"), self._overall(), f"All {self._OF}") + super()._repr_html_()
