"""A process over rows that are not exactly those it was made for: without labels, without columns that no step needs,
and with columns that it does not know, which pass through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pyspark.sql import DataFrame

from spark_keras.columns.expressions import reference
from spark_keras.preparation.agreement import Agreement, disagreement, no_column
from spark_keras.preparation.array_fields import PassedField
from spark_keras.preparation.names import UnknownColumn
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
        planned = []
        for number, (name, step) in enumerate(steps):
            taken = run.step_to_take(name, step, schemas[number], schemas[number + 1], problems)
            if taken is not None:
                planned.append((name, taken, run.schema))
            run.advance(taken, schemas[number + 1])
        if problems:
            raise disagreement("the schema that the process starts from", problems, start)
        return Run(agreement.conformed(start, dataset, others=True), tuple(planned), run.schema)

    def apply(self) -> DataFrame:
        """The rows behind the last step."""
        dataset = self.dataset
        for _, step, schema in self.steps:
            dataset = step.apply(dataset, schema)
        known = self.schema.known
        passed = [name for name in self.schema.names if name not in known]
        ordered = [*known, *passed]
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

    def step_to_take(self, name: str, step: Step, full: Schema, full_after: Schema, problems: list[str]) -> Step | None:
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

    def advance(self, taken: Step | None, full_after: Schema) -> None:
        """Goes behind the step."""
        if taken is not None:
            self.schema = taken.schema_after(self.schema)
        gone = {field.name for field in full_after if field.name not in self.schema}
        self.others &= gone
        # What a step would have made of labels is missing as they are.
        self.labels = gone - self.others
