"""Normalisers whose figures come from an analysis, and their inverses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import Step, each
from spark_keras.preparation.steps.adding import AddsSteps


class NormaliseSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def minMax(self, *columns: str, analysis: Any, min: float = 0.0, max: float = 1.0) -> Self:
        """Scales columns linearly, so that the smallest value of the analysis becomes `min` and the largest `max`.

            (x − smallest) / (largest − smallest) · (max − min) + min

        Values that the analysis has not seen can lie outside of [min, max]. A column with one value only becomes
        (min + max) / 2, as in pyspark.ml.feature.MinMaxScaler. The results are doubles.
        """
        names = each("minMax", columns)
        if not _finite(min, max) or not min < max:
            raise ValueError(f"Invalid range in step minMax. Received: min={min}, max={max}. Expected: min < max.")
        fitted = [
            Normaliser(name, "minMax", *two_figures("minMax", analysis, name, "min", "max"), min, max) for name in names
        ]
        return self.add(Normalise("minMax", tuple(fitted)))

    def standardise(self, *columns: str, analysis: Any) -> Self:
        """Scales columns to mean 0 and standard deviation 1: (x − mean) / stdev, with n − 1 in the standard deviation.

        A column with one value only becomes 0, as in pyspark.ml.feature.StandardScaler. The results are doubles.
        """
        fitted = [
            Normaliser(name, "standardise", *two_figures("standardise", analysis, name, "mean", "stdev"))
            for name in each("standardise", columns)
        ]
        return self.add(Normalise("standardise", tuple(fitted)))

    def logarithm(self, *columns: str, analysis: Any, scale: float = 0.5) -> Self:
        """Compresses columns of which a few values are much larger than most.

            scale · log2(1 + (x − smallest) / (mean − smallest))

        The smallest value becomes 0 and the mean `scale`. A value below (2 · smallest − mean) becomes null. A column
        with one value only becomes 0. The results are doubles.
        """
        if not _finite(scale) or scale <= 0:
            raise ValueError(f"Invalid scale in step logarithm. Received: {scale}. Expected: more than 0.")
        fitted = [
            Normaliser(name, "logarithm", *two_figures("logarithm", analysis, name, "min", "mean"), scale)
            for name in each("logarithm", columns)
        ]
        return self.add(Normalise("logarithm", tuple(fitted)))

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
        done = [
            normaliser
            for step in map(_itself, (process if process is not None else self).steps.values())
            if isinstance(step, Normalise)
            for normaliser in step.normalisers
        ]
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


def _itself(step: Step) -> Step:
    """A step, or that which it takes in each time step of sequences."""
    return getattr(step, "step", step)


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


def two_figures(step: str, analysis: Any, name: str, one: str, other: str) -> tuple[float, float]:
    first, second = figures(step, analysis, name, one, other)
    return first, second


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
        forward, inverse = _METHODS[self.method]
        return (inverse if self.inverse else forward)(self, value)

    def __str__(self) -> str:
        names = {"minMax": ("min", "max"), "standardise": ("mean", "stdev"), "logarithm": ("min", "mean")}[self.method]
        shown = f"{self.column!r} ({names[0]} {self.first:g}, {names[1]} {self.second:g})"
        return f"{shown} of {self.method}" if self.inverse else shown


def _unless_null(value: Column, constant: float) -> Column:
    return F.when(value.isNotNull(), F.lit(constant))


# Beyond this, differences of doubles can be infinite.
HUGE = 2.0**960


def _part(x: Column, low: float, high: float) -> Column:
    """(x − low) / (high − low); of halves where a difference could overflow."""
    if max(abs(low), abs(high)) < HUGE:
        return (x - low) / F.lit(high - low)
    return (x * 0.5 - low * 0.5) / F.lit(high * 0.5 - low * 0.5)


def _between(part: Column, low: float, high: float) -> Column:
    """part · (high − low) + low, the inverse of `_part`."""
    if math.isfinite(high - low):
        return part * (high - low) + low
    return part * high + (F.lit(1.0) - part) * low


def _min_max(n: Normaliser, x: Column) -> Column:
    if n.first == n.second:
        return _unless_null(x, n.low * 0.5 + n.high * 0.5)
    return _between(_part(x, n.first, n.second), n.low, n.high)


def _min_max_inverse(n: Normaliser, y: Column) -> Column:
    if n.first == n.second:
        return _unless_null(y, n.first)
    return _between(_part(y, n.low, n.high), n.first, n.second)


def _standardise(n: Normaliser, x: Column) -> Column:
    if n.second == 0:
        return _unless_null(x, 0.0)
    if abs(n.first) < HUGE:
        return (x - n.first) / F.lit(n.second)
    return (x * 0.5 - n.first * 0.5) / F.lit(n.second * 0.5)


def _standardise_inverse(n: Normaliser, y: Column) -> Column:
    return y * n.second + n.first


def _logarithm(n: Normaliser, x: Column) -> Column:
    return _unless_null(x, 0.0) if n.first == n.second else F.log2(_part(x, n.first, n.second) + 1.0) * n.low


def _logarithm_inverse(n: Normaliser, y: Column) -> Column:
    return _between(F.pow(F.lit(2.0), y / F.lit(n.low)) - 1.0, n.first, n.second)


_METHODS: dict[str, tuple[Callable[[Normaliser, Column], Column], Callable[[Normaliser, Column], Column]]] = {
    "minMax": (_min_max, _min_max_inverse),
    "standardise": (_standardise, _standardise_inverse),
    "logarithm": (_logarithm, _logarithm_inverse),
}


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
