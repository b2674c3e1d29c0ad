"""Steps on one record: columns, rows, missing values, strings, categories, normalisers."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.records import numbers
from spark_keras.preparation.records.conditions import answer, value_of
from spark_keras.preparation.records.values import (
    as_float,
    is_missing,
    is_valid,
    printed,
    python_pattern,
    taken,
    unusable,
)
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import Step
from spark_keras.preparation.steps import categories, columns, constants, missing, normalise, rows, strings

Row = Mapping[str, Any]


@functools.singledispatch
def changed(step: Step, row: Row, schema: Schema) -> Mapping[str, Any] | None:
    """New values of columns by name, as `Step.expressions` gives them; None where the step removes the record."""
    return step.record(row, schema)


def by_rule(rule: str, step: Step, column: str, source: Any, result: Any, expected: str) -> Any:
    """The result; where it is None though the source is not, None or an error."""
    if result is None and source is not None and rule == "error":
        raise unusable(step.label, column, source, expected)
    return result


# --- columns ---------------------------------------------------------------------------------------------------------


@changed.register(columns.Remove)
@changed.register(columns.Keep)
@changed.register(columns.Reorder)
def _(_step: Step, _row: Row, _schema: Schema) -> Row:
    return {}


@changed.register
def _(step: columns.Rename, row: Row, _schema: Schema) -> Row:
    return {new: row[old] for old, new in step.names}


@changed.register
def _(step: columns.Duplicate, row: Row, _schema: Schema) -> Row:
    return {step.output: row[step.column]}


@changed.register
def _(step: constants.Constant, _row: Row, schema: Schema) -> Row:
    return {step.output: taken(step.schema_after(schema)[step.output], step.value)}


@changed.register
def _(step: columns.Cast, row: Row, schema: Schema) -> Row:
    made = {}
    for name, wanted in step.types:
        result = None if row[name] is None else numbers.cast(schema[name], row[name], wanted)
        made[name] = by_rule(step.invalid, step, name, row[name], result, f"a value that can be cast to {wanted}")
    return made


@changed.register
def _(step: columns.Arithmetic, row: Row, schema: Schema) -> Row:
    parts = [part if isinstance(part, (int, float)) else row[part] for part in step.operands]
    whole = isinstance(step.schema_after(schema)[step.output], kinds.LongField)
    return {step.output: numbers.arithmetic(step.operator, parts, whole)}


@changed.register
def _(step: columns.Function, row: Row, _schema: Schema) -> Row:
    return {step.output: numbers.function(step.function, row[step.column])}


# --- rows and values -------------------------------------------------------------------------------------------------


@changed.register
def _(step: rows.KeepWhere, row: Row, schema: Schema) -> Row | None:
    return {} if answer(step.condition, row, schema) else None


@changed.register
def _(step: rows.RemoveWhere, row: Row, schema: Schema) -> Row | None:
    return None if answer(step.condition, row, schema) else {}


@changed.register
def _(step: rows.RemoveMissing, row: Row, schema: Schema) -> Row | None:
    return None if any(is_missing(row[name]) for name in step.columns or schema.known) else {}


@changed.register
def _(step: rows.RemoveInvalid, row: Row, schema: Schema) -> Row | None:
    def fine(field: kinds.Field) -> bool:
        return field.nullable if row[field.name] is None else is_valid(field, row[field.name])

    return {} if all(fine(schema[name]) for name in step.columns or schema.known) else None


def _stored(field: kinds.Field, value: Any) -> Any:
    """A value in the type of a column."""
    if value is None or not isinstance(field, kinds.FloatingField):
        return value
    return as_float(value) if isinstance(field, kinds.FloatField) else float(value)


@changed.register
def _(step: rows.ReplaceWhere, row: Row, schema: Schema) -> Row:
    holds = answer(step.condition, row, schema)
    return {step.column: _stored(schema[step.column], value_of(step.value, row)) if holds else row[step.column]}


@changed.register
def _(step: rows.ReplaceByCondition, row: Row, schema: Schema) -> Row:
    value = step.value if answer(step.condition, row, schema) else step.otherwise
    return {step.column: _stored(schema[step.column], value_of(value, row))}


@changed.register
def _(step: missing.ReplaceMissing, row: Row, schema: Schema) -> Row:
    return {
        name: _stored(schema[name], value_of(value, row)) if is_missing(row[name]) else row[name]
        for name, value in step.values
    }


@changed.register
def _(step: normalise.Normalise, row: Row, _schema: Schema) -> Row:
    return {n.column: numbers.normalised(n, row[n.column]) for n in step.normalisers}


# --- strings ---------------------------------------------------------------------------------------------------------


@changed.register
def _(step: strings.MapStrings, row: Row, _schema: Schema) -> Row:
    others = None if step.others == "null" else row[step.column]
    return {step.column: dict(step.values).get(row[step.column], others)}


@changed.register
def _(step: strings.ReplaceStrings, row: Row, _schema: Schema) -> Row:
    value = row[step.column]
    for pattern, replacement in step.patterns if value is not None else ():
        value = python_pattern(pattern).sub(functools.partial(_expanded, replacement), value)
    return {step.column: value}


def _expanded(replacement: str, found: re.Match[str]) -> str:
    """A replacement with `$1` and the like filled in, and what follows a backslash as it is."""

    def part(piece: re.Match[str]) -> str:
        return piece[1] if piece[1] is not None else found[int(piece[2])] or ""

    return re.sub(r"\\(.)|\$(\d)", part, replacement, flags=re.DOTALL)


@changed.register
def _(step: strings.AppendString, row: Row, _schema: Schema) -> Row:
    value = row[step.column]
    return {step.column: None if value is None else value + step.suffix}


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:].lower() for word in text.split(" "))


_CASES = {"upper": str.upper, "lower": str.lower, "title": _title}


@changed.register
def _(step: strings.ChangeCase, row: Row, _schema: Schema) -> Row:
    return {name: None if row[name] is None else _CASES[step.case](row[name]) for name in step.columns}


@changed.register
def _(step: strings.TrimStrings, row: Row, _schema: Schema) -> Row:
    return {name: None if row[name] is None else row[name].strip(" \t\n\x0b\f\r") for name in step.columns}


@changed.register
def _(step: strings.Concat, row: Row, _schema: Schema) -> Row:
    parts = [row[name] for name in step.columns]
    return {step.output: None if None in parts else step.separator.join(parts)}


# --- categories ------------------------------------------------------------------------------------------------------


def _state(step: Any, column: str, value: Any, states: tuple[str, ...]) -> Any:
    """The value, if it is a state; else by the step's rule, which may be to keep what is unseen."""
    known = value if value in states else None
    return by_rule(step.unseen, step, column, value, known, f"one of the states {list(states)}")


@changed.register
def _(step: categories.ToCategorical, row: Row, _schema: Schema) -> Row:
    return {step.column: _state(step, step.column, row[step.column], step.states)}


@changed.register
def _(step: categories.CategoricalToInteger, row: Row, schema: Schema) -> Row:
    made = {}
    for name in step.columns:
        states, value = schema.field(name, kinds.CategoricalField).states, row[name]
        state = _state(step, name, value, states)
        unseen = len(states) if step.unseen == "keep" and value is not None else None
        made[name] = unseen if state is None else states.index(state)
    return made


@changed.register
def _(step: categories.CategoricalToOneHot, row: Row, schema: Schema) -> Row:
    made: dict[str, Any] = {}
    for name in step.columns:
        states, value = schema.field(name, kinds.CategoricalField).states, row[name]
        state = _state(step, name, value, states)
        known = state is not None or (step.unseen == "keep" and value is not None)
        if step.asArray:
            made[name] = [float(other == state) for other in states] if known else None
        else:
            ones = [int(other == state) if known else None for other in states]
            made.update(zip(categories.one_hot_names(name, states), ones))
    return made


@changed.register
def _(step: categories.IntegerToCategorical, row: Row, _schema: Schema) -> Row:
    value = row[step.column]
    state = step.states[value] if value is not None and 0 <= value < len(step.states) else None
    return {step.column: by_rule(step.unseen, step, step.column, value, state, f"0 to {len(step.states) - 1}")}


@changed.register
def _(step: categories.OneHotToCategorical, row: Row, schema: Schema) -> Row:
    if step.column in schema:
        ones = row[step.column]
    else:
        ones = [row[name] for name in categories.one_hot_names(step.column, step.states)]
        ones = None if None in ones else ones
    right = ones is not None and len(ones) == len(step.states) and [one for one in ones if one != 0] == [1]
    state = step.states[list(ones).index(1)] if right else None
    expected = f"1 for one of the states {list(step.states)} and 0 for all others"
    return {step.column: by_rule(step.unseen, step, step.column, ones, state, expected)}


@changed.register
def _(step: categories.Pivot, row: Row, schema: Schema) -> Row:
    states = schema.field(step.key, kinds.CategoricalField).states
    key = _state(step, step.key, row[step.key], states)
    default = _stored(schema[step.value], step.default)
    return {
        name: row[step.value] if state == key else default
        for name, state in zip(categories.one_hot_names(step.key, states), states)
    }


@changed.register
def _(step: categories.FirstDigit, row: Row, schema: Schema) -> Row:
    value, field, digit = row[step.column], schema[step.column], None
    if isinstance(value, str):
        digit = value[0] if value[:1] in tuple("0123456789") else None
    elif value == 0:
        digit = "0"
    elif value is not None:
        found = re.search("[1-9]", printed(value, isinstance(field, kinds.FloatField)))
        digit = found[0] if found else None
    if step.invalid == "other":
        return {step.output: "other" if digit is None and value is not None else digit}
    return {step.output: by_rule(step.invalid, step, step.column, value, digit, "a value that has a first digit")}
