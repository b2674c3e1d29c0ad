"""A process over rows that are not exactly those it was made for: without labels, without columns that no step needs,
and with columns that it does not know, which pass through. The rows of a DataFrame, or one record.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_keras.columns.expressions import reference
from spark_keras.preparation.agreement import Agreement, disagreement, no_column
from spark_keras.preparation.array_fields import PassedField
from spark_keras.preparation.names import UnknownColumn, same_name
from spark_keras.preparation.records.values import taken
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import Step


class Run(NamedTuple):
    """The work of a process on one DataFrame.

    Args:
        dataset: the rows in front of the first step.
        steps: each step that has something to do, with its name and the schema in front of it.
        schema: behind the last step.
    """

    dataset: DataFrame
    steps: tuple[tuple[str, Step, Schema], ...]
    schema: Schema

    @staticmethod
    def of(schemas: tuple[Schema, ...], steps: tuple[tuple[str, Step], ...], dataset: DataFrame) -> Run:
        """Settles it before any job; raises a `ValueError` that names everything that does not fit."""
        start = schemas[0]
        agreement = Agreement.of(start, dataset)
        problems = agreement.wrong_types(start)
        run = Present(start, agreement)
        planned = [(name, step, run.schema) for name, step in run.walk(schemas, steps, problems)]
        if problems:
            raise disagreement("the schema that the process starts from", problems, start)
        return Run(agreement.conformed(start, dataset, others=True), tuple(planned), run.schema)

    def apply(self) -> DataFrame:
        """The rows behind the last step."""
        dataset = self.dataset
        for _, step, schema in self.steps:
            dataset = step.apply(dataset, schema)
        ordered = self.schema.known_first
        return dataset if ordered == self.schema.names else dataset.select(*map(reference, ordered))


def _changes(step: Step, schema: Schema) -> set[str]:
    return set(step.expressions(schema))


class Present:
    """The columns that are there in front of a step, and those that are not."""

    def __init__(self, start: Schema, agreement: Agreement, changes: Callable[[Step, Schema], set[str]] = _changes):
        self._changes = changes
        passed = [PassedField(c.name, c.dataType.json(), nullable=c.nullable) for c in agreement.others]
        # Raises an error where one is the same to Spark as another.
        self.schema = Schema([*(field for field in start if field.name in agreement.found), *passed])
        self.labels = {field.name for field in agreement.missing if field.label}
        self.others = {field.name for field in agreement.missing if not field.label}

    def walk(
        self, schemas: Sequence[Schema], steps: Sequence[tuple[str, Step]], problems: list[str]
    ) -> Iterator[tuple[str, Step]]:
        """Each step, by its name, as far as it has something to do; `schema` is that in front of it meanwhile."""
        for (name, step), (before, after) in zip(steps, itertools.pairwise(schemas)):
            left = self._taken(name, step, before, after, problems)
            if left is not None:
                yield name, left
                self.schema = left.schema_after(self.schema)
            gone = {field.name for field in after if field.name not in self.schema}
            self.others &= gone
            # What a step would have made of labels is missing as they are.
            self.labels = gone - self.others

    def _taken(self, name: str, step: Step, full: Schema, full_after: Schema, problems: list[str]) -> Step | None:
        """The step, or what of it is left without the missing columns; adds to the problems where it needs them."""
        while True:
            gone = self.labels | (self.others if step.only_chooses else set())
            narrowed = step.without(gone) if gone else step
            if narrowed is None:
                return None
            try:
                narrowed.schema_after(self.schema)
                return narrowed
            except UnknownColumn as error:
                if error.column in self.others:
                    problems.append(no_column(full[error.column], f", which step {name!r} needs"))
                    self.others.discard(error.column)
                elif error.column in self.labels:
                    if self._left_out(step, full, full_after):
                        return None
                    problems.append(
                        no_column(full[error.column], f", a label, which step {name!r} needs for other columns")
                    )
                    self.labels.discard(error.column)
                else:
                    raise
                # Goes on as if it were there, to find all problems.
                self.schema = Schema([*self.schema, full[error.column]])

    def _left_out(self, step: Step, full: Schema, full_after: Schema) -> bool:
        """Tells whether nothing that is there would change by a step that reads missing labels."""
        if step.filters:
            try:
                step.schema_after(Schema([field for field in full if field.name in self.labels]))
            except UnknownColumn:
                return False
            return True
        if not step.same_rows:
            return False
        known = {field.name for field in self.schema if field.name in full}
        return not self._changes(step, full) & known and all(name in full_after for name in known)


def apply_to_record(schemas: tuple[Schema, ...], steps: tuple[tuple[str, Step], ...], record: Mapping[str, Any]) -> Any:
    """The record behind the last step as a dict, or None where a step removes it."""
    start = schemas[0]
    keys = {field.name: same_name(field.name, record) for field in start}
    missing = tuple(field for field in start if keys[field.name] is None)
    others = [key for key in record if key not in keys.values()]
    unknown = tuple(T.StructField(key, T.NullType()) for key in others)
    found = {name: T.StructField(key, T.NullType()) for name, key in keys.items() if key is not None}
    present = Present(start, Agreement(found, missing, unknown), _changes_of_schema)
    row = {field.name: taken(field, record[key]) for field in start if (key := keys[field.name]) is not None}
    row.update({key: record[key] for key in others})
    problems: list[str] = []
    for _, step in present.walk(schemas, steps, problems):
        if problems:
            break
        made = step.record(row, present.schema)
        if made is None:
            return None
        row = {**row, **made}
    if problems:
        raise ValueError(f"The record does not agree with the process. Received: {'; '.join(problems)}.")
    return {name: row[name] for name in present.schema.known_first}


def _changes_of_schema(step: Step, schema: Schema) -> set[str]:
    """The columns that a step changes, as far as the schemas tell without Spark."""
    before = {field.name: field for field in schema}
    return {field.name for field in step.schema_after(schema) if field is not before.get(field.name)}
