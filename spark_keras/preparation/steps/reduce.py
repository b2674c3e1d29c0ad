"""Rows grouped and reduced, and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.columns.expressions import reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.reductions import ORDERED, Reduction, SqlReduction
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import AddsSteps, Step, each, mapping_field

P = TypeVar("P", bound=AddsSteps)


class ReduceSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def groupBy(self, *keys: str) -> Grouped[Self]:
        """Groups the rows by the values of columns, null being one of them; `agg` follows. Without columns all rows
        are one group.
        """
        return Grouped(self, each("groupBy", keys) if keys else ())

    def rank(
        self,
        output: str,
        orderBy: str | Sequence[str],
        within: str | Sequence[str] = (),
        descending: bool = False,
        method: str = "rank",
    ) -> Self:
        """Adds a column with the place of each row, from 1, when rows are ordered by columns.

        Args:
            orderBy: one column, or several of which later ones order ties of earlier ones. Nulls come first, and last
                where `descending`.
            within: columns of groups that are ranked by themselves. Without them one task orders all rows.
            method: "rank": after two rows in place 1 comes place 3; or "dense": place 2.
        """
        return self.add(Rank(output, several(orderBy), several(within), descending, method))


def several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


class Grouped(Generic[P]):
    """The rows of a process, grouped; waits for `agg`."""

    def __init__(self, process: P, keys: tuple[str, ...]):
        self._process, self._keys = process, keys
        process.schema.require("step groupBy", keys, *ORDERED)

    def agg(self, **outputs: Reduction | SqlReduction) -> P:
        """One row for each group: the columns of the groups, and one for each reduction.

            process.groupBy("customer").agg(
                total=col("amount").sum(), abroad=col("amount").sum(where=col("country") != "USA"), orders=countRows()
            )

        For a name that is no Python name: `agg(**{"total amount": col("amount").sum()})`.
        """
        checked_reductions("agg", outputs)
        settled = [
            (name, made.settled(self._process.schema, "step agg") if isinstance(made, SqlReduction) else made)
            for name, made in outputs.items()
        ]
        return self._process.add(GroupAndReduce(self._keys, tuple(settled)))


def checked_reductions(step: str, outputs: Mapping[str, Any]) -> None:
    wrong = {name: value for name, value in outputs.items() if not isinstance(value, (Reduction, SqlReduction))}
    if wrong or not outputs:
        raise TypeError(
            f"Invalid reductions in step {step}. Received: {wrong}. "
            f'Expected: reductions by the names of their columns, such as {step}(total=col("amount").sum()).'
        )


@registered("groupBy")
class GroupAndReduce(Step):
    each_alone = "outputs"

    keys: tuple[str, ...]
    outputs: tuple[tuple[str, Reduction | SqlReduction], ...] = mapping_field()

    def column_of(self, part: tuple[str, Reduction]) -> str | None:
        return getattr(part[1], "name", None)

    def schema_after(self, schema: Schema) -> Schema:
        keys: list[kinds.Field] = schema.require(self.label, self.keys, *ORDERED)
        made = [reduction.field(schema, self.label, name) for name, reduction in self.outputs]
        Schema(keys).require_new(self.label, [field.name for field in made])
        return Schema([*keys, *made])

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        made = [reduction.column(schema).alias(name) for name, reduction in self.outputs]
        return dataset.groupBy(*map(reference, self.keys)).agg(*made)

    def __str__(self) -> str:
        outputs = ", ".join(f"{name}={reduction}" for name, reduction in self.outputs)
        return f"groupBy({', '.join(map(repr, self.keys))}).agg({outputs})"


_RANKS = {"rank": F.rank, "dense": F.dense_rank}


@registered("rank")
class Rank(Step):
    output: str
    orderBy: tuple[str, ...]
    within: tuple[str, ...] = ()
    descending: bool = False
    method: str = choice(_RANKS, default="rank")

    within_row = False

    def schema_after(self, schema: Schema) -> Schema:
        if not self.orderBy:
            raise ValueError(f"No order in {self.label}. Received: orderBy=(). Expected: one column or more.")
        schema.require(self.label, [*self.orderBy, *self.within], *ORDERED)
        return schema.made(self.label, kinds.LongField(self.output, minimum=1, nullable=False))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        order = [reference(name).desc() if self.descending else reference(name).asc() for name in self.orderBy]
        window = Window.partitionBy(*map(reference, self.within)).orderBy(*order)
        return {self.output: _RANKS[self.method]().over(window)}
