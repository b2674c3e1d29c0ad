"""Schemas and data quality: what columns can be, in every form; valid, invalid and missing values counted."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from spark_keras.preparation import DataQuality, Schema

EVERYTHING = (
    Schema()
    .string("name", minLength=1, maxLength=3, pattern="[a-z]+")
    .integer("small", minimum=0, maximum=9)
    .long("large", minimum=-1)
    .float("single", maximum=1.5)
    .double("measure", minimum=0, maximum=10, allowNaN=True)
    .double("open", allowInfinite=True, nullable=False)
    .boolean("flag")
    .categorical("country", ["USA", "CAN"])
    .time("at", zone="America/New_York")
    .time("wall", zone=None)
    .date("day")
    .binary("bytes", maxLength=2)
    .array("point", shape=(2,))
    .array("words", element="string", shape=(None, 2))
)


def test_every_kind_of_column_survives_json_and_spark_types():
    assert Schema.fromJSON(EVERYTHING.toJSON()) == EVERYTHING
    assert Schema.of(EVERYTHING.toStructType()) == EVERYTHING
    assert hash(EVERYTHING) == hash(Schema.fromJSON(EVERYTHING.toJSON()))


def test_ddl_has_the_types_and_spark_reads_it(spark):
    ddl = EVERYTHING.toDDL()
    assert "`open` double NOT NULL" in ddl and "`words` array<array<string>>" in ddl
    back = Schema.fromDDL(ddl, zone="America/New_York")
    assert back.names == EVERYTHING.names
    assert [field.sparkType for field in back] == [field.sparkType for field in EVERYTHING]
    # Texts without a zone would be taken to be times of the session's.
    assert "`at` string COMMENT 'time in zone America/New_York'" in ddl and "`wall` timestamp_ntz" in ddl
    assert back["open"].nullable is False
    assert Schema.fromDDL("`a.b` int") == Schema().integer("a.b")


def test_print_shows_every_column_and_what_is_valid():
    assert str(EVERYTHING).splitlines() == [
        "Schema of 14 columns",
        "  name     string length 1…3 /[a-z]+/",
        "  small    integer 0…9",
        "  large    long ≥ -1",
        "  single   float ≤ 1.5",
        "  measure  double 0…10 or NaN",
        "  open     double or infinity not null",
        "  flag     boolean",
        "  country  categorical {USA, CAN}",
        "  at       time America/New_York",
        "  wall     time without zone",
        "  day      date",
        "  bytes    binary length ≤ 2",
        "  point    array of double (2)",
        "  words    array of string (?, 2)",
    ]


def test_unknown_column_names_a_similar_one():
    with pytest.raises(KeyError, match="Did you mean 'country'"):
        EVERYTHING["contry"]


def test_categories_come_from_data(spark):
    df = spark.createDataFrame([("b", 1), (None, 2), ("a", 3), ("b", 4)], "kind string, n long")
    assert Schema.of(df, categorical=["kind"]) == Schema().categorical("kind", ["a", "b"]).long("n")


def test_narrow_numbers_are_widened_and_all_disagreements_are_named(spark):
    df = spark.createDataFrame([(1, 2, 0.5)], "a short, b int, c float")
    schema = Schema().double("c").integer("a").long("b")
    conformed = schema.conform(df)
    assert conformed.schema.simpleString() == "struct<c:double,a:int,b:bigint>"
    assert conformed.first() == (0.5, 1, 2)
    with pytest.raises(ValueError) as error:
        Schema().integer("b").integer("c").string("d").conform(df)
    for part in ("no column 'd' (string)", "column 'c' is float, not int", "column 'a' (smallint) is not in it"):
        assert part in str(error.value)


ROWS = [
    # name, small, measure, country, point, text
    ("ab", 3, 1.0, "USA", [1.0, 2.0], "1.5"),
    ("ABC", 9, math.nan, "CAN", [1.0, math.nan], "NaN"),
    ("abcd", 10, 10.0, "MX", [1.0], "ten"),
    ("", -1, math.inf, None, None, None),
    (None, None, None, "USA", [0.0, None], "-2"),
    ("a\n", 0, -0.0, "usa", [0.0, 0.0], "99"),
]
EXPECTED = {
    # valid, invalid, missing, examples
    "name": (1, 4, 1, ("", "ABC", "a\n", "abcd")),
    "small": (3, 2, 1, ("-1", "10")),
    "measure": (4, 1, 1, ("Infinity",)),
    "country": (3, 2, 1, ("MX", "usa")),
    "point": (2, 3, 1, ("[0.0, NULL]", "[1.0, NaN]", "[1.0]")),
    "text": (1, 4, 1, ("-2", "99", "NaN", "ten")),
}


@pytest.mark.oldest
def test_quality_counts_valid_invalid_and_missing_values(spark):
    df = spark.createDataFrame(
        ROWS, "name string, small int, measure double, country string, point array<double>, text string"
    )
    schema = Schema(EVERYTHING[name] for name in ("name", "small", "measure", "country", "point"))
    schema = schema.double("text", minimum=0, maximum=10)
    quality = DataQuality.of(df.repartition(9), schema)
    found = {
        c.name: (c.valid, c.invalid, c.missing, tuple(e.replace("null", "NULL") for e in c.examples))
        for c in quality.columns
    }
    assert found == EXPECTED
    assert not quality.ok
    table = quality.toPandas().set_index("name")
    assert np.array_equal(table[["valid", "invalid", "missing"]].sum(axis=1), [6] * 6)
    assert json.loads(quality.toJSON())[1]["examples"] == ["-1", "10"]
    assert "country  categorical {USA, CAN}" in str(quality)


def test_quality_takes_two_passes_however_many_columns_are_invalid(spark):
    seen = spark.sparkContext.accumulator(0)

    def watched(batches):
        for batch in batches:
            seen.add(len(batch))
            yield batch

    names = [f"c{i}" for i in range(40)]
    source = spark.range(30, numPartitions=2).mapInPandas(watched, "id long")
    quality = DataQuality.of(source.selectExpr(*[f"id AS {name}" for name in names]), Schema().long(*names, maximum=4))
    assert seen.value == 2 * 30
    # As strings, in their order.
    assert {(c.valid, c.invalid, c.examples) for c in quality.columns} == {(5, 25, ("10", "11", "12", "13", "14"))}


def test_missing_values_are_fine_only_where_a_column_may_lack_them(spark):
    df = spark.createDataFrame([(None,), (1.0,)], "x double")
    assert DataQuality.of(df, Schema().double("x")).ok
    assert not DataQuality.of(df, Schema().double("x", nullable=False)).ok
    empty = DataQuality.of(df.where("x > 9"), Schema().double("x", nullable=False))
    assert empty.ok and empty["x"].valid == 0


def test_quality_of_other_columns_is_refused(spark):
    df = spark.createDataFrame([(True,)], "x boolean")
    with pytest.raises(
        ValueError, match="column 'x' is boolean, not int; no column 'y'|no column 'y'.*column 'x' is boolean"
    ):
        DataQuality.of(df, Schema().integer("x").long("y"))


def test_limits_of_floats_are_floats(spark):
    df = spark.createDataFrame([(0.1, 0.1), (0.7, 0.7), (None, None)], "f float, g double")
    found = DataQuality.of(df, Schema().float("f", minimum=0.1, maximum=0.7).double("g", minimum=0.1, maximum=0.7))
    assert [(c.valid, c.invalid) for c in found.columns] == [(2, 0), (2, 0)]
    assert DataQuality.of(df.select("f"), Schema().float("f", maximum=0.7 - 1e-7))["f"].examples == ("0.7",)
    # A limit that no float can hold.
    assert DataQuality.of(df.select("f"), Schema().float("f", minimum=-1e300, maximum=1e300)).ok


@pytest.mark.oldest
def test_strings_are_counted_by_class(spark):
    texts = ["", "abc", "Grüße", "a b", "12", "-3.5", "1e3", " 7", "x1", "1.2.3", None]
    df = spark.createDataFrame([(text, text, 1) for text in texts], "text string, kind string, n int")
    schema = Schema().string("text").categorical("kind", ["abc"]).integer("n")
    quality = DataQuality.of(df, schema)
    for name in ("text", "kind"):
        assert (quality[name].empty, quality[name].alphabetic, quality[name].numeric) == (1, 2, 3)
    assert quality["n"].empty is quality["n"].numeric is None
    assert quality.toPandas().loc[0, "alphabetic"] == 2 and json.loads(quality.toJSON())[1]["numeric"] == 3


def test_quality_of_very_many_columns_has_the_same_figures(spark):
    names = [f"c{i}" for i in range(52)]
    rows = [("", 1), ("abc", 2), ("12", 3), (None, None)]
    df = spark.createDataFrame(rows, "t string, n int")
    wide = df.selectExpr(*[f"t AS {name}" for name in names], *[f"n AS n{name}" for name in names])
    schema = Schema().string(*names, maxLength=2).integer(*[f"n{name}" for name in names], maximum=2)
    quality = DataQuality.of(wide.repartition(3), schema)
    narrow = DataQuality.of(wide.select("c7", "nc7"), Schema([schema["c7"], schema["nc7"]]))
    for found, expected in zip(narrow.columns, ((2, 1, 1, ("abc",), 1, 1, 1), (2, 1, 1, ("3",), None, None, None))):
        figures = (
            found.valid,
            found.invalid,
            found.missing,
            found.examples,
            found.empty,
            found.alphabetic,
            found.numeric,
        )
        assert figures == expected and quality[found.name] == found
    assert len(quality.columns) == 104 and DataQuality.of(wide.where("n > 9"), schema).ok


def test_quality_makes_few_calls_into_the_jvm_however_many_columns_there_are(spark):
    from py4j.java_gateway import GatewayClient

    client = spark.sparkContext._gateway._gateway_client
    calls = []
    original = type(client).send_command
    names = [f"c{i}" for i in range(120)]
    df = spark.range(3).selectExpr(*[f"id AS {name}" for name in names])
    schema = Schema().long(*names, minimum=0, maximum=5)

    def counted(self, command, *args, **options):
        if not command.startswith("m"):  # memory of objects that are gone
            calls.append(command)
        return original(self, command, *args, **options)

    type(client).send_command = counted
    try:
        DataQuality.of(df, schema)
    finally:
        type(client).send_command = original
    assert issubclass(type(client), GatewayClient) and 0 < len(calls) < 5 * len(names)
