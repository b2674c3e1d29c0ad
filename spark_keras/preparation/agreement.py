"""A DataFrame against a schema: which column is which, and what has to be cast."""

from __future__ import annotations

import dataclasses
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import types as T

from spark_keras.columns.expressions import reference
from spark_keras.preparation.clock import point_in_time
from spark_keras.preparation.fields import Field, NumberField, TimeField
from spark_keras.preparation.names import case_sensitive
from spark_keras.preparation.texts import times_of_text


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The columns of a DataFrame beside those of a schema.

    Args:
        found: the DataFrame's column for each of the schema's, by the name that the schema has for it.
        missing: columns of the schema that the DataFrame does not have.
        others: columns of the DataFrame that the schema does not know.
    """

    found: dict[str, T.StructField]
    missing: tuple[Field, ...]
    others: tuple[T.StructField, ...]

    @staticmethod
    def of(schema: Any, dataset: DataFrame) -> Agreement:
        """Finds columns by name as Spark does."""
        left = {column.name: column for column in dataset.schema.fields}
        found = {field.name: left.pop(field.name) for field in schema if field.name in left}
        missing = [field for field in schema if field.name not in found]
        if missing and left and not case_sensitive(dataset.sparkSession):
            alike = {name.lower(): name for name in left}
            for field in missing:
                if field.name.lower() in alike:
                    found[field.name] = left.pop(alike.pop(field.name.lower()))
            missing = [field for field in missing if field.name not in found]
        return Agreement(found, tuple(missing), tuple(left.values()))

    def wrong_types(self, schema: Any) -> list[str]:
        """Describes what does not fit."""
        return [
            f"column {field.name!r} is {self.found[field.name].dataType.simpleString()}, not "
            f"{field.sparkType.simpleString()}"
            for field in schema
            if field.name in self.found and not field.accepts(self.found[field.name].dataType)
        ]

    def conformed(self, schema: Any, dataset: DataFrame, others: bool = False) -> DataFrame:
        """The DataFrame with the columns that were found, in the schema's order and types; and others, if wanted."""
        fields = [field for field in schema if field.name in self.found]
        rest = [column.name for column in self.others] if others else []
        same = all(self.found[f.name].name == f.name and _same_type(f, self.found[f.name].dataType) for f in fields)
        if same and dataset.columns == [*(field.name for field in fields), *rest]:
            return dataset
        return dataset.select(*[_conformed(f, self.found[f.name]) for f in fields], *map(reference, rest))


def disagreement(what: str, problems: list[str], schema: Any) -> ValueError:
    """The error that tells everything that does not fit."""
    expected = ", ".join(f"{field.name} {field.sparkType.simpleString()}" for field in schema)
    return ValueError(
        f"The DataFrame does not agree with {what}. Received: {'; '.join(problems)}. "
        f"Expected: {expected}. Cast, select or drop columns of the DataFrame, or change the schema."
    )


def no_column(field: Field, why: str = "") -> str:
    """Describes a column that is missing."""
    return f"no column {field.name!r} ({field.description}){why}"


def _same_type(field: Field, found: T.DataType) -> bool:
    return found == field.sparkType or not isinstance(field, (NumberField, TimeField))


def _conformed(field: Field, column: T.StructField) -> Column:
    value = reference(column.name)
    if not _same_type(field, column.dataType):
        if isinstance(field, NumberField):
            value = value.cast(field.sparkType)
        elif isinstance(field, TimeField) and isinstance(column.dataType, T.StringType):
            value = times_of_text(field, column.name)
        elif isinstance(field, TimeField) and field.zone is not None:
            value = point_in_time(value, field.zone)
    elif column.name == field.name:
        return value
    return value.alias(field.name)
