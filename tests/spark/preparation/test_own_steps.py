"""Steps of a user's own."""

from __future__ import annotations

import dataclasses

import pytest
from pyspark.sql import functions as F

from spark_keras.preparation import Schema, Step, TransformProcess, col, reference, registered
from spark_keras.preparation.conditions import Condition
from spark_keras.preparation.fields import DoubleField, NumberField

SCHEMA = Schema().double("amount").integer("n").string("label").labels("label")


@registered("clip, a step of tests")
@dataclasses.dataclass(frozen=True)
class Clip(Step):
    column: str
    low: float
    high: float = 10.0

    def schema_after(self, schema):
        schema.require(self.label, [self.column], NumberField)
        return schema.replaced({self.column: DoubleField(self.column, minimum=self.low, maximum=self.high)})

    def expressions(self, schema):
        value = reference(self.column)
        return {self.column: F.when(value.isNotNull(), F.greatest(F.lit(self.low), F.least(F.lit(self.high), value)))}

    def record(self, row, schema):
        value = row[self.column]
        return {self.column: None if value is None else max(self.low, min(self.high, float(value)))}


@registered("every third, a step of tests")
@dataclasses.dataclass(frozen=True)
class KeepOne(Step):
    condition: Condition

    def schema_after(self, schema):
        self.condition.check(schema, self.label)
        return schema

    def apply(self, dataset, schema):
        return dataset.where(self.condition.holds(schema)).limit(1)


def test_a_step_of_ones_own_is_a_step_like_any_other(spark, tmp_path):
    process = TransformProcess(SCHEMA).add(Clip("amount", 0.0)).named("clipped").add(KeepOne(col("n") > 1))
    assert "1. clipped: clip, a step of tests('amount', 0.0)" in str(process)
    assert process.schema["amount"].maximum == 10.0
    df = spark.createDataFrame([(-1.0, 1, "a"), (99.0, 2, "b")], "amount double, n int, label string")
    process.save(str(tmp_path / "process"))
    copies = [
        process,
        TransformProcess.fromJSON(process.toJSON()),
        TransformProcess.fromYAML(process.toYAML()),
        TransformProcess.load(str(tmp_path / "process")),
    ]
    for copy in copies:
        assert str(copy) == str(process)
        assert copy.transform(df.drop("label").withColumn("id", F.lit(7))).collect() == [(10.0, 2, 7)]
    clipped = TransformProcess(SCHEMA).add(Clip("amount", 0.0))
    rows = [clipped.apply(row.asDict()) for row in df.collect()]
    assert rows == [row.asDict() for row in clipped.transform(df).collect()]
    with pytest.raises(NotImplementedError, match="No form of step every third, a step of tests for one record"):
        process.apply({"amount": 1.0, "n": 1})


def test_a_step_of_ones_own_is_checked_when_it_is_added():
    @dataclasses.dataclass(frozen=True)
    class Nameless(Clip):
        pass

    with pytest.raises(TypeError, match="with a name of its own by the decorator `registered`"):
        TransformProcess(SCHEMA).add(Nameless("amount", 0.0))
    with pytest.raises(ValueError, match="Column 'label' does not fit step clip"):
        TransformProcess(SCHEMA).add(Clip("label", 0.0))
    with pytest.raises(ValueError, match="Name of a part is taken. Received: 'cast' for .*Expected: another one"):
        registered("cast")(Nameless)
    text = TransformProcess(SCHEMA).add(Clip("amount", 0.0)).toJSON().replace("clip, a step of tests", "unknown")
    with pytest.raises(ValueError, match="known once the module that registers it is imported"):
        TransformProcess.fromJSON(text)

    @registered("nothing, a step of tests")
    @dataclasses.dataclass(frozen=True)
    class Nothing(Step):
        def schema_after(self, schema):
            return None

    with pytest.raises(TypeError, match="No schema behind step nothing, a step of tests. Received: None"):
        TransformProcess(SCHEMA).add(Nothing())
