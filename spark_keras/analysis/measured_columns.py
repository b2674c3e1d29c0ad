"""Numbers that are measured of columns: every column becomes one or several measures, each a column of doubles.

A number is measured by itself, a string, an array or a map by its length, a time by its distance from 1970. So two
aggregations, whatever the types, do for all columns. What a double would round keeps a key beside it. `stream` makes
rows (measure, number) of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras.columns import expressions

# Roles of a measure.
VALUE = "value"
LENGTH = "length"
PRESENCE = "presence"  # only whether it is null
INNER_LEAST, INNER_GREATEST = "inner least", "inner greatest"
SHAPE = (LENGTH, INNER_LEAST, INNER_GREATEST)
ELEMENT = "element"
VALUES = "values"  # of an array, whatever their position
ROW_LEAST, ROW_GREATEST = "row least", "row greatest"  # of the values of an array
HASH = "hash"  # of strings whose frequencies are counted


class Measure(NamedTuple):
    """One stream of doubles.

    Args:
        column: index of the column that it tells about.
        role: what it tells.
        expression: a Spark column of doubles; of the role VALUES one of arrays of doubles.
        index: position of an element, or level of nesting.
        key: a bigint (an array of them) that tells apart what the doubles may not; None: they tell all.
        whole: whether the key is the value itself.
        text: the strings of the role HASH.
    """

    column: int
    role: str
    expression: Column
    index: int = 0  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    key: Column | None = None
    whole: bool = False
    text: Column | None = None


# A measure without its column.
_Measured = tuple[Any, ...]


class Field(NamedTuple):
    """A column, or a field of a struct."""

    name: str
    expression: Column
    data_type: T.DataType
    metadata: dict[str, Any]


def field_of(dataset: DataFrame, name: str) -> Field:
    """A column by its name."""
    known = dataset.schema[name]
    return Field(name, expressions.reference(name), known.dataType, known.metadata)


def fields_of(dataset: DataFrame, names: Sequence[str]) -> list[Field]:
    """The columns, each struct followed by its fields."""
    found = [field for name in names for field in _with_fields(field_of(dataset, name))]
    seen: set[str] = set()
    for field in found:
        if field.name in seen:
            raise ValueError(
                f"Two columns would have the same name in the analysis. Received: {field.name!r}, "
                f"{'twice' if names.count(field.name) > 1 else 'both as a column and as a field of a struct'}. "
                "Expected: distinct names; rename one of them."
            )
        seen.add(field.name)
    return found


def _with_fields(field: Field) -> Iterator[Field]:
    yield field
    if isinstance(field.data_type, T.StructType):
        for inner in field.data_type.fields:
            expression = field.expression.getField(inner.name)
            yield from _with_fields(Field(f"{field.name}.{inner.name}", expression, inner.dataType, inner.metadata))


def kind_of(field: Field) -> str:
    """The kind of `ColumnAnalysis`."""
    kinds = (
        ("boolean", T.BooleanType),
        ("numeric", T.NumericType),
        ("string", T.StringType),
        ("time", (T.TimestampType, T.TimestampNTZType, T.DateType)),
        ("binary", T.BinaryType),
        ("array", (T.ArrayType, VectorUDT)),
        ("map", T.MapType),
        ("struct", T.StructType),
    )
    kind = next((kind for kind, data_types in kinds if isinstance(field.data_type, data_types)), "other")
    nominal = field.metadata.get("ml_attr", {}).get("type") == "nominal"
    return "categorical" if kind == "numeric" and nominal else kind


def measures_of(fields: Sequence[Field], element_counts: dict[str, int]) -> list[Measure]:
    """All measures: first that of the whole column for each; those of hashes last of all.

    Args:
        element_counts: for each array column whose elements are measured one by one, how many there are.
    """
    measures, hashes = [], []
    for index, field in enumerate(fields):
        kind = kind_of(field)
        measures += [Measure(index, *measured) for measured in _MEASURES[kind](field)]
        if kind in ("string", "categorical"):
            text = field.expression.cast("string")
            hashes.append(Measure(index, HASH, hash_of(text).cast("double"), text=text))
        if kind == "array" and field.name in element_counts:
            flat, whole = flat_array(field), _has_whole_elements(field)
            for place in range(element_counts[field.name]):
                # From an array that is too short: null, in ANSI mode too.
                value = F.get(flat, F.lit(place))
                key = value.cast("bigint") if whole else None
                measures.append(Measure(index, ELEMENT, value.cast("double"), place, key, whole))
    return [*measures, *hashes]


def hash_of(text: Column) -> Column:
    """A string's hash, in the 53 bits that a double holds exactly."""
    return F.when(text.isNotNull(), F.shiftright(F.xxhash64(text), 11))


def _value(field: Field) -> list[_Measured]:
    value = field.expression.cast("int") if isinstance(field.data_type, T.BooleanType) else field.expression
    if isinstance(field.data_type, T.IntegralType):
        return [(VALUE, value.cast("double"), 0, value.cast("bigint"), True)]
    key = F.xxhash64(value) if isinstance(field.data_type, T.DecimalType) else None
    return [(VALUE, value.cast("double"), 0, key)]


def _time(field: Field) -> list[_Measured]:
    if isinstance(field.data_type, T.DateType):
        units = F.unix_date(field.expression)
    elif isinstance(field.data_type, T.TimestampNTZType):
        # By its parts, because a cast to timestamp would bring in the session's time zone.
        time = field.expression
        minutes = (F.unix_date(time.cast("date")).cast("bigint") * 24 + F.hour(time)) * 60 + F.minute(time)
        units = minutes * 60_000_000 + (F.date_part(F.lit("SECOND"), time) * 1_000_000).cast("bigint")
    else:
        units = F.unix_micros(field.expression)
    return [(VALUE, units.cast("double"), 0, units.cast("bigint"), True)]


def _length(field: Field) -> list[_Measured]:
    return [(LENGTH, F.length(field.expression).cast("double"), 0)]


def _presence(field: Field) -> list[_Measured]:
    return [(PRESENCE, F.when(field.expression.isNotNull(), F.lit(0.0)), 0)]


def _array(field: Field) -> list[_Measured]:
    """The length, the least and the greatest of each inner dimension, and all values where they are numbers."""
    array, data_type = _as_array(field)
    found: list[_Measured] = [(LENGTH, _size(array), 0)]
    level = 1
    while isinstance(data_type, T.ArrayType) and isinstance(data_type.elementType, T.ArrayType):
        # An array that is null has no length: unlike any other.
        lengths = F.transform(array, lambda inner: F.coalesce(_size(inner), F.lit(-1.0)))
        found += [(INNER_LEAST, F.array_min(lengths), level), (INNER_GREATEST, F.array_max(lengths), level)]
        # Arrays that are null have no elements.
        array = F.flatten(F.filter(array, lambda inner: inner.isNotNull()))
        data_type, level = data_type.elementType, level + 1
    if has_numeric_elements(field):
        whole = _has_whole_elements(field)
        found.append((VALUES, array.cast("array<double>"), 0, array.cast("array<bigint>") if whole else None, whole))
    return found


def row_extremes(field: Field, column: int) -> list[Measure]:
    """The least and the greatest value of each array; the greatest is NaN or infinite where a value is.

    Args:
        column: index of the measures' column.
    """
    (values,) = [measured[1] for measured in _array(field) if measured[0] == VALUES]
    return [Measure(column, ROW_LEAST, F.array_min(values)), Measure(column, ROW_GREATEST, F.array_max(values))]


_MEASURES: dict[str, Callable[[Field], list[_Measured]]] = {
    "numeric": _value,
    "categorical": _value,
    "boolean": _value,
    "time": _time,
    "string": _length,
    "binary": _length,
    "array": _array,
    "map": lambda field: [(LENGTH, _size(field.expression), 0)],
    "struct": _presence,
    "other": _presence,
}


def _size(array: Column) -> Column:
    # Spark's size of null is -1 where ANSI mode is off.
    return F.when(array.isNotNull(), F.size(array)).cast("double")


def _as_array(field: Field) -> tuple[Column, T.DataType | None]:
    if isinstance(field.data_type, VectorUDT):
        return vector_to_array(field.expression), None
    return field.expression, field.data_type


def flat_array(field: Field) -> Column:
    """The elements of a (nested) array or vector, in row-major order."""
    array, data_type = _as_array(field)
    while isinstance(data_type, T.ArrayType) and isinstance(data_type.elementType, T.ArrayType):
        array, data_type = F.flatten(array), data_type.elementType
    return array


def has_numeric_elements(field: Field) -> bool:
    """Tells a column of arrays of numbers or booleans, or of ML vectors."""
    if kind_of(field) != "array":
        return False
    element = _element(field)
    return element is None or isinstance(element, (T.NumericType, T.BooleanType))


def _has_whole_elements(field: Field) -> bool:
    return isinstance(_element(field), T.IntegralType)


def _element(field: Field) -> T.DataType | None:
    """The type of a (nested) array's elements; None for vectors."""
    _, element = _as_array(field)
    while isinstance(element, T.ArrayType):
        element = element.elementType
    return element


# --- the stream ---

# Numbers that have no place among others, and what they are called.
NULL, NAN, INFINITE = -8, -7, -6
UNUSUAL = {NULL: "nulls", NAN: "nan", INFINITE: "infinite"}


def unusual(x: Column) -> Column:
    """Tells nulls, NaN and infinity; `otherwise` is to follow."""
    return F.when(x.isNull(), NULL).when(F.isnan(x), NAN).when(F.abs(x) == math.inf, INFINITE)


def stream(
    dataset: DataFrame, measures: Sequence[Measure], strings: Sequence[Any] = (), kept: Mapping[str, Any] | None = None
) -> Any:
    """A row for each measure of each row, and for each value of the measures of arrays.

    Args:
        strings: for each measure a Spark column of strings that travels with it, or None; none at all for no strings.
        kept: more columns of each row, which stand beside all of its measures.

    Returns:
        Columns "measure" (index), "x" (double), "key" (bigint; equal for equal values) and "string".
    """

    def zipped(values: Any, keys: Any, texts: Any) -> Column:
        # arrays_zip fills up with nulls what is missing.
        nothing = F.array()
        keys = nothing.cast("array<bigint>") if keys is None else keys
        texts = nothing.cast("array<string>") if texts is None else texts
        return F.arrays_zip(values, keys, texts).cast("array<struct<x:double,key:bigint,string:string>>")

    def array(values: Sequence[Any], data_type: str) -> Column | None:
        if all(value is None for value in values):
            return None
        null = F.lit(None).cast(data_type)
        return F.array(*[null if value is None else value for value in values])

    names = list(kept or {})
    beside = [column.alias(name) for name, column in (kept or {}).items()]
    alone = [index for index, measure in enumerate(measures) if measure.role != VALUES]
    arrays = [index for index, measure in enumerate(measures) if measure.role == VALUES]
    numbers = zipped(
        F.array(*[measures[index].expression for index in alone]),
        array([measures[index].key for index in alone], "bigint"),
        array([strings[index] for index in alone], "string") if strings else None,
    )
    if arrays:
        # Two steps, so that no row carries more than its own arrays.
        groups = [F.struct(F.lit(-1).alias("array"), numbers.alias("numbers"))]
        for index in arrays:
            measure = measures[index]
            values = zipped(measure.expression, measure.key, None)
            groups.append(F.struct(F.lit(index).alias("array"), values.alias("numbers")))
        grouped = dataset.select(*beside, F.inline(F.array(*groups)))
        rows = grouped.select(*names, "array", F.posexplode("numbers").alias("place", "number"))
        number = F.when(F.col("array") < 0, _order(alone)).otherwise(F.col("array"))
    else:
        rows = dataset.select(*beside, F.posexplode(numbers).alias("place", "number"))
        number = F.col("place")
    x, key = F.col("number.x"), F.col("number.key")
    return rows.select(*names, number.alias("measure"), x.alias("x"), "number.string", key.alias("key")).select(
        *names, "measure", "x", F.coalesce("key", F.xxhash64("x")).alias("key"), "string"
    )


def _order(alone: Sequence[int]) -> Column:
    if list(alone) == list(range(len(alone))):
        return F.col("place")
    return F.get(literals(alone, "int"), F.col("place"))


def by_measure(values: Sequence[float | None], data_type: str) -> Column:
    """The value that belongs to the row's measure; null for None and for numbers that are not finite."""
    return F.get(literals(values, data_type), F.col("measure"))


def literals(values: Sequence[float | None], data_type: str) -> Column:
    """An array of numbers, as one literal: an expression for each would take long with many."""
    # JSON has no other numbers.
    texts = ["null" if value is None or not math.isfinite(value) else repr(value) for value in values]
    return F.from_json(F.lit(f"[{','.join(texts)}]"), f"array<{data_type}>")
