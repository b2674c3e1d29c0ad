"""Joins with another table, whose schema is part of the process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.cluster import session
from spark_keras.columns.expressions import reference
from spark_keras.preparation.fields import all_of
from spark_keras.preparation.names import same_name
from spark_keras.preparation.reductions import ORDERED
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import refused
from spark_keras.preparation.step import AddsSteps, Step, mapping_field


class JoinSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def join(
        self,
        other: Any,
        on: str | Sequence[str] | Mapping[str, str],
        how: str = "inner",
        schema: Schema | None = None,
        validate: str = "m:m",
    ) -> Self:
        """Joins with another table where the keys are equal; a null equals no other, as in SQL.

        Args:
            other: a DataFrame, or the name of a table or view, which is looked up whenever the process runs. The rows
                of a DataFrame are saved together with the process, those of a table are not.
            on: keys that both have, or {"key here": "key there"}. Each is in the result once, by the name that it has
                here.
            how: "inner" (default), "left", "right" or "full".
            schema: of the other table; default that of the DataFrame, or of the table as it is now.
            validate: "m:m" (default), or which side's keys must occur once only, as with pandas.merge: "1:m" those
                here, "m:1" those of the other table, "1:1" both. A key that occurs twice is an error when the rows are
                computed.

        Raises:
            ValueError: where keys are missing or of different types, or another column has the same name on both sides.
        """
        if isinstance(on, Mapping):
            keys = tuple(on.items())
        else:
            keys = tuple((key, key) for key in ([on] if isinstance(on, str) else on))
        if isinstance(other, str):
            known = schema if schema is not None else Schema.of(session.running_or_new().table(other))
            return self.add(Join(Table(other), keys, how, known, validate))
        if not hasattr(other, "sparkSession"):
            raise TypeError(
                f"Invalid table in step join. Received: {other!r}. Expected: a DataFrame, or the name of a table or "
                "view."
            )
        known = schema if schema is not None else Schema.of(other)
        return self.add(Join(Rows(other), keys, how, known, validate))


@registered("table")
class Table:
    """A table or view of the session's catalog."""

    name: str

    def dataset(self, spark: SparkSession) -> DataFrame:
        return spark.table(self.name)

    def __str__(self) -> str:
        return repr(self.name)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a DataFrame; not part of the JSON, but saved with a process."""

    frame: DataFrame

    def dataset(self, spark: SparkSession) -> DataFrame:
        return self.frame

    def __str__(self) -> str:
        return f"DataFrame[{', '.join(self.frame.columns)}]"


@registered("saved rows")
class SavedRows:
    """Stands for rows in the JSON of a saved process: the number of their folder."""

    number: int


@registered("join")
class Join(Step):
    table: Any
    on: tuple[tuple[str, str], ...] = mapping_field()
    how: str = choice(("inner", "left", "right", "full"), default="inner")
    other: Any = None
    validate: str = choice(("1:1", "1:m", "m:1", "m:m"), default="m:m")

    def schema_after(self, schema: Schema) -> Schema:
        if not self.on:
            raise ValueError(f"No keys in {self.label}. Received: on={dict(self.on)}. Expected: one key or more.")
        here = schema.require(self.label, [key for key, _ in self.on], *ORDERED)
        there = self.other.require(f"{self.label}, the other table,", [key for _, key in self.on], *ORDERED)
        for left, right in zip(here, there):
            if left.sparkType != right.sparkType:
                raise ValueError(
                    f"Keys of {self.label} do not fit each other. Received: {left} here, {right} in the other table. "
                    "Expected: the same type; cast one of them."
                )
        values = self.other.without(key for _, key in self.on)
        clash = [field.name for field in values if same_name(field.name, schema.names) is not None]
        if clash:
            raise ValueError(
                f"Columns of {self.label} are on both sides. Received: {clash}. "
                "Expected: keys only; rename or remove the others first."
            )
        no_left, no_right = self.how in ("right", "full"), self.how in ("left", "full")
        # Of a row that is not here, the keys are those of the other table.
        keys = {here: self.other[there].nullable for here, there in self.on}
        fields = [dataclasses.replace(f, nullable=f.nullable or (no_left and keys.get(f.name, True))) for f in schema]
        return Schema([*fields, *(dataclasses.replace(f, nullable=f.nullable or no_right) for f in values)])

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        table = self.table.dataset(dataset.sparkSession)
        other = self.other.conform(table, f"the schema of {self.label}", dropOthers=True)
        renamed = {there: here for here, there in self.on}
        other = other.select(*[reference(name).alias(renamed.get(name, name)) for name in self.other.names])
        keys = [here for here, _ in self.on]
        if self.validate[0] == "1":
            dataset = self._once(dataset, keys, "here")
        if self.validate[2] == "1":
            other = self._once(other, keys, "in the other table")
        joined = dataset.join(other, on=keys, how=self.how)
        return joined.select(*[reference(name) for name in self.schema_after(schema).names])

    def _once(self, dataset: DataFrame, keys: list[str], where: str) -> DataFrame:
        """The rows with a check in their first key, which nothing can optimise away."""
        complete = all_of([reference(key).isNotNull() for key in keys])
        count = F.count(F.lit(1)).over(Window.partitionBy(*map(reference, keys)))
        shown = F.concat_ws(", ", *[reference(key).cast("string") for key in keys])
        received = f"Key of {self.label} occurs more than once {where}. Received: "
        wrong = refused(received, shown, f". Expected: {self.validate!r} as `validate` says.")
        first = F.when(complete & (count > 1), wrong).otherwise(reference(keys[0])).alias(keys[0])
        return dataset.select(*[first if name == keys[0] else reference(name) for name in dataset.columns])

    def __str__(self) -> str:
        on = [here if here == there else f"{here} = {there}" for here, there in self.on]
        check = "" if self.validate == "m:m" else f", validate={self.validate!r}"
        return f"join({self.table}, on={on}, how={self.how!r}{check})"
