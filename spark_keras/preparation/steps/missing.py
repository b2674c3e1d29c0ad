"""Missing values replaced by others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation.conditions import check_value, expression, value_of
from spark_keras.preparation.expressions import operand
from spark_keras.preparation.records.values import is_missing, stored
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import Step, mapping_field, pairs
from spark_keras.preparation.steps.adding import AddsSteps
from spark_keras.preparation.steps.rows import check_fits, missing


class MissingSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def replaceMissing(self, values: Mapping[str, Any]) -> Self:
        """Puts values where there is null, or NaN: `replaceMissing({"amount": 0.0, "country": "USA"})`.

        A value may be another column, `col("b")`.
        """
        given = pairs("replaceMissing", values, '{"column": value}')
        return self.add(ReplaceMissing(tuple((name, operand(value)) for name, value in given)))


@registered("replaceMissing")
class ReplaceMissing(Step):
    each_alone = "values"

    values: tuple[tuple[str, Any], ...] = mapping_field()

    def schema_after(self, schema: Schema) -> Schema:
        changed = {}
        for name, value in self.values:
            (field,) = schema.require(self.label, [name])
            check_value(self.label, field, value, schema)
            if isinstance(value, float) and math.isnan(value):
                raise ValueError(
                    f"Value does not fit column {name!r} in {self.label}. Received: nan. Expected: a value that is not "
                    "itself a missing one."
                )
            check_fits(self.label, field, value, schema)
            other = getattr(value, "name", None)
            changed[name] = dataclasses.replace(field, nullable=other is not None and schema[other].nullable)
        return schema.replaced(changed)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {
            name: F.when(missing(schema[name]), expression(value).cast(schema[name].sparkType)).otherwise(
                reference(name)
            )
            for name, value in self.values
        }

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {
            name: stored(schema[name], value_of(value, row)) if is_missing(row[name]) else row[name]
            for name, value in self.values
        }
