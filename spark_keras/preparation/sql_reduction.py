"""Reductions of one's own, as aggregate expressions of SQL."""

from __future__ import annotations

import dataclasses
import json

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras.preparation.fields import Field
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema


@registered("sqlReduction")
class SqlReduction:
    """One figure of a group, made by `sqlReduction("…")`.

    `type` is Spark's type of the figure as JSON, once Spark's active session has been asked; a saved process knows it.
    """

    expression: str
    type: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str) or not self.expression.strip():
            raise TypeError(
                f"Invalid sqlReduction. Received: {self.expression!r}. "
                'Expected: an aggregate expression of SQL, such as "sum(amount * price)".'
            )

    def settled(self, schema: Schema, step: str) -> SqlReduction:
        """The reduction with its type, from Spark's analysis of no rows; raises a `ValueError` where that fails."""
        # Without the metadata, which would be taken for what the figure is.
        plain = T.StructType([T.StructField(field.name, field.sparkType) for field in schema])
        try:
            empty = SparkSession.builder.getOrCreate().createDataFrame([], plain)
            found = empty.groupBy().agg(F.expr(self.expression).alias("figure")).schema["figure"].dataType
        except (AnalysisException, ParseException) as error:
            raise ValueError(
                f"Invalid sqlReduction in {step}. Received: {self.expression!r}; Spark says: "
                f"{str(error).splitlines()[0]}. Expected: an aggregate expression of SQL over the columns "
                f"{schema.names}."
            ) from error
        return dataclasses.replace(self, type=found.json())

    def field(self, schema: Schema, step: str, output: str) -> Field:
        """The column that comes out."""
        settled = self if self.type is not None else self.settled(schema, step)
        kind = T.StructType.fromJson(
            {"fields": [{"name": output, "type": json.loads(settled.type or "null"), "nullable": True, "metadata": {}}]}
        )
        return Schema.of(kind)[output]

    def column(self, schema: Schema) -> Column:
        return F.expr(self.expression)

    def __str__(self) -> str:
        return f"sqlReduction({self.expression!r})"
