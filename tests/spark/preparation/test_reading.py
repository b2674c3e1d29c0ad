"""Texts: what Spark's reader of CSV makes of them is what a schema, a process and a check of quality make of them."""

from __future__ import annotations

import csv
import datetime
import random

import pytest

from spark_keras.preparation import DataQuality, Schema, TransformProcess, col

BERLIN = "Europe/Berlin"
TEXTS = [
    *("yes", "T", "t", "1", "0", "true", "TRUE", "False", "f", " true", "no", "null", "NULL", "", " "),
    *(" 2 ", "+5", "-0", "1_000", "0x10", "1e3", "2.0", ".5", "5.", "2\n", "٣", "1,5", "1 000", "--1", "2147483648"),
    *("9223372036854775808", "NaN", "nan", "inf", "-inf", "Inf", "Infinity", "-Infinity", "1.5d", "1.5f", "1e400"),
    *("0x1p3", "1e-400", "2020-07-01", "2020-7-1", "01.07.2020", "2020-02-30", "2020", "2020-07", "20200701", "12:00"),
    *("T12:00", "2020-07-01 12:00", "2020-07-01T12:00:00Z", "2020-07-01T12:00Z", "2020-07-01 12:00:00+02:00"),
    *("2020-7-1 1:2:3.4", "2020-07-01 12:00:00 America/New_York", "2020-07-01 12:00:00.123456789"),
    *("2020-07-01 25:00:00", " 2020-07-01 12:00", "2020-03-29 02:30:00", "2020-10-25 02:30:00", "+12020-07-01"),
    *('a"b', '"1"', "1\\", "\\", "'1'"),
]
SCHEMA = (
    Schema()
    .integer("integer")
    .long("long")
    .float("float", allowNaN=True, allowInfinite=True)
    .double("double", allowNaN=True, allowInfinite=True)
    .boolean("boolean")
    .time("time", zone=BERLIN)
    .time("wall", zone=None)
    .date("date")
)


@pytest.fixture(params=["UTC", "Asia/Kathmandu"])
def session(spark, request):
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", request.param)
    yield spark
    spark.conf.set("spark.sql.session.timeZone", before)


def written(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return str(path)


@pytest.mark.oldest
@pytest.mark.parametrize("ansi", ["true", "false"])
def test_the_verdict_on_a_text_is_that_of_sparks_reader(spark, tmp_path, ansi):
    draw = random.Random(5)
    texts = [*TEXTS, *{"".join(draw.choices("0123456789-+.eEdT:Z xn_", k=draw.randint(1, 6))) for _ in range(300)}]
    types = ", ".join(f"{field.name} {field.sparkType.simpleString()}" for field in SCHEMA)
    path = written(tmp_path / "texts.csv", [[number, *[text] * len(SCHEMA)] for number, text in enumerate(texts)])
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    # By default, an older Spark's reader stops at a date that Spark 2 would have read.
    spark.conf.set("spark.sql.legacy.timeParserPolicy", "CORRECTED")
    try:
        reader = spark.read.option("timeZone", BERLIN).schema(f"number int, {types}")
        nulls = [f"`{field.name}` IS NULL AS `{field.name}`" for field in SCHEMA]
        read = reader.csv(path, escape='"', multiLine=True).selectExpr("number", *nulls).collect()
        df = spark.createDataFrame(
            [[text] * len(SCHEMA) for text in texts], ", ".join(f"{n} string" for n in SCHEMA.names)
        )
        quality = DataQuality.of(df, SCHEMA, examples=len(texts))
    finally:
        spark.conf.unset("spark.sql.ansi.enabled")
        spark.conf.unset("spark.sql.legacy.timeParserPolicy")
    for name in SCHEMA.names:
        expected = {texts[row.number] for row in read if row[name]}
        assert set(quality[name].examples) == expected, name
        assert quality[name].missing == 0


@pytest.mark.oldest
@pytest.mark.parametrize("policy", ["EXCEPTION", "LEGACY", "CORRECTED"])
def test_texts_that_are_no_dates_or_times_never_stop_the_check(spark, policy):
    texts = [("2020-02-30", "2020-02-30 12:00"), ("2020-07-01", "2020-07-01 12:00"), ("1.7.2020", "soon")]
    df = spark.createDataFrame(texts, "day string, at string")
    spark.conf.set("spark.sql.legacy.timeParserPolicy", policy)
    try:
        quality = DataQuality.of(df, Schema().date("day").time("at", zone=BERLIN))
    finally:
        spark.conf.unset("spark.sql.legacy.timeParserPolicy")
    assert "1.7.2020" in quality["day"].examples and "soon" in quality["at"].examples
    assert quality["day"].valid >= 1 and quality["at"].valid >= 1


def test_values_out_of_range_are_judged_by_what_was_read(spark):
    df = spark.createDataFrame([("0.1", "1e3"), ("0.2", "7"), (None, " 7")], "f string, n string")
    quality = DataQuality.of(df, Schema().float("f", maximum=0.1).integer("n", maximum=9))
    assert [(c.valid, c.invalid, c.missing) for c in quality.columns] == [(1, 1, 1), (1, 2, 0)]


@pytest.mark.oldest
def test_times_of_texts_are_those_of_the_schemas_zone(session, tmp_path):
    schema = Schema().time("t", zone=BERLIN).integer("n")
    process = TransformProcess(schema).deriveTime("t", {"hour": "hour", "epoch": "epochSeconds"})
    texts = ["2020-07-01 12:00", "2020-01-01T12:00:00", "2020-07-01T12:00:00Z", "2020-07-01", "2020-10-25 02:30:00", ""]
    path = written(tmp_path / "times.csv", [[text, number] for number, text in enumerate(texts)])
    expected = [(12, 1593597600), (12, 1577876400), (14, 1593604800), (0, 1593554400), (2, 1603585800), (None, None)]
    read = spark_rows(process, session.read.csv(path, schema=schema.toDDL()))
    assert read == expected
    # The same from JSON, and from a DataFrame of texts that was never a file.
    (tmp_path / "times.json").write_text('{"t": "2020-07-01 12:00", "n": 0}\n')
    assert spark_rows(process, session.read.json(str(tmp_path / "times.json"), schema=schema.toDDL())) == expected[:1]
    assert spark_rows(process, session.createDataFrame(list(zip(texts, range(6))), "t string, n int")) == expected
    # What the reader was told is known afterwards.
    assert Schema.of(session.read.csv(path, schema=schema.toDDL())) == schema == Schema.fromDDL(schema.toDDL())


def spark_rows(process, df):
    return [(row.hour, row.epoch) for row in sorted(process.transform(df).collect(), key=lambda row: row.n)]


def test_times_of_no_zone_and_a_time_of_day_are_those_of_the_schemas_zone(session):
    schema = Schema().time("t", zone=BERLIN)
    process = TransformProcess(schema).deriveTime("t", {"hour": "hour", "minute": "minute", "date": "date"})
    wall = session.sql("SELECT TIMESTAMP_NTZ'2020-07-01 12:30:00' AS t")
    assert process.transform(wall).first()[1:] == (12, 30, datetime.date(2020, 7, 1))
    today = process.transform(session.createDataFrame([("12:30",)], "t string")).first()
    assert today[1:3] == (12, 30)
    conformed = schema.conform(wall)
    assert conformed.schema["t"].dataType.simpleString() == "timestamp"
    assert conformed.selectExpr("unix_seconds(t) AS s").first().s == 1593599400


def test_a_joined_table_of_texts_has_times_of_its_schemas_zone(session):
    keys = Schema().integer("key")
    other = session.createDataFrame([(1, "2020-07-01 12:00", "more")], "key int, t string, unknown string")
    known = Schema().integer("key").time("t", zone=BERLIN)
    process = TransformProcess(keys).join(other, on="key", schema=known).deriveTime("t", {"hour": "hour"})
    made = process.transform(session.createDataFrame([(1,)], "key int"))
    assert made.columns == ["key", "t", "hour"] and made.first().hour == 12


def test_a_text_that_is_no_time_stops_the_job_and_is_named(spark):
    process = TransformProcess(Schema().time("t", zone=BERLIN)).keepWhere(col("t").isNotNull())
    df = spark.createDataFrame([("2020-07-01 12:00",), ("yesterday",)], "t string")
    with pytest.raises(Exception, match="Unusable time in column 't'. Received: yesterday. Expected: a time"):
        process.transform(df).collect()
    assert DataQuality.of(df, process.initialSchema)["t"].examples == ("yesterday",)


def test_a_reader_is_told_the_zone_where_the_columns_shall_be_timestamps(spark, tmp_path):
    schema = Schema().time("t", zone=BERLIN)
    path = written(tmp_path / "times.csv", [["2020-07-01 12:00"]])
    df = spark.read.option("timeZone", BERLIN).csv(path, schema=schema.toStructType())
    assert TransformProcess(schema).deriveTime("t", {"hour": "hour"}).transform(df).first().hour == 12
