"""Columns of Spark and fields of a schema: one as the other, which is which in a DataFrame, and what has to be cast."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import types as T

from spark_keras import plain_json
from spark_keras.columns.expressions import quoted, reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ELEMENTS, ArrayField, OtherField
from spark_keras.preparation.clock import point_in_time
from spark_keras.preparation.fields import Field, NumberField, TimeField
from spark_keras.preparation.names import case_sensitive
from spark_keras.preparation.registry import decode
from spark_keras.preparation.texts import times_of_text

# What Spark's types do not tell, in the metadata of a column.
METADATA = "spark_keras.field"
# The comment of a column of texts that are times of a zone.
_TIME_IN = "time in zone "

_FIELDS: list[type[Field]] = [*ELEMENTS.values(), kinds.DateField, kinds.BinaryField]
_SIMPLE: dict[type[T.DataType], Callable[..., Field]] = {
    **{type(field.fixedType): field for field in _FIELDS},
    T.ByteType: kinds.IntegerField,
    T.ShortType: kinds.IntegerField,
}


def column_ddl(field: Field) -> str:
    """A column as `Schema.toDDL` writes it."""
    zone = field.zone if isinstance(field, TimeField) else None
    kind = field.sparkType.simpleString() if zone is None else "string"
    comment = "" if zone is None else f" COMMENT '{_TIME_IN}{zone}'"
    return f"{quoted(field.name)} {kind}{'' if field.nullable else ' NOT NULL'}{comment}"


def _zone_in(comment: str) -> str | None:
    """The zone in a comment as `toDDL` writes it; None in any other."""
    zone = comment.removeprefix(_TIME_IN)
    try:
        return None if zone == comment else kinds.checked_zone("a comment", zone)
    except ValueError:
        return None


def field_of(field: T.StructField, zone: str) -> Field:
    """The field of a column, with what its metadata tell; `zone` is that of timestamps."""
    kept = (field.metadata or {}).get(METADATA)
    if kept is not None:
        known = decode(plain_json.loads(kept)).named(field.name)
        # Metadata outlive a cast.
        if known.accepts(field.dataType) and not (isinstance(known, TimeField) and known.sparkType != field.dataType):
            return known
    name, kind, nullable = field.name, field.dataType, field.nullable
    zone_of_text = _zone_in((field.metadata or {}).get("comment", ""))
    if zone_of_text is not None and isinstance(kind, T.StringType):
        return TimeField(name, zone_of_text, nullable=nullable)
    if type(kind) in _SIMPLE:
        return _SIMPLE[type(kind)](name, nullable=nullable)
    if isinstance(kind, T.TimestampType):
        return TimeField(name, zone, nullable=nullable)
    if isinstance(kind, T.TimestampNTZType):
        return TimeField(name, None, nullable=nullable)
    depth, element = 0, kind
    while isinstance(element, T.ArrayType):
        depth, element = depth + 1, element.elementType
    names = [known for known, cls in ELEMENTS.items() if cls("").sparkType == element]
    if depth and names:
        return ArrayField(name, names[0], (None,) * depth, nullable=nullable)
    return OtherField(name, kind.json(), nullable=nullable)


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
