"""Schemas: what columns can be, in every form."""

from __future__ import annotations

import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import types as T

from spark_keras.preparation import Schema


def test_metadata_of_a_column_that_was_cast_are_not_believed():
    structure = Schema().integer("x", maximum=3).toStructType()
    cast = T.StructType([T.StructField("x", T.StringType(), True, structure["x"].metadata)])
    assert Schema.of(cast) == Schema().string("x")


def test_a_comment_that_is_no_zone_is_only_a_comment():
    for comment in ("time in zone Mars", "time in zone ", "time in seconds"):
        structure = T.StructType([T.StructField("x", T.StringType(), True, {"comment": comment})])
        assert Schema.of(structure) == Schema().string("x")


def test_any_spark_type_has_a_place_in_a_schema():
    structure = T.StructType(
        [
            T.StructField("vector", VectorUDT()),
            T.StructField("money", T.DecimalType(10, 2)),
            T.StructField("pair", T.StructType([T.StructField("x", T.LongType())])),
            T.StructField("tiny", T.ByteType()),
        ]
    )
    schema = Schema.of(structure)
    assert [field.kind for field in schema] == ["other", "other", "other", "integer"]
    assert Schema.fromJSON(schema.toJSON()) == schema
    assert schema["vector"].sparkType == VectorUDT()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Schema().string("x", pattern="[a-"), "Invalid pattern in column 'x'. Received: '\\[a-'"),
        (lambda: Schema().integer("x", minimum=3, maximum=1), "Received: minimum=3, maximum=1. Expected: minimum ≤"),
        (lambda: Schema().categorical("x", ["a", "a"]), "Received: \\['a', 'a'\\]. Expected: a list of strings"),
        (lambda: Schema().time("x", zone="Mars/Base"), "Unknown time zone in column 'x'. Received: 'Mars/Base'"),
        (lambda: Schema().string("x").long("x"), "Columns occur twice in a schema. Received: \\['x'\\]"),
        (lambda: Schema().array("x", element="void"), "Received: element='void'"),
        (lambda: Schema().array("x", shape=()), "Expected: an element among"),
        (lambda: Schema.fromJSON("[]"), "No schema in the JSON"),
        (lambda: Schema.fromJSON('{"is": "strnig"}'), "Unknown part in the JSON. Received: 'strnig'"),
        (lambda: Schema.fromJSON('{"is": "string", "nome": 1}'), "Wrong part 'string' in the JSON"),
    ],
)
def test_impossible_columns_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_java_has_patterns_that_python_has_not():
    assert Schema().string("x", pattern=r"\p{Lu}\p{L}*")["x"].pattern == r"\p{Lu}\p{L}*"
