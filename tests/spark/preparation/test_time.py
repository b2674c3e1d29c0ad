"""Times: parsed, moved and taken apart in their own zone, whatever zone the session is in."""

from __future__ import annotations

import datetime
import zoneinfo

import pandas as pd
import pytest

from spark_keras.preparation import Problem, Schema, TransformProcess

UTC = datetime.timezone.utc
TEXTS = [
    "2013-11-03 00:59:59.999",
    "2013-11-03 01:30:00.000",  # occurs twice in New York
    "2013-03-10 02:30:00.000",  # is skipped in New York
    "2012-12-31 23:59:59.001",
    "1960-02-29 12:00:00.500",
    None,
]
# An instant's epoch in milliseconds, whatever the session is.
EPOCH = {"epoch": "epochMilliseconds"}


@pytest.fixture(params=[pytest.param("America/New_York", marks=pytest.mark.oldest), "UTC", "Asia/Kathmandu"])
def session(spark, request):
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", request.param)
    yield spark
    spark.conf.set("spark.sql.session.timeZone", before)


@pytest.fixture
def texts(session):
    return session.createDataFrame([(i, text) for i, text in enumerate(TEXTS)], "id int, at string").repartition(9)


def parsed(zone="UTC", **options):
    return TransformProcess(Schema().integer("id").string("at")).parseTime(
        "at", "yyyy-MM-dd HH:mm:ss.SSS", zone=zone, **options
    )


def values(process, df, *names):
    rows = sorted(process.transform(df).collect(), key=lambda row: row.id)
    return [row[names[0]] if len(names) == 1 else tuple(row[name] for name in names) for row in rows]


def milliseconds(text, zone):
    """Python's own reading: the earlier one of two local times, and past the gap where there is none."""
    if text is None:
        return None
    local = datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return (local.astimezone(UTC) - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(milliseconds=1)


def test_times_and_their_parts_do_not_depend_on_the_session(texts):
    parts = {
        "y": "year", "q": "quarter", "mo": "month", "w": "week", "d": "day", "doy": "dayOfYear", "dow": "dayOfWeek",
        "h": "hour", "mi": "minute", "s": "second", "ms": "millisecond", "sod": "secondOfDay", "date": "date",
        "epoch": "epochMilliseconds", "seconds": "epochSeconds",
    }  # fmt: skip
    process = parsed("America/New_York").duplicate("at", "tokyo").inZone("tokyo", "Asia/Tokyo")
    process = process.deriveTime("at", parts).deriveTime(
        "tokyo", {f"tokyo {name}": part for name, part in parts.items()}
    )
    assert process.schema.names[:4] == ["id", "at", "y", "q"]
    found = {row.id: row for row in process.transform(texts).collect()}
    for number, text in enumerate(TEXTS):
        row = found[number]
        epoch = milliseconds(text, "America/New_York")
        for prefix, zone in (("", "America/New_York"), ("tokyo ", "Asia/Tokyo")):
            part = {name: row[prefix + name] for name in parts}
            if text is None:
                assert set(part.values()) == {None}
                continue
            at = pd.Timestamp(epoch, unit="ms", tz="UTC").tz_convert(zone)
            assert part == {
                "y": at.year, "q": at.quarter, "mo": at.month, "w": at.isocalendar().week, "d": at.day,
                "doy": at.dayofyear, "dow": at.dayofweek + 1, "h": at.hour, "mi": at.minute, "s": at.second,
                "ms": at.microsecond // 1000, "sod": at.hour * 3600 + at.minute * 60 + at.second, "date": at.date(),
                "epoch": epoch, "seconds": epoch // 1000,
            }  # fmt: skip


def test_times_move_by_lengths_of_time_and_by_the_calendar(texts):
    moves = [(36, "hours"), (-90, "minutes"), (1, "seconds"), (-1, "milliseconds"), (1, "days"), (-2, "weeks")]
    moves += [(1, "months"), (-1, "years")]
    process = parsed("America/New_York")
    for amount, unit in moves:
        process = (
            process.duplicate("at", unit)
            .addTime(unit, amount, unit)
            .deriveTime(unit, {f"{unit} e": "epochMilliseconds"})
        )
    process = process.timeDifference("hours apart", "hours", "at", unit="hours").timeDifference(
        "apart", "months", "at", "days"
    )
    rows = sorted(process.transform(texts).collect(), key=lambda row: row.id)
    for text, row in zip(TEXTS, rows):
        for amount, unit in moves:
            if text is None:
                assert row[f"{unit} e"] is None and row["hours apart"] is None
                continue
            at = pd.Timestamp(milliseconds(text, "America/New_York"), unit="ms", tz="UTC")
            if unit in ("days", "weeks", "months", "years"):
                local = at.tz_convert("America/New_York").tz_localize(None) + pd.DateOffset(**{unit: amount})
                moved = local.tz_localize("America/New_York", ambiguous=True, nonexistent=pd.Timedelta("1h"))
            else:
                moved = at + pd.Timedelta(amount, unit)
            assert row[f"{unit} e"] == moved.value // 10**6, (text, amount, unit)
        if text is not None:
            assert row["hours apart"] == 36.0 and row.apart == pytest.approx(
                (row["months e"] - milliseconds(text, "America/New_York")) / 86.4e6
            )


def test_times_without_zone_and_dates(session):
    df = session.sql(
        "SELECT TIMESTAMP_NTZ'2013-03-10 02:30:00.25' AS wall, DATE'2013-03-10' AS day, DATE'2012-03-10' AS before"
        " UNION ALL SELECT NULL, NULL, NULL"
    )
    process = (
        TransformProcess(Schema.of(df))
        .addTime("wall", 1, "days")
        .addTime("wall", -1500, "milliseconds")
        .deriveTime("wall", {"h": "hour", "ms": "millisecond", **EPOCH})
        .deriveTime("day", {"dow": "dayOfWeek", "week": "week", "s": "epochSeconds"})
        .timeDifference("days", "day", "before", unit="days")
    )
    first, second = process.transform(df).drop("wall", "day", "before").collect()
    epoch = 1362969000250 - 1500
    assert first.asDict() == {"h": 2, "ms": 750, "epoch": epoch, "dow": 7, "week": 10, "s": 1362873600, "days": 365.0}
    assert set(second) == {None}


def test_epochs_are_whole_at_the_ends_of_the_calendar(spark):
    micros = [253402300799999999, 253402300799000000, -62135596800000001, -1, 999_999, 2**62 + 1, -(2**62) - 1]
    df = spark.createDataFrame([(each,) for each in micros], "us bigint").selectExpr("us", "timestamp_micros(us) AS t")
    process = TransformProcess(df).deriveTime("t", {"s": "epochSeconds", "ms": "epochMilliseconds"})
    found = {row.us: (row.s, row.ms) for row in process.transform(df).select("us", "s", "ms").collect()}
    assert found == {each: (each // 1_000_000, each // 1_000) for each in micros}


def test_times_by_formats_that_know_their_zone_offsets_and_epochs(session):
    rows = [(0, "2020-01-01T00:00+02:00", 1), (1, "01.02.2020 03:04", -1), (2, "2020-06-01T12:00Z", None)]
    df = session.createDataFrame(rows, "id int, at string, n long")
    process = TransformProcess(Schema.of(df)).parseTime(
        "at", "yyyy-MM-dd'T'HH:mmXXX", "dd.MM.yyyy HH:mm", zone="+05:30"
    )
    process = process.deriveTime("at", EPOCH).duplicate("n", "m").epochToTime("n").epochToTime("m", unit="milliseconds")
    process = process.deriveTime("n", {"ns": "epochMilliseconds"}).deriveTime("m", {"ms": "epochMilliseconds"})
    expected = [
        datetime.datetime(2019, 12, 31, 22, tzinfo=UTC),
        datetime.datetime(2020, 1, 31, 21, 34, tzinfo=UTC),
        datetime.datetime(2020, 6, 1, 12, tzinfo=UTC),
    ]
    assert values(process, df, "epoch") == [int(time.timestamp() * 1000) for time in expected]
    assert values(process, df, "ns", "ms") == [(1000, 1), (-1000, -1), (None, None)]


@pytest.mark.oldest
def test_times_that_do_not_parse_follow_the_rule_and_are_counted(spark):
    bad = ["2013-11-03", "tomorrow", "2013-13-01 00:00:00.0", "tomorrow"]
    df = spark.createDataFrame([(i, text) for i, text in enumerate([*TEXTS, *bad])], "id int, at string").repartition(5)
    lenient = parsed(invalid="null").deriveTime("at", {"hour": "hour"})
    assert values(lenient, df, "hour") == [0, 1, 2, 23, 12, None, None, None, None, None]
    expected = [Problem("parseTime", "at", 4, ("2013-11-03", "2013-13-01 00:00:00.0", "tomorrow"))]
    # Counted in the same way under the rule that stops the job.
    assert lenient.problems(df) == parsed().problems(df) == expected
    assert str(expected[0]).startswith("step 'parseTime', column 'at': 4 unusable values, such as ['2013-11-03'")
    with pytest.raises(
        Exception, match="Unusable value in column 'at', step parseTime. Received: .* Expected: a time as yyyy"
    ):
        parsed().transform(df).collect()


@pytest.mark.parametrize("policy", ["LEGACY", "CORRECTED"])
def test_times_are_parsed_alike_whatever_the_sessions_parser(session, policy):
    rows = [(0, "2013-07-01 12:30:15.000250"), (1, "tomorrow"), (2, "2013-13-01 00:00:00.000000"), (3, None)]
    df = session.createDataFrame(rows, "id int, at string")
    session.conf.set("spark.sql.legacy.timeParserPolicy", policy)
    try:
        for zone, hour in (("America/New_York", 16), ("+05:30", 7), ("UTC", 12)):
            process = TransformProcess(Schema.of(df)).parseTime(
                "at", "yyyy-MM-dd HH:mm:ss.SSSSSS", zone=zone, invalid="null"
            )
            made = process.transform(df).selectExpr("id", "unix_micros(at) AS us").orderBy("id").collect()
            minute = 0 if zone == "+05:30" else 30
            at = datetime.datetime(2013, 7, 1, hour, minute, 15, 250, tzinfo=UTC)
            assert [row.us for row in made] == [int(at.timestamp()) * 10**6 + 250, None, None, None]
            assert process.problems(df)[0].count == 2
        no_zone = TransformProcess(Schema.of(df)).parseTime(
            "at", "yyyy-MM-dd HH:mm:ss.SSSSSS", zone=None, invalid="null"
        )
        assert no_zone.schema["at"] == Schema().time("at", zone=None)["at"]
        assert values(no_zone, df, "at") == [datetime.datetime(2013, 7, 1, 12, 30, 15, 250), None, None, None]
        assert str(TransformProcess.fromJSON(no_zone.toJSON())) == str(no_zone)
        offsets = session.createDataFrame([(0, "2020-01-01T00:00+02:00")], "id int, at string")
        of_zone = TransformProcess(Schema.of(offsets)).parseTime("at", "yyyy-MM-dd'T'HH:mmXXX").deriveTime("at", EPOCH)
        assert values(of_zone, offsets, "epoch") == [1577829600000]
        other = TransformProcess(Schema.of(offsets)).parseTime("at", "yyyy-MM-dd'T'HH:mmVV")
        if policy == "LEGACY":
            with pytest.raises(ValueError, match="does not know \\['V'\\]. Expected: X or z"):
                other.transform(offsets)
    finally:
        session.conf.unset("spark.sql.legacy.timeParserPolicy")


@pytest.mark.oldest
def test_moves_by_the_calendar_keep_the_offset_as_sparks_own_do(spark):
    # Both 02:30 of the night in which Berlin's clocks go back, a time before it, one after it, and one that is skipped.
    seconds = [1603585800, 1603589400, 1603499400, 1603675800, 1585443000, 1585353600]
    df = spark.createDataFrame(list(enumerate(seconds)), "id int, n long")
    moves = [
        (0, "days"),
        (1, "days"),
        (-1, "days"),
        (0, "weeks"),
        (0, "months"),
        (1, "months"),
        (0, "years"),
        (-7, "months"),
    ]
    process = TransformProcess(Schema.of(df)).epochToTime("n", zone="Europe/Berlin")
    for number, (amount, unit) in enumerate(moves):
        process = process.duplicate("n", f"m{number}").addTime(f"m{number}", amount, unit)
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    try:
        sums = [f"timestamp_seconds(n) + INTERVAL '{amount}' {unit} AS m{i}" for i, (amount, unit) in enumerate(moves)]
        sums = [text.replace("'0' weeks", "'0' days") for text in sums]
        expected = df.selectExpr("id", *sums).orderBy("id").collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    found = process.transform(df).drop("n").orderBy("id").collect()
    assert [row.asDict() for row in found] == [row.asDict() for row in expected]
    with pytest.raises(ValueError, match="Invalid amount in step addTime. Received: 9223372036854775 seconds"):
        process.addTime("n", 2**63 // 1000, "seconds")
