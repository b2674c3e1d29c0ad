"""Arrays computed from numbers and arrays, and distances: saved with the process, without Python on the workers."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.reductions import FIGURES
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let, let_all, reference, refused
from spark_keras.preparation.step import AddsSteps, Step, each
from spark_keras.preparation.steps.array_shapes import flattened, mapped, number_arrays
from spark_keras.preparation.steps.columns import FUNCTIONS, is_number
from spark_keras.preparation.steps.reduce import several

_OPERATORS: dict[str, Callable[[Column, Column], Column]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": F.try_divide,
    "min": F.least,
    "max": F.greatest,
}


class ArraySteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null array stays null, as does a null element."""

    def toArray(self, output: str, *columns: str) -> Self:
        """Adds an array of doubles with the values of columns of numbers or booleans, and of the elements of flat
        arrays, one behind the other; null where one of the columns is.
        """
        return self.add(ToArray(output, each("toArray", columns)))

    def arrayArithmetic(self, output: str, operator: str, *operands: str | float) -> Self:
        """Adds an array computed element by element: `arrayArithmetic("scaled", "*", "pixels", 1 / 255)`.

        Args:
            output: the new column, or one of the operands to replace it.
            operator: "+", "-", "*", "/" (null at a division by zero), "min" or "max".
            operands: two or more: arrays of numbers of the same shape, at least one; columns of numbers, and numbers,
                which are the same for all elements. Arrays whose lengths differ are an error when the rows are
                computed.

        The elements are doubles.
        """
        return self.add(ArrayArithmetic(output, operator, tuple(operands)))

    def arrayFunction(self, output: str, function: str, column: str) -> Self:
        """Adds an array that is a function of each element: one of those of the step `function`. They are doubles."""
        return self.add(ArrayFunction(output, function, column))

    def reduceArray(self, output: str, function: str, column: str) -> Self:
        """Adds a double with a figure of all elements of an array that are not null.

        Args:
            function: "sum", "mean", "median", "min", "max", "range", "product", "stdev", "variance",
                "populationStdev", "populationVariance", "count", "countDistinct", "first", "last", or "norm", the root
                of the sum of squares.
        """
        return self.add(ReduceArray(output, function, column))

    def arrayDistance(self, output: str, first: str, second: str, metric: str = "euclidean") -> Self:
        """Adds a double with the distance of two flat arrays of the same length.

        Args:
            metric: "euclidean" (default), "manhattan", or "cosine": 1 minus the cosine of the angle between them, null
                where one of them is 0.
        """
        return self.add(ArrayDistance(output, first, second, metric))

    def distance(self, output: str, first: Sequence[str], second: Sequence[str], metric: str = "euclidean") -> Self:
        """Adds a double with the distance of two points; null where a coordinate is.

            process.distance("km", ["pickup lat", "pickup lon"], ["dropoff lat", "dropoff lon"], metric="haversine")

        Args:
            first: columns with the coordinates of one point.
            second: those of the other one, in the same order.
            metric: "euclidean" (default), "manhattan", or "haversine": along the surface of a sphere with the mean
                radius of the Earth, 6371.0088 km, in kilometres, of latitudes and longitudes in degrees.
        """
        return self.add(Distance(output, several(first), several(second), metric))


def _same_size(label: str, left: Column, right: Column, result: Column) -> Column:
    received = f"Arrays of {label} differ in length. Received: "
    wrong = refused(received, F.size(left), " and ", F.size(right), " elements. Expected: the same.")
    return F.when(F.size(left) == F.size(right), result).when(left.isNotNull() & right.isNotNull(), wrong)


def _zipped(label: str, left: Column, right: Column, depth: int, function: Callable[..., Column]) -> Column:
    if depth == 0:
        return function(left, right)
    inner = F.zip_with(left, right, lambda a, b: _zipped(label, a, b, depth - 1, function))
    return _same_size(label, left, right, inner)


def _common_shape(step: str, fields: Sequence[ArrayField]) -> tuple[int | None, ...]:
    shape = fields[0].shape
    for field in fields[1:]:
        same = len(field.shape) == len(shape) and all(None in (a, b) or a == b for a, b in zip(shape, field.shape))
        if not same:
            raise ValueError(
                f"Arrays of {step} do not fit each other. Received: {fields[0]} and {field}. Expected: the same shape."
            )
        shape = tuple(b if a is None else a for a, b in zip(shape, field.shape))
    return shape


def _doubles(field: kinds.Field) -> Column:
    depth = len(field.shape) if isinstance(field, ArrayField) else 0
    return reference(field.name).cast("array<" * depth + "double" + ">" * depth)


@registered("toArray")
class ToArray(Step):
    output: str
    columns: tuple[str, ...]

    def schema_after(self, schema: Schema) -> Schema:
        fields = schema.require(self.label, self.columns, kinds.NumberField, kinds.BooleanField, ArrayField)
        number_arrays(schema, self.label, [field.name for field in fields if isinstance(field, ArrayField)], flat=True)
        lengths = [field.shape[0] if isinstance(field, ArrayField) else 1 for field in fields]
        known = [length for length in lengths if length is not None]
        length = sum(known) if len(known) == len(lengths) else None
        made = ArrayField(self.output, "double", (length,), nullable=any(field.nullable for field in fields))
        return schema.made(self.label, made, *self.columns)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        fields = [schema[name] for name in self.columns]
        parts = [_doubles(f) if isinstance(f, ArrayField) else F.array(_doubles(f)) for f in fields]
        complete = kinds.all_of([reference(field.name).isNotNull() for field in fields])
        return {self.output: F.when(complete, F.concat(*parts))}


@registered("arrayArithmetic")
class ArrayArithmetic(Step):
    output: str
    operator: str = choice(_OPERATORS)
    operands: tuple[Any, ...]

    def schema_after(self, schema: Schema) -> Schema:
        names = [part for part in self.operands if not is_number(part)]
        fields = schema.require(self.label, names, ArrayField, kinds.NumberField, expected="an array, or a number")
        arrays = number_arrays(schema, self.label, [field.name for field in fields if isinstance(field, ArrayField)])
        if len(self.operands) < 2 or not arrays:
            raise ValueError(
                f"Wrong operands in {self.label}. Received: {list(self.operands)}. Expected: two or more, at least one "
                "an array; arithmetic computes with numbers."
            )
        shape = _common_shape(self.label, arrays)
        made = ArrayField(self.output, "double", shape, nullable=any(field.nullable for field in fields))
        return schema.made(self.label, made, *names)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        function = _OPERATORS[self.operator]

        def of_elements(left: Column, right: Column) -> Column:
            # The least and the greatest of Spark leave out nulls.
            return F.when(left.isNotNull() & right.isNotNull(), function(left, right))

        def depth_of(part: Any) -> int:
            field = None if is_number(part) else schema[part]
            return len(field.shape) if isinstance(field, ArrayField) else 0

        depths = [depth_of(part) for part in self.operands]
        parts = [F.lit(float(part)) if is_number(part) else _doubles(schema[part]) for part in self.operands]

        def computed(held: dict[str, Column]) -> Column:
            value, depth = held["0"], depths[0]
            for i, other_depth in enumerate(depths[1:], 1):
                left, right = value, held[str(i)]
                if depth and other_depth:
                    value = _zipped(self.label, left, right, depth, of_elements)
                elif depth:
                    value = mapped(left, depth, functools.partial(of_elements, right=right))
                else:
                    value = mapped(right, other_depth, functools.partial(of_elements, left))
                depth = max(depth, other_depth)
            return value

        names = [part for part in self.operands if not is_number(part)]
        complete = kinds.all_of([reference(name).isNotNull() for name in names])
        value = let_all({str(i): part for i, part in enumerate(parts)}, computed)
        return {self.output: F.when(complete, value)}


@registered("arrayFunction")
class ArrayFunction(Step):
    output: str
    function: str = choice(FUNCTIONS)
    column: str

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = number_arrays(schema, self.label, [self.column])
        made = ArrayField(self.output, "double", field.shape, nullable=field.nullable)
        return schema.made(self.label, made, self.column)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        field = schema.field(self.column, ArrayField)
        return {self.output: mapped(_doubles(field), len(field.shape), FUNCTIONS[self.function])}


def _dot(left: Column, right: Column) -> Column:
    return F.aggregate(F.zip_with(left, right, lambda a, b: a * b), F.lit(0.0), lambda total, value: total + value)


def _norm(values: Column) -> Column:
    return F.sqrt(_dot(values, values))


_FIGURES = {**FIGURES, "norm": _norm}


@registered("reduceArray")
class ReduceArray(Step):
    output: str
    function: str = choice(_FIGURES)
    column: str

    def schema_after(self, schema: Schema) -> Schema:
        number_arrays(schema, self.label, [self.column])
        return schema.made(self.label, kinds.DoubleField(self.output), self.column)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        field = schema.field(self.column, ArrayField)
        values = F.filter(flattened(_doubles(field), len(field.shape)), lambda value: value.isNotNull())
        figure = let(values, _FIGURES[self.function]).cast("double")
        return {self.output: F.when(reference(self.column).isNotNull(), figure)}


def _manhattan(left: Column, right: Column) -> Column:
    apart = F.zip_with(left, right, lambda a, b: F.abs(a - b))
    return F.aggregate(apart, F.lit(0.0), lambda total, value: total + value)


_METRICS: dict[str, Callable[[Column, Column], Column]] = {
    "euclidean": lambda left, right: _norm(F.zip_with(left, right, lambda a, b: a - b)),
    "manhattan": _manhattan,
    "cosine": lambda left, right: F.lit(1.0) - F.try_divide(_dot(left, right), _norm(left) * _norm(right)),
}


@registered("arrayDistance")
class ArrayDistance(Step):
    output: str
    first: str
    second: str
    metric: str = choice(_METRICS, default="euclidean")

    def schema_after(self, schema: Schema) -> Schema:
        fields = number_arrays(schema, self.label, [self.first, self.second], flat=True)
        _common_shape(self.label, fields)
        return schema.made(self.label, kinds.DoubleField(self.output))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        def distance(held: dict[str, Column]) -> Column:
            left, right = held["left"], held["right"]
            return _same_size(self.label, left, right, _METRICS[self.metric](left, right))

        both = {"left": _doubles(schema[self.first]), "right": _doubles(schema[self.second])}
        return {self.output: let_all(both, distance)}


# The mean radius of the Earth (IUGG), in kilometres.
EARTH_RADIUS = 6371.0088


@registered("distance")
class Distance(Step):
    output: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    metric: str = choice(("euclidean", "manhattan", "haversine"), default="euclidean")

    def schema_after(self, schema: Schema) -> Schema:
        on_earth = self.metric == "haversine"
        if not len(self.first) == len(self.second) == (2 if on_earth else max(len(self.first), 1)):
            expected = "a latitude and a longitude each" if on_earth else "as many columns for both points"
            raise ValueError(
                f"Wrong coordinates in {self.label}. Received: {list(self.first)} and {list(self.second)}. "
                f"Expected: {expected}."
            )
        fields = schema.require(self.label, [*self.first, *self.second], kinds.NumberField, expected="a number")
        nullable = any(field.nullable for field in fields)
        return schema.made(self.label, kinds.DoubleField(self.output, minimum=0, nullable=nullable))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        first = [reference(name).cast("double") for name in self.first]
        second = [reference(name).cast("double") for name in self.second]
        if self.metric == "haversine":
            return {self.output: _haversine(*first, *second)}
        apart = [b - a for a, b in zip(first, second)]
        if self.metric == "manhattan":
            return {self.output: functools.reduce(operator.add, map(F.abs, apart))}
        return {self.output: F.sqrt(functools.reduce(operator.add, [part * part for part in apart]))}


def _haversine(latitude: Column, longitude: Column, latitude2: Column, longitude2: Column) -> Column:
    """2 r asin √(sin²(Δφ/2) + cos φ₁ cos φ₂ sin²(Δλ/2)) (R. W. Sinnott, "Virtues of the Haversine", 1984)."""
    half_phi = F.sin(F.radians(latitude2 - latitude) / 2)
    half_lambda = F.sin(F.radians(longitude2 - longitude) / 2)
    across = F.cos(F.radians(latitude)) * F.cos(F.radians(latitude2)) * half_lambda * half_lambda
    root = F.sqrt(half_phi * half_phi + across)
    # Rounding can make the root of opposite points a little more than 1; least would take a NaN for larger.
    return F.lit(2 * EARTH_RADIUS) * F.asin(F.when(root > 1, F.lit(1.0)).otherwise(root))
