"""Conditions on the columns of a row: checked against a schema, written as JSON, compiled to a Spark expression.

As in SQL a condition on a null is neither true nor false but unknown, and so is its negation; where a step asks
whether a condition holds, unknown counts as no. As in Spark, NaN equals NaN and is larger than any other number.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField, SequenceField
from spark_keras.preparation.clock import literal
from spark_keras.preparation.records.values import as_float, is_valid, order, printed, python_pattern
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.sql_text import fits_float

_FAMILIES: dict[str, tuple[type[kinds.Field], ...]] = {
    "a number": (kinds.NumberField,),
    "a string": kinds.TEXT,
    "a boolean": (kinds.BooleanField,),
    "a time": (kinds.TimeField,),
    "a date": (kinds.DateField,),
}


class Condition:
    """A question that a row fulfils or not; composed with ``&``, ``|``, ``^`` (exactly one of two holds) and ``~``."""

    # Set by `registered`.
    registered_name: ClassVar[str]

    def check(self, schema: Schema, step: str) -> None:
        """Raises a `ValueError` where the condition cannot be asked of rows of this schema."""
        raise NotImplementedError

    def column(self, schema: Schema) -> Column:
        """The condition as a Spark expression: true, false or null."""
        raise NotImplementedError

    def holds(self, schema: Schema) -> Column:
        """True where the condition is known to be true, else false."""
        return F.coalesce(self.column(schema), F.lit(False))

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        """Asks one record: `column` without Spark; None where the answer is unknown."""
        raise NotImplementedError(f"Condition has no form for one record. Received: {self}. Expected: Spark.")

    def written_out(self) -> Condition:
        """The condition as it is saved; that of a boolean column alone compares the column."""
        return self

    def __and__(self, other: Condition) -> Condition:
        return Both(self.written_out(), checked_condition("&", other))

    def __or__(self, other: Condition) -> Condition:
        return Either(self.written_out(), checked_condition("|", other))

    def __xor__(self, other: Condition) -> Condition:
        return OneOfTwo(self.written_out(), checked_condition("^", other))

    def __invert__(self) -> Condition:
        return Not(self.written_out())

    def __bool__(self) -> bool:
        raise TypeError(
            "A condition is asked of rows, not of Python. Expected: `&`, `|` and `~` instead of `and`, `or` and `not`, "
            "(a < b) & (b < c) instead of a < b < c."
        )


def checked_condition(step: str, condition: Any) -> Condition:
    """The condition; a column alone stands for that it is true."""
    if isinstance(condition, Condition):
        return condition.written_out()
    hint = (
        " A Column of pyspark can be neither checked without data nor saved." if isinstance(condition, Column) else ""
    )
    raise TypeError(
        f"Invalid condition in {step}. Received: {condition!r}. "
        f'Expected: a condition such as spark_keras.preparation.col("amount") < 0.{hint}'
    )


@registered("column")
class ColumnName:
    """Another column as the value that one is compared with, or replaced by."""

    name: str

    def __str__(self) -> str:
        return f"col({self.name!r})"


def check_value(step: str, field: kinds.Field, value: Any, schema: Schema) -> None:
    """Raises a `ValueError` where a value, or another column, is not of a field's family."""
    family = next((name for name, types in _FAMILIES.items() if isinstance(field, types)), None)
    if family is None:
        raise kinds.unfit(step, field, "a number, string, categorical, boolean, time or date")
    if isinstance(value, ColumnName):
        schema.require(step, [value.name], *_FAMILIES[family], expected=f"{family}, as column {field.name!r} is")
        return
    if family == "a number":
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif isinstance(field, kinds.TimeField):
        fits = isinstance(value, datetime.datetime) and (value.tzinfo is None) == (field.zone is None)
        family += ": a datetime " + ("without a time zone" if field.zone is None else "with a time zone")
    elif family == "a date":
        fits = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    else:
        fits = isinstance(value, bool if family == "a boolean" else str)
    if fits and isinstance(field, kinds.CategoricalField) and value not in field.states:
        fits, family = False, f"one of the states {list(field.states)}"
    if not fits:
        raise kinds.wrong_value(step, field.name, repr(value), f"{family}, as the column is {field.description}")


def expression(value: Any, field: kinds.Field | None = None) -> Column:
    """A value or another column as a Spark expression that does not depend on the session's time zone.

    Compared with a column of 32-bit floats, 0.1 is 0.1 as such a float.
    """
    if isinstance(value, ColumnName):
        return reference(value.name)
    if isinstance(field, kinds.FloatField) and fits_float(value):
        return F.lit(value).cast("float")
    return literal(value)


OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OF_TWO: dict[str, Callable[[Column, Column], Column]] = {"&": operator.and_, "|": operator.or_, "^": operator.ne}
_ARRAYS = (SequenceField, ArrayField)
_TEXTS = (*kinds.TEXT, kinds.BinaryField)


def value_of(value: Any, row: Mapping[str, Any], field: Any = None) -> Any:
    """A value of a step, or that of another column of one record."""
    if isinstance(value, ColumnName):
        return row[value.name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return as_float(value) if number and isinstance(field, kinds.FloatField) and fits_float(value) else value


def compared(sign: str, left: Any, right: Any) -> bool | None:
    return None if left is None or right is None else OPERATORS[sign](order(left), order(right))


def any_true(answers: list[bool | None]) -> bool | None:
    return True if True in answers else (None if None in answers else False)


@registered("compare")
class Compare(Condition):
    """A column compared with a value or another column."""

    name: str
    operator: str
    value: Any

    def check(self, schema: Schema, step: str) -> None:
        (field,) = schema.require(step, [self.name])
        if self.operator not in OPERATORS:
            raise ValueError(f"Unknown comparison in {step}. Received: {self.operator!r}. Expected: {list(OPERATORS)}.")
        if self.value is None:
            raise ValueError(f"A comparison with None in {step} is never true. Expected: col({self.name!r}).isNull().")
        ordered = self.operator not in ("==", "!=")
        if ordered and isinstance(field, kinds.CategoricalField):
            raise ValueError(
                f"Column {self.name!r} does not fit {step}. Received: `{self.operator}` on {field.description}. "
                "Expected: ==, != or isIn on a categorical column."
            )
        check_value(step, field, self.value, schema)

    def column(self, schema: Schema) -> Column:
        return OPERATORS[self.operator](reference(self.name), expression(self.value, schema[self.name]))

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, ColumnName) else repr(self.value)
        return f"col({self.name!r}) {self.operator} {value}"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        other = value_of(self.value, row, schema[self.name])
        return compared(self.operator, row[self.name], other)


@registered("compareLength")
class CompareLength(Condition):
    """The length of a column's value compared with a whole number, or with one of several by "in"."""

    name: str
    operator: str
    value: Any

    def check(self, schema: Schema, step: str) -> None:
        schema.require(step, [self.name], *_ARRAYS, *_TEXTS, expected="a sequence, array, string or binary")
        known = [*OPERATORS, "in"]
        if self.operator not in known:
            raise ValueError(f"Unknown comparison in {step}. Received: {self.operator!r}. Expected: {known}.")
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if not values or not all(isinstance(n, int) and not isinstance(n, bool) for n in values):
            raise ValueError(
                f"Invalid length of column {self.name!r} in {step}. Received: {self.value!r}. Expected: a whole number."
            )

    def column(self, schema: Schema) -> Column:
        value = reference(self.name)
        # The size of a missing array is -1 in some sessions, null in others.
        size = F.when(value.isNotNull(), F.size(value))
        length = size if isinstance(schema[self.name], _ARRAYS) else F.length(value)
        if self.operator == "in":
            return length.isin(list(self.value))
        return OPERATORS[self.operator](length, F.lit(self.value))

    def __str__(self) -> str:
        if self.operator == "in":
            return f"col({self.name!r}).length().isIn({', '.join(map(str, self.value))})"
        return f"col({self.name!r}).length() {self.operator} {self.value}"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        length = None if row[self.name] is None else len(row[self.name])
        if self.operator == "in":
            return any_true([compared("==", length, value) for value in self.value])
        return compared(self.operator, length, self.value)


@registered("isIn")
class IsIn(Condition):
    """A column's value is one of several."""

    name: str
    values: tuple[Any, ...]

    def check(self, schema: Schema, step: str) -> None:
        (field,) = schema.require(step, [self.name])
        if not self.values:
            raise ValueError(f"isIn without values in {step}. Received: (). Expected: one value or more.")
        for value in self.values:
            check_value(step, field, value, schema)

    def column(self, schema: Schema) -> Column:
        field = schema[self.name]
        return reference(self.name).isin([expression(value, field) for value in self.values])

    def __str__(self) -> str:
        return f"col({self.name!r}).isIn({', '.join(map(repr, self.values))})"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        field = schema[self.name]
        return any_true([compared("==", row[self.name], value_of(value, row, field)) for value in self.values])


@registered("matches")
class Matches(Condition):
    """The whole of a string, or of a number as Spark prints it, matches a regular expression."""

    name: str
    pattern: str

    def __post_init__(self) -> None:
        kinds.checked_pattern(f"col({self.name!r}).matches", self.pattern)

    def check(self, schema: Schema, step: str) -> None:
        schema.require(step, [self.name], *kinds.TEXT, kinds.NumberField)

    def column(self, schema: Schema) -> Column:
        return reference(self.name).cast("string").rlike(kinds.whole(self.pattern))

    def __str__(self) -> str:
        return f"col({self.name!r}).matches({self.pattern!r})"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        value, single = row[self.name], isinstance(schema[self.name], kinds.FloatField)
        return None if value is None else python_pattern(self.pattern).fullmatch(printed(value, single)) is not None


@dataclasses.dataclass(frozen=True)
class _OfOne(Condition):
    name: str

    def check(self, schema: Schema, step: str) -> None:
        schema.require(step, [self.name])

    def __str__(self) -> str:
        return f"col({self.name!r}).{self.registered_name}()"


@registered("isNull")
class IsNull(_OfOne):
    """A column's value is missing."""

    def column(self, schema: Schema) -> Column:
        return reference(self.name).isNull()

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        return row[self.name] is None


@registered("isNaN")
class IsNaN(_OfOne):
    """A column's value is not a number; a missing value is not NaN."""

    def check(self, schema: Schema, step: str) -> None:
        schema.require(step, [self.name], kinds.FloatField, kinds.DoubleField)

    def column(self, schema: Schema) -> Column:
        return F.isnan(reference(self.name))

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        # Of null, Spark's isnan is false.
        return row[self.name] is not None and math.isnan(row[self.name])


@registered("isInfinite")
class IsInfinite(IsNaN):
    """A column's value is plus or minus infinity; NaN is not."""

    def column(self, schema: Schema) -> Column:
        return F.abs(reference(self.name)) == F.lit(math.inf)

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        return None if row[self.name] is None else math.isinf(row[self.name])


@registered("isInvalid")
class IsInvalid(_OfOne):
    """A column's value is there, and is not valid by the schema: out of range, no state, NaN …"""

    def column(self, schema: Schema) -> Column:
        return reference(self.name).isNotNull() & ~schema[self.name].valid()

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        value = row[self.name]
        return value is not None and not is_valid(schema[self.name], value)


@registered("and")
class Both(Condition):
    """Both conditions hold."""

    left: Condition
    right: Condition

    sign: ClassVar[str] = "&"

    def check(self, schema: Schema, step: str) -> None:
        self.left.check(schema, step)
        self.right.check(schema, step)

    def column(self, schema: Schema) -> Column:
        return _OF_TWO[self.sign](self.left.column(schema), self.right.column(schema))

    def __str__(self) -> str:
        return f"({self.left}) {self.sign} ({self.right})"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        left, right = self.left.answer(row, schema), self.right.answer(row, schema)
        return False if False in (left, right) else (None if None in (left, right) else True)


@registered("or")
class Either(Both):
    """At least one of two conditions holds."""

    sign: ClassVar[str] = "|"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        return any_true([self.left.answer(row, schema), self.right.answer(row, schema)])


@registered("xor")
class OneOfTwo(Both):
    """Exactly one of two conditions holds; unknown where one of them is."""

    sign: ClassVar[str] = "^"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        left, right = self.left.answer(row, schema), self.right.answer(row, schema)
        return None if None in (left, right) else left != right


@registered("not")
class Not(Condition):
    """The condition does not hold; unknown stays unknown."""

    condition: Condition

    def check(self, schema: Schema, step: str) -> None:
        self.condition.check(schema, step)

    def column(self, schema: Schema) -> Column:
        return ~self.condition.column(schema)

    def __str__(self) -> str:
        return f"~({self.condition})"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        inner = self.condition.answer(row, schema)
        return None if inner is None else not inner
