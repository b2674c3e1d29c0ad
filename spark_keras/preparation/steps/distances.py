"""Distances of points whose coordinates are columns."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, Step
from spark_keras.preparation.steps.reduce import several

# The mean radius of the Earth (IUGG), in kilometres.
EARTH_RADIUS = 6371.0088


class DistanceSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

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
