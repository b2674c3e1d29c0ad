"""Columns chosen, named and cast, and numbers computed from numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ELEMENTS
from spark_keras.preparation.records import values
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference, try_cast, written
from spark_keras.preparation.sql_text import number_literal, text_literal
from spark_keras.preparation.step import AddsSteps, RuledStep, Step, choose, each, mapping_field, pairs


class ColumnSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def remove(self, *columns: str) -> Self:
        """Removes columns."""
        return self.add(Remove(each("remove", columns)))

    def keep(self, *columns: str) -> Self:
        """Keeps these columns, in the order they have, and removes all others."""
        return self.add(Keep(each("keep", columns)))

    def rename(self, names: Mapping[str, str]) -> Self:
        """Renames columns: `rename({"old": "new"})`; each stays in its place."""
        return self.add(Rename(pairs("rename", names, '{"old name": "new name"}')))

    def reorder(self, *first: str) -> Self:
        """Puts these columns first, in this order; all others follow in theirs."""
        return self.add(Reorder(each("reorder", first)))

    def duplicate(self, column: str, output: str) -> Self:
        """Adds a copy of a column, right behind it."""
        return self.add(Duplicate(column, output))

    def cast(self, types: Mapping[str, str], invalid: str = "error") -> Self:
        """Changes types: `cast({"amount": "double"})`.

        Args:
            types: "string", "integer", "long", "float", "double" or "boolean" for each column. Fractions are cut off,
                of texts, too, where every digit counts; ranges and patterns of the old type are given up.
            invalid: what happens to a value that cannot be cast (a text that is no number, a number too large): "error"
                (default), or "null".
        """
        return self.add(Cast(pairs("cast", types, '{"column": "type"}'), invalid))

    def arithmetic(self, output: str, operator: str, *operands: str | float) -> Self:
        """Adds a column computed from several: `arithmetic("total", "*", "items", "price")`.

        Args:
            output: the new column, or one of the operands to replace it.
            operator: "+", "-", "*", "/", "%", "min", "max" or "mean". `-`, `/` and `%` take two operands, the others
                two or more. The result of % has the sign of its first operand.
            operands: names of columns, and numbers.

        Whole numbers give a long ("/" and "mean" a double), all others a double. The result is null where an operand is
        null, at a division by zero, and where a long overflows.
        """
        return self.add(Arithmetic(output, operator, tuple(operands)))

    def function(self, output: str, function: str, column: str) -> Self:
        """Adds a column that is a function of another: `function("log_amount", "log1p", "amount")`.

        Args:
            output: the new column, or the old one to replace it.
            function: "abs", "ceil", "floor", "round", "sqrt", "cbrt", "exp", "expm1", "log", "log2", "log10", "log1p",
                "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sign", "radians" or "degrees".

        The result is a double; outside of the function's domain it is null or NaN, as Spark's function has it.
        """
        return self.add(Function(output, function, column))


@dataclasses.dataclass(frozen=True)
class _Choice(Step):
    """A step that leaves the values of columns as they are."""

    each_alone = "columns"
    only_chooses = True

    columns: tuple[str, ...]

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {}


@registered("remove")
class Remove(_Choice):
    def schema_after(self, schema: Schema) -> Schema:
        schema.require(self.label, self.columns)
        return schema.without(self.columns)


@registered("keep")
class Keep(_Choice):
    def schema_after(self, schema: Schema) -> Schema:
        schema.require(self.label, self.columns)
        return schema.without(set(schema.known) - set(self.columns))


@registered("rename")
class Rename(Step):
    each_alone = "names"

    names: tuple[tuple[str, str], ...] = mapping_field()

    def schema_after(self, schema: Schema) -> Schema:
        names = dict(self.names)
        schema.require(self.label, names)
        schema.without(names).require_new(self.label, names.values())
        return Schema([field.named(names.get(field.name, field.name)) for field in schema])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {new: reference(old) for old, new in self.names}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {new: row[old] for old, new in self.names}


@registered("reorder")
class Reorder(_Choice):
    def schema_after(self, schema: Schema) -> Schema:
        return Schema([*schema.require(self.label, self.columns), *schema.without(self.columns)])


@registered("duplicate")
class Duplicate(Step):
    column: str
    output: str

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column])
        schema.require_new(self.label, [self.output])
        return schema.inserted(self.column, [field.named(self.output)])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.output: reference(self.column)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {self.output: row[self.column]}


@registered("cast")
class Cast(RuledStep):
    each_alone = "types"

    types: tuple[tuple[str, str], ...] = mapping_field()
    invalid: str = choice(("error", "null"), "rule `invalid`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        for name, wanted in self.types:
            (field,) = schema.require(self.label, [name])
            choose("cast", f"type of column {name!r}", wanted, ELEMENTS)
            simple = (kinds.NumberField, *kinds.TEXT, kinds.BooleanField)
            decimal = field.description.startswith("decimal")
            day = isinstance(field, kinds.DateField) and wanted == "string"
            if not (isinstance(field, simple) or decimal or day):
                expected = "a number, string, categorical or boolean; deriveTime turns a time into numbers"
                raise kinds.unfit(self.label, field, expected)
        return schema.replaced(
            {name: ELEMENTS[wanted](name, nullable=self.may_be_null(schema[name])) for name, wanted in self.types}
        )

    def results(self, schema: Schema) -> dict[str, Column]:
        return {name: self._cast(schema[name], wanted) for name, wanted in self.types}

    def expected(self, column: str) -> str:
        return f"a value that can be cast to {dict(self.types)[column]}"

    def _cast(self, field: kinds.Field, wanted: str) -> Column:
        target = ELEMENTS[wanted]("").sparkType.simpleString()
        source = reference(field.name)
        if isinstance(field, kinds.TEXT) and wanted in _BITS:
            return written(field.name, lambda text: _whole_number_of_text(text, target))
        if isinstance(field, kinds.FloatingField) and wanted in _BITS:
            # As a double, the largest whole number is one too large, which Spark's cast lets pass.
            limit = number_literal(2.0 ** (_BITS[wanted] - 1))
            return written(field.name, lambda x: f"try_cast(CASE WHEN {x} < {limit} THEN {x} END AS {target})")
        if isinstance(field, kinds.FloatingField) and wanted == "boolean":
            source = F.when(~F.isnan(source), source)
            return source != F.lit(0)
        return try_cast(source, target)

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        made = {}
        for name, wanted in self.types:
            result = None if row[name] is None else values.cast(schema[name], row[name], wanted)
            made[name] = self.value_by_rule(name, row[name], result, self.expected(name))
        return made


_BITS = {"integer": 32, "long": 64}


def _whole_number_of_text(text: str, target: str) -> str:
    """SQL text: a whole number of a text, its fraction cut off. Every digit counts: nothing goes through a double."""
    number = f"trim({text})"
    with_point = f"{number} RLIKE {text_literal(kinds.whole(r'[+-]?([0-9]+[.][0-9]*|[.][0-9]+)'))}"
    whole = f"substring_index({number}, '.', 1)"
    cut = f"CASE WHEN {whole} IN ('', '+', '-') THEN '0' ELSE {whole} END"
    # With an exponent, a number may be whole though it does not look so.
    others = f"coalesce(try_cast({number} AS {target}), try_cast(try_cast({number} AS decimal(38, 18)) AS {target}))"
    return f"CASE WHEN {with_point} THEN try_cast({cut} AS {target}) ELSE {others} END"


def _null_if_any(operands: list[Column], result: Column) -> Column:
    return F.when(kinds.all_of([part.isNotNull() for part in operands]), result)


def _reduced(function: Any) -> Any:
    return functools.partial(functools.reduce, function)


_ARITHMETIC = {
    "+": _reduced(F.try_add),
    "-": _reduced(F.try_subtract),
    "*": _reduced(F.try_multiply),
    "/": _reduced(F.try_divide),
    "%": _reduced(lambda left, right: F.when(right != F.lit(0), left % right)),
    "min": lambda parts: _null_if_any(parts, F.least(*parts)),
    "max": lambda parts: _null_if_any(parts, F.greatest(*parts)),
    "mean": lambda parts: _reduced(F.try_add)(parts) / F.lit(float(len(parts))),
}


@registered("arithmetic")
class Arithmetic(Step):
    output: str
    operator: str = choice(_ARITHMETIC)
    operands: tuple[Any, ...]

    def schema_after(self, schema: Schema) -> Schema:
        several = self.operator not in ("-", "/", "%")
        if len(self.operands) < 2 or not (several or len(self.operands) == 2):
            raise ValueError(
                f"Wrong operands in {self.label}. Received: {list(self.operands)}. "
                f"Expected: two{' or more' if several else ''} columns or numbers for {self.operator!r}."
            )
        names = [part for part in self.operands if not is_number(part)]
        schema.require(self.label, names, kinds.NumberField, expected="a number")
        field = kinds.LongField if self._whole(schema) else kinds.DoubleField
        return schema.made(self.label, field(self.output), *names)

    def _whole(self, schema: Schema) -> bool:
        def whole(part: Any) -> bool:
            return isinstance(part, int) if is_number(part) else schema.field(part, kinds.NumberField).whole

        return self.operator not in ("/", "mean") and all(map(whole, self.operands))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        wire = "bigint" if self._whole(schema) else "double"
        parts = [(F.lit(p) if is_number(p) else reference(p)).cast(wire) for p in self.operands]
        return {self.output: _ARITHMETIC[self.operator](parts)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        parts = [part if is_number(part) else row[part] for part in self.operands]
        return {self.output: values.arithmetic(self.operator, parts, self._whole(schema))}


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole_number(function: Any) -> Any:
    """Of a double; those beyond 2^53 are whole, infinite or NaN, which a long could not hold."""
    return lambda value: F.when(F.abs(value) < F.lit(2.0**53), function(value)).otherwise(value)


# Those that Spark has by the same name.
_EXPONENTIAL = ("abs", "sqrt", "cbrt", "exp", "expm1", "log", "log2", "log10", "log1p")
_CIRCULAR = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "radians", "degrees")

FUNCTIONS: dict[str, Callable[[Column], Column]] = {
    **{name: getattr(F, name) for name in (*_EXPONENTIAL, *_CIRCULAR)},
    "ceil": _whole_number(F.ceil),
    "floor": _whole_number(F.floor),
    "round": F.round,
    "sign": F.signum,
}


@registered("function")
class Function(Step):
    output: str
    function: str = choice(FUNCTIONS)
    column: str

    def schema_after(self, schema: Schema) -> Schema:
        schema.require(self.label, [self.column], kinds.NumberField, expected="a number")
        return schema.made(self.label, kinds.DoubleField(self.output), self.column)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.output: FUNCTIONS[self.function](reference(self.column).cast("double"))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {self.output: values.function(self.function, row[self.column])}
