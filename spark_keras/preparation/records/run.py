"""A process over one record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import types as T

from spark_keras.preparation.agreement import Agreement
from spark_keras.preparation.names import same_name
from spark_keras.preparation.records.values import taken
from spark_keras.preparation.running import Present
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import Step


def apply(schemas: tuple[Schema, ...], steps: tuple[tuple[str, Step], ...], record: Mapping[str, Any]) -> Any:
    """The record behind the last step as a dict, or None where a step removes it."""
    start = schemas[0]
    keys = {field.name: same_name(field.name, record) for field in start}
    missing = tuple(field for field in start if keys[field.name] is None)
    others = [key for key in record if key not in keys.values()]
    unknown = tuple(T.StructField(key, T.NullType()) for key in others)
    found = {name: T.StructField(key, T.NullType()) for name, key in keys.items() if key is not None}
    present = Present(start, Agreement(found, missing, unknown), _changes)
    row = {field.name: taken(field, record[key]) for field in start if (key := keys[field.name]) is not None}
    row.update({key: record[key] for key in others})
    problems: list[str] = []
    for number, (name, step) in enumerate(steps):
        before, after = schemas[number : number + 2]
        to_take = present.step_to_take(name, step, before, after, problems)
        if problems:
            raise ValueError(f"The record does not agree with the process. Received: {'; '.join(problems)}.")
        if to_take is not None:
            made = to_take.record(row, present.schema)
            if made is None:
                return None
            row = {**row, **made}
        present.advance(to_take, after)
        row = {field.name: row[field.name] for field in present.schema}
    known = present.schema.known
    return {name: row[name] for name in [*known, *(n for n in row if n not in known)]}


def _changes(step: Step, schema: Schema) -> set[str]:
    """The columns that a step changes, as far as the schemas tell without Spark."""
    before = {field.name: field for field in schema}
    return {field.name for field in step.schema_after(schema) if field is not before.get(field.name)}
