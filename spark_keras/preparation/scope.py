"""Scope in which the expressions of steps find a column: in the row itself, or in one time step of its sequences."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_keras.columns import expressions

_scope: contextvars.ContextVar[Mapping[str, Column] | None] = contextvars.ContextVar("scope", default=None)


def reference(column: str) -> Column:
    """A column of any name: what `inside` says it is, else the row's."""
    found = (_scope.get() or {}).get(column)
    return expressions.reference(column) if found is None else found


@contextlib.contextmanager
def inside(values: Mapping[str, Column]) -> Iterator[None]:
    """Within it, `reference` gives these values for the columns of these names."""
    before = _scope.set(values)
    try:
        yield
    finally:
        _scope.reset(before)


def written(column: str, text: Callable[[str], str]) -> Column:
    """An expression of a column that is written as SQL text, of what stands for the column in it.

    Steps name columns in SQL text by this alone: what `inside` says of them has no name there.
    """
    value = (_scope.get() or {}).get(column)
    return F.expr(text(expressions.quoted(column))) if value is None else _by_text(value, text)


def _by_text(value: Column, text: Callable[[str], str]) -> Column:
    """Computes SQL text of a value without a name: only a lambda of the text itself can give it one."""
    return F.get(F.call_function("transform", F.array(value), F.expr(f"x -> {text('x')}")), F.lit(0))


def try_cast(value: Column, wanted: str) -> Column:
    """The value in another Spark type; null where it cannot be cast, whatever the session says."""
    # Of the class: a column itself has any attribute, as a field of a struct.
    if hasattr(type(value), "try_cast"):
        return value.try_cast(wanted)
    # Before Spark 4.0 only SQL has it.
    return _by_text(value, lambda x: f"try_cast({x} AS {wanted})")


def let(value: Column, result: Callable[[Column], Column]) -> Column:
    """An expression of a value that is computed once, however often the expression uses it."""
    return F.get(F.transform(F.array(value), result), F.lit(0))


def let_all(values: Mapping[str, Column], result: Callable[[dict[str, Column]], Column]) -> Column:
    """As `let`, of several values by name.

    A column that a lambda reads needs it: Spark may put the expression that makes the column in its place, and would
    compute it for each element.
    """
    names = list(values)
    held = F.struct(*[values[name].alias(f"v{i}") for i, name in enumerate(names)])
    return let(held, lambda struct: result({name: struct.getField(f"v{i}") for i, name in enumerate(names)}))


def refused(*message: str | Column) -> Column:
    """An expression that stops the job with a message of texts and values."""
    parts = [F.lit(part) if isinstance(part, str) else part.cast("string") for part in message]
    return F.raise_error(F.concat(*parts))
