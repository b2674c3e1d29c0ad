"""Columns with one value in all rows."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ELEMENTS
from spark_keras.preparation.clock import literal
from spark_keras.preparation.conditions import check_value
from spark_keras.preparation.records.values import taken
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import AddsSteps, Step, choose
from spark_keras.preparation.steps.rows import check_fits

_TYPES: dict[str, type[kinds.Field]] = {**ELEMENTS, "time": kinds.TimeField, "date": kinds.DateField}
_NAMES = {
    bool: "boolean",
    str: "string",
    int: "long",
    float: "double",
    datetime.date: "date",
    datetime.datetime: "time",
}


class ConstantSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def constant(self, output: str, value: Any, type: str | None = None, zone: str | None = None) -> Self:
        """Adds a column with one value in all rows.

        Args:
            value: a boolean, string, integer, float, `datetime.datetime` or `datetime.date`; None for a column without
                values.
            type: "boolean", "string", "integer", "long", "float", "double", "time" or "date"; by default that of the
                value: a long for an integer, a double for a float. None needs it.
            zone: the time zone of a time's calendar; default "UTC" for a datetime with a time zone, and none for one
                without.
        """
        if type is not None:
            choose("constant", "type", type, _TYPES)
        if zone is not None:
            kinds.checked_zone("step constant", zone)
        return self.add(Constant(output, value, type, zone))


@registered("constant")
class Constant(Step):
    output: str
    value: Any
    type: str | None = None
    zone: str | None = None

    def schema_after(self, schema: Schema) -> Schema:
        name = self.type or _NAMES.get(type(self.value))
        if name is None:
            raise TypeError(
                f"Invalid value in {self.label}. Received: {self.value!r}. Expected: a boolean, string, integer, "
                'float, datetime or date; or None, with a type such as type="double".'
            )
        field = _TYPES[name](self.output, nullable=self.value is None)
        if isinstance(field, kinds.TimeField):
            without_zone = isinstance(self.value, datetime.datetime) and self.value.tzinfo is None
            field = dataclasses.replace(field, zone=None if without_zone else self.zone or "UTC")
        if self.zone is not None and getattr(field, "zone", None) != self.zone:
            raise ValueError(
                f"Value does not fit the time zone in {self.label}. Received: {self.value!r}, zone={self.zone!r}. "
                "Expected: a datetime with a time zone, or no `zone`."
            )
        if self.value is not None:
            check_value(self.label, field, self.value, schema)
            if isinstance(field, kinds.NumberField):
                check_fits(self.label, field, self.value, schema)
        return schema.made(self.label, field)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.output: F.lit(None) if self.value is None else literal(self.value)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {self.output: taken(self.schema_after(schema)[self.output], self.value)}
