"""Normalisers whose figures come from an analysis, and their inverses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, Step, each

# Figures of an analysis that each method computes with.
_FIGURES = {"minMax": ("min", "max"), "standardise": ("mean", "stdev"), "logarithm": ("min", "mean")}


class NormaliseSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def minMax(self, *columns: str, analysis: Any, min: float = 0.0, max: float = 1.0) -> Self:
        """Scales columns linearly, so that the smallest value of the analysis becomes `min` and the largest `max`.

            (x − smallest) / (largest − smallest) · (max − min) + min

        Values that the analysis has not seen can lie outside of [min, max]. A column with one value only becomes
        (min + max) / 2, as in pyspark.ml.feature.MinMaxScaler. The results are doubles.
        """
        if not _finite(min, max) or not min < max:
            raise ValueError(f"Invalid range in step minMax. Received: min={min}, max={max}. Expected: min < max.")
        return self._normalised("minMax", columns, analysis, low=min, high=max)

    def standardise(self, *columns: str, analysis: Any) -> Self:
        """Scales columns to mean 0 and standard deviation 1: (x − mean) / stdev, with n − 1 in the standard deviation.

        A column with one value only becomes 0, as in pyspark.ml.feature.StandardScaler. The results are doubles.
        """
        return self._normalised("standardise", columns, analysis)

    def logarithm(self, *columns: str, analysis: Any, scale: float = 0.5) -> Self:
        """Compresses columns of which a few values are much larger than most.

            scale · log2(1 + (x − smallest) / (mean − smallest))

        The smallest value becomes 0 and the mean `scale`. A value below (2 · smallest − mean) becomes null. A column
        with one value only becomes 0. The results are doubles.
        """
        if not _finite(scale) or scale <= 0:
            raise ValueError(f"Invalid scale in step logarithm. Received: {scale}. Expected: more than 0.")
        return self._normalised("logarithm", columns, analysis, low=scale)

    def _normalised(
        self, method: str, columns: tuple[str, ...], analysis: Any, low: float = 0.0, high: float = 0.0
    ) -> Self:
        fitted = []
        for name in each(method, columns):
            first, second = figures(method, analysis, name, *_FIGURES[method])
            fitted.append(Normaliser(name, method, first, second, low, high))
        return self.add(Normalise(method, tuple(fitted)))

    def denormalise(self, columns: Mapping[str, str] | str, *more: str, process: AddsSteps | None = None) -> Self:
        """Undoes what minMax, standardise and logarithm did to columns, the last one first.

        Args:
            columns: names of columns; or {"prediction": "amount"}, where the column `prediction` gets the inverse of
                what was done to `amount`.
            process: the transform process with the normalisers; default this one.

        Raises:
            ValueError: where a column was never normalised.
        """
        wanted = (
            dict(columns) if isinstance(columns, Mapping) else {n: n for n in each("denormalise", (columns, *more))}
        )
        # A step, or that which it takes in each time step of sequences.
        steps = [getattr(step, "step", step) for step in (process if process is not None else self).steps.values()]
        done = [normaliser for step in steps if isinstance(step, Normalise) for normaliser in step.normalisers]
        result = self
        for name, normalised in wanted.items():
            # Its own inverses cancel normalisers that came before them.
            stack: list[Normaliser] = []
            for normaliser in done:
                if normaliser.column == normalised:
                    stack = stack[:-1] if normaliser.inverse and stack else [*stack, normaliser]
            if not stack:
                raise ValueError(
                    f"Nothing to undo in step denormalise. Received: {normalised!r}. Expected: a column that minMax, "
                    f"standardise or logarithm has changed: {sorted({n.column for n in done})}."
                )
            for normaliser in reversed(stack):
                undone = dataclasses.replace(normaliser, column=name, inverse=True)
                result = result.add(Normalise("denormalise", (undone,)))
        return result


def figures(step: str, analysis: Any, name: str, *wanted: str) -> tuple[float, ...]:
    """Figures of a column in an analysis; raises a `ValueError` where it has none that are finite numbers."""
    try:
        column = analysis[name]
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"The analysis does not fit step {step}. Received: {type(analysis).__name__}, with nothing on column "
            f"{name!r}. Expected: a DataFrameAnalysis of this column."
        ) from error
    found = []
    for figure in wanted:
        value: Any = getattr(column, figure, None)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(
                f"The analysis does not fit step {step}. Received: {value!r} as {figure} of column {name!r}. "
                "Expected: a finite number, the figure of a numeric column with values."
            )
        found.append(float(value))
    return tuple(found)


def _finite(*values: Any) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)


@registered("normaliser")
class Normaliser:
    """One column's normaliser and its figures: smallest and largest, mean and stdev, or smallest and mean.

    `low` and `high` are the range of minMax; `low` is the scale of logarithm.
    """

    column: str
    method: str
    first: float
    second: float
    low: float = 0.0
    high: float = 0.0
    inverse: bool = False

    def of(self, value: Column) -> Column:
        if self._constant is not None:
            return F.when(value.isNotNull(), F.lit(self._constant))
        return self._formula(value, F.log2)

    def of_number(self, value: Any) -> float | None:
        """The value of one record."""
        if value is None or self._constant is not None:
            return None if value is None else self._constant
        with np.errstate(all="ignore"):
            # The logarithm of Spark is null where there is none.
            result = self._formula(np.float64(value), lambda x: None if x <= 0 else np.log2(x))
        return None if result is None else float(result)

    @property
    def _constant(self) -> float | None:
        """Value that all become of a column with one value only."""
        if self.method == "standardise":
            return 0.0 if self.second == 0 and not self.inverse else None
        if self.first != self.second or (self.method == "logarithm" and self.inverse):
            return None
        if self.method == "logarithm":
            return 0.0
        return self.first if self.inverse else self.low * 0.5 + self.high * 0.5

    def _formula(self, x: Any, log2: Callable[[Any], Any]) -> Any:
        """Of a column or of a number: Spark and numpy compute the same."""
        first, second, low, high = self.first, self.second, self.low, self.high
        if self.method == "minMax":
            if self.inverse:
                return _between(_part(x, low, high), first, second)
            return _between(_part(x, first, second), low, high)
        if self.method == "standardise":
            if self.inverse:
                return x * second + first
            return (x - first) / second if abs(first) < HUGE else (x * 0.5 - first * 0.5) / (second * 0.5)
        if self.inverse:
            return _between(2.0 ** (x / low) - 1.0, first, second)
        compressed = log2(_part(x, first, second) + 1.0)
        return None if compressed is None else compressed * low

    def __str__(self) -> str:
        names = _FIGURES[self.method]
        shown = f"{self.column!r} ({names[0]} {self.first:g}, {names[1]} {self.second:g})"
        return f"{shown} of {self.method}" if self.inverse else shown


# Beyond this, differences of doubles can be infinite.
HUGE = 2.0**960


def _part(x: Any, low: float, high: float) -> Any:
    """(x − low) / (high − low); of halves where a difference could overflow."""
    if max(abs(low), abs(high)) < HUGE:
        return (x - low) / (high - low)
    return (x * 0.5 - low * 0.5) / (high * 0.5 - low * 0.5)


def _between(part: Any, low: float, high: float) -> Any:
    """part · (high − low) + low, the inverse of `_part`."""
    if math.isfinite(high - low):
        return part * (high - low) + low
    return part * high + (1.0 - part) * low


@registered("normalise")
class Normalise(Step):
    each_alone = "normalisers"

    name: str
    normalisers: tuple[Normaliser, ...]

    @property
    def label(self) -> str:
        return f"step {self.name}"

    def column_of(self, part: Normaliser) -> str:
        return part.column

    def schema_after(self, schema: Schema) -> Schema:
        names = [normaliser.column for normaliser in self.normalisers]
        schema.require(self.label, names, kinds.NumberField, expected="a number")
        return schema.replaced({name: kinds.DoubleField(name) for name in names})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {n.column: n.of(reference(n.column).cast("double")) for n in self.normalisers}

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.normalisers))})"

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {n.column: n.of_number(row[n.column]) for n in self.normalisers}
