"""Columns of Spark as fields of a schema, and fields as columns in DDL."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import types as T

from spark_keras import plain_json
from spark_keras.columns.expressions import quoted
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ELEMENTS, ArrayField, OtherField
from spark_keras.preparation.checks import checked_zone
from spark_keras.preparation.registry import decode

# What Spark's types do not tell, in the metadata of a column.
METADATA = "spark_keras.field"
# The comment of a column of texts that are times of a zone.
_TIME_IN = "time in zone "

_FIELDS: list[type[kinds.Field]] = [*ELEMENTS.values(), kinds.DateField, kinds.BinaryField]
_SIMPLE: dict[type[T.DataType], Callable[..., kinds.Field]] = {
    **{type(field.fixedType): field for field in _FIELDS},
    T.ByteType: kinds.IntegerField,
    T.ShortType: kinds.IntegerField,
}


def column_ddl(field: kinds.Field) -> str:
    """A column as `Schema.toDDL` writes it."""
    zone = field.zone if isinstance(field, kinds.TimeField) else None
    kind = field.sparkType.simpleString() if zone is None else "string"
    comment = "" if zone is None else f" COMMENT '{_TIME_IN}{zone}'"
    return f"{quoted(field.name)} {kind}{'' if field.nullable else ' NOT NULL'}{comment}"


def _zone_in(comment: str) -> str | None:
    """The zone in a comment as `toDDL` writes it; None in any other."""
    zone = comment.removeprefix(_TIME_IN)
    try:
        return None if zone == comment else checked_zone("a comment", zone)
    except ValueError:
        return None


def field_of(field: T.StructField, zone: str) -> kinds.Field:
    """The field of a column, with what its metadata tell; `zone` is that of timestamps."""
    kept = (field.metadata or {}).get(METADATA)
    if kept is not None:
        known = decode(plain_json.loads(kept)).named(field.name)
        # Metadata outlive a cast.
        if known.accepts(field.dataType) and not (
            isinstance(known, kinds.TimeField) and known.sparkType != field.dataType
        ):
            return known
    name, kind, nullable = field.name, field.dataType, field.nullable
    zone_of_text = _zone_in((field.metadata or {}).get("comment", ""))
    if zone_of_text is not None and isinstance(kind, T.StringType):
        return kinds.TimeField(name, zone_of_text, nullable=nullable)
    if type(kind) in _SIMPLE:
        return _SIMPLE[type(kind)](name, nullable=nullable)
    if isinstance(kind, T.TimestampType):
        return kinds.TimeField(name, zone, nullable=nullable)
    if isinstance(kind, T.TimestampNTZType):
        return kinds.TimeField(name, None, nullable=nullable)
    depth, element = 0, kind
    while isinstance(element, T.ArrayType):
        depth, element = depth + 1, element.elementType
    names = [known for known, cls in ELEMENTS.items() if cls("").sparkType == element]
    if depth and names:
        return ArrayField(name, names[0], (None,) * depth, nullable=nullable)
    return OtherField(name, kind.json(), nullable=nullable)
