"""Names of columns, as Spark resolves them: in any case, inside backticks, and of fields inside structs."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql.types import StructField

from spark_keras.similar_names import unknown


class Field(NamedTuple):
    """Meaning of a name in a DataFrame.

    Args:
        sql: the name as SQL takes it.
        data_type: Spark's.
        metadata: of the column or field.
    """

    sql: str
    data_type: Any
    metadata: dict[str, Any]


def quoted(column: str) -> str:
    """A column's name as SQL takes it, whatever dots and backticks are part of it."""
    return "`" + column.replace("`", "``") + "`"


def field(dataset: DataFrame, param: str, name: str) -> Field:
    """The column or nested field that a Param names.

    A column whose whole name this is goes first, dots included. Else the name is taken apart at its dots, outside of
    backticks, as `pyspark.sql.functions.col` does.

    Raises:
        ValueError: for a name that is unknown or means several columns.
    """
    found = _same(dataset, name)
    if len(found) == 1:
        return Field(quoted(found[0].name), found[0].dataType, found[0].metadata)
    if len(found) > 1:
        raise _ambiguous(param, name, [each.name for each in found])
    return _resolved_by_spark(dataset, param, name)


def check_new(dataset: DataFrame, columns: Iterable[tuple[str, str]]) -> None:
    """Refuses new columns that are already there, or that Spark could not tell from each other.

    Args:
        columns: (Param, name).
    """
    named: dict[str, tuple[str, str]] = {}
    for param, name in columns:
        present = _same(dataset, name)
        if present:
            raise ValueError(
                f"Output column of Param `{param}` is already present. Received: {name!r}"
                f"{'' if present[0].name == name else f', beside {present[0].name!r}'}. "
                f"Expected: a name that is not among {list(dataset.columns)}; drop the old column, choose another "
                f'name, or set {param}="" to leave this output out.'
            )
        key = name if _case_sensitive(dataset) else name.lower()
        if key in named:
            other_param, other = named[key]
            raise ValueError(
                f"Two outputs have one column. Received: {name!r} in Param `{param}` and {other!r} in Param "
                f"`{other_param}`. Expected: names that Spark tells from each other."
            )
        named[key] = param, name


# Thousands of names are looked up in one DataFrame.
_indices: weakref.WeakKeyDictionary[Any, dict[str, list[Any]]] = weakref.WeakKeyDictionary()
_indices_lock = threading.Lock()


def _same(dataset: DataFrame, name: str) -> list[StructField]:
    """The columns that Spark takes for this whole name."""
    with _indices_lock:
        index = _indices.get(dataset)
        if index is None:
            index = {}
            for each in dataset.schema.fields:
                index.setdefault(each.name.lower(), []).append(each)
            _indices[dataset] = index
    found = index.get(name.lower(), [])
    if all(each.name == name for each in found):
        return found
    return [each for each in found if each.name == name] if _case_sensitive(dataset) else found


def _case_sensitive(dataset: DataFrame) -> bool:
    return str(dataset.sparkSession.conf.get("spark.sql.caseSensitive", "false")).lower() == "true"


def _resolved_by_spark(dataset: DataFrame, param: str, name: str) -> Field:
    parts = _parts(name)
    if parts is not None and (len(parts) > 1 or parts != [name]):
        sql = ".".join(map(quoted, parts))
        try:
            found = dataset.selectExpr(sql).schema.fields
        except AnalysisException as error:
            if "AMBIGUOUS" in str(error).upper():
                raise _ambiguous(param, name, dataset.columns) from error
        else:
            return Field(sql, found[0].dataType, found[0].metadata)
    raise unknown_column(param, name, _with_fields(dataset))


def unknown_column(param: str, name: str, names: Iterable[str]) -> ValueError:
    """An error that lists the columns there are, and asks for one with a similar name."""
    return ValueError(unknown(f"Unknown column in Param `{param}`", name, names, "one of the DataFrame's columns"))


# A part of a name: inside backticks, where two of them stand for one, or up to the next dot.
_PART = r"(?:`(?:[^`]|``)+`|[^`.][^.]*)"


def _parts(name: str) -> list[str] | None:
    """A name's parts, between dots that are outside of backticks; None where Spark does not read it so."""
    if not re.fullmatch(rf"{_PART}(?:\.{_PART})*", name):
        return None
    found = re.findall(_PART, name)
    return [part[1:-1].replace("``", "`") if part.startswith("`") else part for part in found]


def _with_fields(dataset: DataFrame) -> list[str]:
    """The DataFrame's columns, and what structs have in them."""
    names = []
    for each in dataset.schema.fields:
        names.append(each.name)
        names += [f"{each.name}.{inner}" for inner in getattr(each.dataType, "names", None) or ()]
    return names


def _ambiguous(param: str, name: str, columns: Iterable[str]) -> ValueError:
    return ValueError(
        f"Ambiguous column in Param `{param}`. Received: {name!r}, which may be any of {list(columns)}. "
        "Expected: a name of one column; rename or drop the others (Spark tells names by their case only where "
        "spark.sql.caseSensitive is true)."
    )
