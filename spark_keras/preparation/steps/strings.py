"""Strings changed; a null stays null."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.records.values import python_pattern
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, Step, each, mapping_field, pairs


class StringSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def mapStrings(self, column: str, values: Mapping[str, str], others: str = "keep") -> Self:
        """Replaces whole strings: `mapStrings("country", {"US": "USA", "Canada": "CAN"})`.

        Args:
            others: what becomes of a string that is not in `values`: "keep" (default), or "null".
        """
        return self.add(MapStrings(column, pairs("mapStrings", values, '{"old": "new"}'), others))

    def replaceStrings(self, column: str, patterns: Mapping[str, str]) -> Self:
        r"""Replaces each part that matches a regular expression, one pattern after the other.

        Groups of the pattern are `$1`, `$2` … in its replacement; a dollar sign or a backslash itself is `\$` or `\\`.
        """
        return self.add(ReplaceStrings(column, pairs("replaceStrings", patterns, '{"pattern": "replacement"}')))

    def appendString(self, column: str, suffix: str) -> Self:
        """Puts a text behind each string."""
        return self.add(AppendString(column, suffix))

    def changeCase(self, *columns: str, case: str) -> Self:
        """Changes strings to "upper", "lower" or "title" case."""
        return self.add(ChangeCase(each("changeCase", columns), case))

    def trimStrings(self, *columns: str) -> Self:
        """Removes white space at the start and the end of strings."""
        return self.add(TrimStrings(each("trimStrings", columns)))

    def concat(self, output: str, *columns: str, separator: str = "") -> Self:
        """Adds a column with the strings of several, one behind the other; null where one of them is null."""
        return self.add(Concat(output, each("concat", columns), separator))


class _TextStep(Step):
    """A step that changes strings so that what was known of them holds no longer."""

    def _texts(self, schema: Schema, names: Any, nullable: bool = False) -> Schema:
        found = schema.require(self.label, names, *kinds.TEXT)
        return schema.replaced({f.name: kinds.StringField(f.name, nullable=f.nullable or nullable) for f in found})


@registered("mapStrings")
class MapStrings(_TextStep):
    column: str
    values: tuple[tuple[str, str], ...] = mapping_field()
    others: str = choice(("keep", "null"), "rule `others`", default="keep")

    def schema_after(self, schema: Schema) -> Schema:
        if not all(isinstance(new, str) for _, new in self.values):
            raise TypeError(f"Invalid values in {self.label}. Received: {dict(self.values)!r}. Expected: strings.")
        return self._texts(schema, [self.column], self.others == "null")

    def expressions(self, schema: Schema) -> dict[str, Column]:
        source = reference(self.column)
        mapped = F.try_element_at(F.create_map(*[F.lit(part) for pair in self.values for part in pair]), source)
        return {self.column: mapped if self.others == "null" else F.coalesce(mapped, source)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        others = None if self.others == "null" else row[self.column]
        return {self.column: dict(self.values).get(row[self.column], others)}


def _expanded(replacement: str, found: re.Match[str]) -> str:
    """A replacement with `$1` and the like filled in, and what follows a backslash as it is."""

    def part(piece: re.Match[str]) -> str:
        return piece[1] if piece[1] is not None else found[int(piece[2])] or ""

    return re.sub(r"\\(.)|\$(\d)", part, replacement, flags=re.DOTALL)


@registered("replaceStrings")
class ReplaceStrings(_TextStep):
    column: str
    patterns: tuple[tuple[str, str], ...] = mapping_field()

    def schema_after(self, schema: Schema) -> Schema:
        for pattern, replacement in self.patterns:
            kinds.checked_pattern(self.label, pattern)
            if not isinstance(replacement, str):
                raise TypeError(f"Invalid replacement in {self.label}. Received: {replacement!r}. Expected: a string.")
        return self._texts(schema, [self.column])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        value = reference(self.column)
        for pattern, replacement in self.patterns:
            value = F.regexp_replace(value, F.lit(pattern), F.lit(replacement))
        return {self.column: value}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value = row[self.column]
        for pattern, replacement in self.patterns if value is not None else ():
            value = python_pattern(pattern).sub(functools.partial(_expanded, replacement), value)
        return {self.column: value}


@registered("appendString")
class AppendString(_TextStep):
    column: str
    suffix: str

    def schema_after(self, schema: Schema) -> Schema:
        if not isinstance(self.suffix, str):
            raise TypeError(f"Invalid suffix in {self.label}. Received: {self.suffix!r}. Expected: a string.")
        return self._texts(schema, [self.column])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.column: F.concat(reference(self.column), F.lit(self.suffix))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value = row[self.column]
        return {self.column: None if value is None else value + self.suffix}


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:].lower() for word in text.split(" "))


# Of a column, and of a string.
_CASES: dict[str, tuple[Callable[[Column], Column], Callable[[str], str]]] = {
    "upper": (F.upper, str.upper),
    "lower": (F.lower, str.lower),
    "title": (F.initcap, _title),
}


@registered("changeCase")
class ChangeCase(_TextStep):
    each_alone = "columns"

    columns: tuple[str, ...]
    case: str = choice(_CASES)

    def schema_after(self, schema: Schema) -> Schema:
        return self._texts(schema, self.columns)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        change, _ = _CASES[self.case]
        return {name: change(reference(name)) for name in self.columns}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        _, change = _CASES[self.case]
        return {name: None if row[name] is None else change(row[name]) for name in self.columns}


@registered("trimStrings")
class TrimStrings(_TextStep):
    each_alone = "columns"

    columns: tuple[str, ...]

    def schema_after(self, schema: Schema) -> Schema:
        return self._texts(schema, self.columns)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {name: F.regexp_replace(reference(name), r"\A\s+|\s+\z", "") for name in self.columns}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {name: None if row[name] is None else row[name].strip(" \t\n\x0b\f\r") for name in self.columns}


@registered("concat")
class Concat(Step):
    output: str
    columns: tuple[str, ...]
    separator: str = ""

    def schema_after(self, schema: Schema) -> Schema:
        found = schema.require(self.label, self.columns, *kinds.TEXT)
        return schema.made(self.label, kinds.StringField(self.output, nullable=any(f.nullable for f in found)))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        parts: list[Column] = []
        for name in self.columns:
            parts += [F.lit(self.separator), reference(name)]
        return {self.output: F.concat(*parts[1:])}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        parts = [row[name] for name in self.columns]
        return {self.output: None if None in parts else self.separator.join(parts)}
