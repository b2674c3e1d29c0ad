"""Texts as numbers, times as texts, constants and one-hot numbers, against Python, pandas and scikit-learn."""

from __future__ import annotations

import datetime
import zoneinfo
from collections import Counter

import pytest
from transformed import rows_of

from spark_keras.preparation import DataQuality, Schema, TransformProcess

UTC = datetime.timezone.utc
TEXTS = ["the cat sat on the mat", "  The cat\tate  rats ", None, "", "ünïcödé 😀 cat", "cat"]
SETS = ["red, green", "blue", None, "", "green,green , red", "red,pink"]
NUMBERS = [1, 3, None, 0, 2, 3]
SCHEMA = Schema().integer("id", nullable=False).string("text", "set").integer("n", minimum=0, maximum=3)


@pytest.fixture(scope="module")
def frame():
    from conftest import LOCAL, session_for

    rows = [(i, *row) for i, row in enumerate(zip(TEXTS, SETS, NUMBERS))]
    return session_for(LOCAL).createDataFrame(rows, SCHEMA.toStructType()).repartition(3, "id").cache()


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.oldest
def test_characters_and_terms_become_indices_and_bags(frame):
    alphabet = "abcdefghijklmnopqrstuvwxyz ü😀"
    # More terms than fit into one bucket of the table, among them such as JSON and SQL have to escape.
    terms = ["cat", "the", "rats", 'say "x"', "back\\slash", "'", "ünïcödé", *(f"word{i}" for i in range(1000))]
    process = (
        TransformProcess(SCHEMA)
        .charactersToIndices("text", "kept", alphabet, unseen="keep", first=1)
        .charactersToIndices("text", "known", list(alphabet), unseen="drop")
        .termsToIndices("text", "terms", terms, unseen="drop")
        .termsToIndices("text", "all or none", terms, unseen="null")
        .termsToIndices("set", "colours", ["red", "green", "blue", "pink"], delimiter=r"\s*,\s*")
        .bagOfWords("text", "bag", terms)
        .bagOfWords("text", "there", terms, counts=False)
    )
    assert process.schema["bag"].shape == (len(terms),) and process.schema["kept"].description == "array of integer (?)"
    assert "… 1007 terms" in str(process)
    number = {character: i for i, character in enumerate(alphabet)}
    place = {term: i for i, term in enumerate(terms)}
    for row in rows_of(process, frame):
        if row.text is None:
            assert {row[name] for name in process.schema.names[4:]} == {None}
            continue
        assert row.kept == [number.get(c, len(alphabet)) + 1 for c in row.text]
        assert row.known == [number[c] for c in row.text if c in number]
        words = row.text.split()
        assert row.terms == [place[word] for word in words if word in place]
        assert row["all or none"] == (row.terms if all(word in place for word in words) else None)
        counts = Counter(row.terms)
        assert {i: count for i, count in enumerate(row.bag) if count} == counts and len(row.bag) == len(terms)
        assert row.there == [min(count, 1.0) for count in row.bag]
        assert row.colours == [
            ["red", "green", "blue", "pink"].index(c.strip()) for c in row.set.split(",") if c.strip()
        ]
    # The table of the terms is one constant of the plan, not parsed for each row.
    plan = process.transform(frame)._jdf.queryExecution().optimizedPlan().toString()
    assert "from_json" not in plan.lower() and "jsontostructs" not in plan.lower()


@pytest.mark.oldest
def test_sets_of_categories_become_multi_hot(frame):
    states = ["red", "green", "blue"]
    columns = TransformProcess(SCHEMA).delimitedToMultiHot("set", states, unseen="keep")
    assert columns.schema.names == ["id", "text", "set[red]", "set[green]", "set[blue]", "n"]
    array = TransformProcess(SCHEMA).delimitedToMultiHot("set", states, unseen="null", asArray=True)
    expected = [[1, 1, 0], [0, 0, 1], None, [0, 0, 0], [1, 1, 0], [1, 0, 0]]
    found = [[row[f"set[{state}]"] for state in states] for row in rows_of(columns, frame)]
    assert found == [values or [None] * 3 for values in expected]
    assert [row.set for row in rows_of(array, frame)] == [*expected[:-1], None]
    pipes = TransformProcess(frame.sparkSession.createDataFrame([("a|b.c",)], "s string"))
    row = pipes.delimitedToMultiHot("s", ["a", "b.c"], delimiter="|").transform(
        frame.sparkSession.createDataFrame([("a|b.c",)], "s string")
    )
    assert tuple(row.first()) == (1, 1)


def test_unseen_terms_are_errors_by_default_and_counted(frame):
    strict = TransformProcess(SCHEMA)
    for process, unseen, count in [
        (strict.termsToIndices("text", "t", ["the", "cat"]), ("The", "sat", "ünïcödé"), 3),
        (strict.delimitedToMultiHot("set", ["red", "green", "blue"]), ("pink",), 1),
        (strict.integerToOneHot("n", 0, 2), ("3",), 2),
    ]:
        (problem,) = process.problems(frame)
        assert (problem.count, sorted(problem.examples)) == (count, sorted(unseen))
        with pytest.raises(Exception, match="Unusable value in column '(text|set|n)', step .*Expected: "):
            process.transform(frame).collect()
    for step, message in [
        (lambda: strict.termsToIndices("text", "t", ["a", "a"]), "Invalid vocabulary in step termsToIndices. Rec"),
        (lambda: strict.bagOfWords("text", "t", "cat"), "Invalid vocabulary in step bagOfWords. Received: 'cat'"),
        (lambda: strict.bagOfWords("text", "t", []), "Invalid vocabulary in step bagOfWords. Received: \\[\\]"),
        (lambda: strict.charactersToIndices("text", "t", ["ab"]), "Expected: single characters"),
        (lambda: strict.termsToIndices("n", "t", ["a"]), "Column 'n' does not fit step termsToIndices"),
        (lambda: strict.bagOfWords("text", "set", ["a"]), "New column of step bagOfWords is there already"),
        (lambda: strict.termsToIndices("text", "t", ["a"], delimiter="("), "Invalid pattern in step termsToIndices"),
        (lambda: strict.delimitedToMultiHot("set", ["a"], delimiter=""), "Invalid delimiter in step delimitedToMul"),
        (lambda: strict.termsToIndices("text", "t", ["a"], unseen="skip"), "Expected: one of \\['error', 'null'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            step()


@pytest.mark.oldest
def test_whole_numbers_become_one_hot(frame):
    process = TransformProcess(SCHEMA).duplicate("n", "m").integerToOneHot("n").integerToOneHot("m", 1, 2, "keep", True)
    assert process.schema.names == ["id", "text", "set", "n[0]", "n[1]", "n[2]", "n[3]", "m"]
    rows = rows_of(process, frame)
    for row, n in zip(rows, NUMBERS):
        assert [row[f"n[{k}]"] for k in range(4)] == ([None] * 4 if n is None else [int(n == k) for k in range(4)])
        assert row.m == (None if n is None else [float(n == 1), float(n == 2)])
    with pytest.raises(ValueError, match="Invalid range in step integerToOneHot. Received: minimum=None, maximum=None"):
        TransformProcess(SCHEMA).integerToOneHot("id")


# --- times and constants ---------------------------------------------------------------------------------------------


@pytest.mark.oldest
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_times_as_texts_are_those_of_python(spark, zone):
    before = spark.conf.get("spark.sql.session.timeZone")
    # In New York this hour is skipped; formatting the time of another zone must not stumble over it.
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    times = [
        datetime.datetime(2013, 3, 10, 2, 30, 1, 250_000, tzinfo=UTC),
        datetime.datetime(2013, 3, 9, 20, 50, 0, 7, tzinfo=UTC),
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.datetime(2024, 2, 29, 12, 0, tzinfo=UTC),
    ]
    df = spark.createDataFrame([(i, int(t.timestamp() * 10**6 // 1)) for i, t in enumerate(times)], "id int, us long")
    micros = [
        round((t - datetime.datetime(1970, 1, 1, tzinfo=UTC)) / datetime.timedelta(microseconds=1)) for t in times
    ]
    df = spark.createDataFrame(list(enumerate(micros)), "id int, us long").selectExpr(
        "id", "timestamp_micros(us) AS at"
    )
    patterns = {
        "yyyy-MM-dd'T'HH:mm:ss.SSSXXX": None,
        "EEEE, d MMMM yy 'at' h:mm a": "%A, {t.day} %B %y at {h}:%M %p",
        "EEE dd MMM yyyy HH.mm.ss,SSSSSS": "%a %d %b %Y %H.%M.%S,%f",
        "DDD''Q": "%j'{q}",
        "xxx VV": None,
    }
    process = TransformProcess(df).inZone("at", zone).deriveTime("at", {"day": "date"})
    for pattern in patterns:
        process = process.formatTime("at", pattern, pattern)
    process = process.formatTime("day", "day", "d/M/yyyy")
    rows = rows_of(process, df)
    spark.conf.set("spark.sql.session.timeZone", before)
    for time, row in zip(times, rows):
        local = time.astimezone(zoneinfo.ZoneInfo(zone))
        offset = local.isoformat()[-6:]
        for pattern, form in patterns.items():
            if form is None:
                expected = local.isoformat(timespec="milliseconds") if "yyyy" in pattern else f"{offset} {zone}"
            else:
                form = form.format(t=local, h=(local.hour + 11) % 12 + 1, q=(local.month + 2) // 3)
                expected = local.strftime(form)
            assert row[pattern] == expected
        assert row.day == f"{local.day}/{local.month}/{local.year}"
    for pattern, message in [("YYYY", "with 'YYYY'"), ("HH'h", "quote that does not end"), ("", "Expected: a pattern")]:
        with pytest.raises(ValueError, match=f"Invalid pattern in step formatTime. Received: .*{message}"):
            process.formatTime("at", "x", pattern)
    with pytest.raises(ValueError, match="does not fit step formatTime. Received: date, of which 'HH' is wanted"):
        TransformProcess(Schema().date("day")).formatTime("day", "x", "HH")
    with pytest.raises(ValueError, match="Received: time without zone, of which 'XXX' is wanted. Expected: a"):
        TransformProcess(Schema().time("t", zone=None)).formatTime("t", "x", "XXX")


@pytest.mark.oldest
def test_constants_of_all_types(frame):
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    noon = datetime.datetime(2020, 7, 1, 12, tzinfo=berlin)
    process = (
        TransformProcess(SCHEMA)
        .constant("at", noon, zone="Europe/Berlin")
        .deriveTime("at", {"hour": "hour", "epoch": "epochSeconds"})
        .constant("wall", datetime.datetime(2013, 3, 10, 2, 30))
        .constant("day", datetime.date(2020, 2, 29))
        .constant("none", None, type="double")
        .constant("never", None, type="time", zone="Asia/Tokyo")
        .constant("small", 7, type="integer")
        .constant("float", 0.5, type="float")
        .formatTime("wall", "wall", "HH:mm")
    )
    assert [process.schema[n].description for n in ("at", "never", "small", "float", "none")] == [
        "time Europe/Berlin", "time Asia/Tokyo", "integer", "float", "double",
    ]  # fmt: skip
    assert [process.schema[n].nullable for n in ("at", "none", "small")] == [False, True, False]
    row = rows_of(process, frame)[0]
    assert (row.hour, row.epoch, row.wall, row.day) == (12, noon.timestamp(), "02:30", datetime.date(2020, 2, 29))
    assert (row.none, row.never, row.small, row.float) == (None, None, 7, 0.5)
    for value, options, error, message in [
        (None, {}, TypeError, "Invalid value in step constant. Received: None.*with a type such as"),
        (b"", {}, TypeError, "Invalid value in step constant. Received: b''"),
        (
            2**31,
            {"type": "integer"},
            ValueError,
            "Value does not fit column 'c' in step constant. Received: 2147",
        ),
        ("x", {"type": "double"}, ValueError, "Value does not fit column 'c' in step constant. Received: 'x'"),
        (1, {"type": "decimal"}, ValueError, "Invalid type in step constant. Received: 'decimal'"),
        (1, {"zone": "UTC"}, ValueError, "Value does not fit the time zone in step constant. Received: 1, zone='UTC'"),
        (noon, {"zone": "Mars"}, ValueError, "Unknown time zone in step constant. Received: 'Mars'"),
    ]:
        with pytest.raises(error, match=message):
            TransformProcess(SCHEMA).constant("c", value, **options)


@pytest.mark.oldest
def test_usual_formats_of_times_are_guessed_on_request(spark):
    def utc(*parts):
        return datetime.datetime(*parts, tzinfo=UTC)

    texts = {
        "2020-01-31": utc(2020, 1, 30, 15),
        "2020/01/31 17:05": utc(2020, 1, 31, 8, 5),
        "2020.01.31T17:05:09": utc(2020, 1, 31, 8, 5, 9),
        "20200131": utc(2020, 1, 30, 15),
        "31.01.2020 17:05:09.25": utc(2020, 1, 31, 8, 5, 9, 250_000),
        "1 Feb 2020": utc(2020, 1, 31, 15),
        "Jan 31, 2020 00:00": utc(2020, 1, 30, 15),
        "2020-01-31T17:05:09.123456Z": utc(2020, 1, 31, 17, 5, 9, 123_456),
        "2020-01-31 17:05 +02:00": utc(2020, 1, 31, 15, 5),
        "2020-01-31T17:05:09,5+05:45": utc(2020, 1, 31, 11, 20, 9, 500_000),
        "01/02/2020": None,
        "2020-02-30": None,
        "17:05": None,
        "noon": None,
    }
    df = spark.createDataFrame(list(enumerate(texts)), "id int, at string")
    guessing = TransformProcess(df).parseTime("at", zone="Asia/Tokyo", guess=True, invalid="null")
    rows = rows_of(guessing.deriveTime("at", {"us": "epochMilliseconds"}), df)
    expected = [None if at is None else int(at.timestamp() * 1000) for at in texts.values()]
    assert [row.us for row in rows] == expected
    assert guessing.problems(df)[0].count == 4
    own = TransformProcess(df).parseTime("at", "dd/MM/yyyy", zone="UTC", guess=True, invalid="null")
    assert rows_of(own.deriveTime("at", {"month": "month"}), df)[10].month == 2
    with pytest.raises(ValueError, match="No format in step parseTime"):
        TransformProcess(df).parseTime("at")


@pytest.mark.oldest
def test_times_and_dates_have_limits(spark):
    def utc(*parts):
        return datetime.datetime(*parts, tzinfo=UTC)

    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    new_year = datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    schema = (
        Schema()
        .time("at", zone="Europe/Berlin", minimum=new_year, maximum=utc(2020, 12, 31))
        .time("wall", zone=None, minimum=datetime.datetime(2013, 3, 10, 2, 30))
        .date("day", maximum=datetime.date(2020, 2, 29))
    )
    assert Schema.fromJSON(schema.toJSON()) == schema and "date ≤ 2020-02-29" in str(schema)
    df = spark.sql(
        "SELECT * FROM VALUES (TIMESTAMP'2019-12-31 23:00:00Z', TIMESTAMP_NTZ'2013-03-10 02:30:00', DATE'2020-02-29'),"
        "(TIMESTAMP'2019-12-31 22:59:59.999999Z', TIMESTAMP_NTZ'2013-03-10 02:29:59.9', DATE'2020-03-01'),"
        "(TIMESTAMP'2020-12-31 00:00:00.000001Z', NULL, NULL) AS t(at, wall, day)"
    )
    quality = DataQuality.of(df, schema)
    texts = DataQuality.of(df.selectExpr("'2021-01-01T00:00Z' AS at", "wall", "string(day) AS day"), schema)
    kept = (
        TransformProcess(schema).removeInvalid().deriveTime("at", {"us": "epochMilliseconds"}).transform(df).collect()
    )
    spark.conf.set("spark.sql.session.timeZone", before)
    assert [(c.valid, c.invalid, c.missing) for c in quality.columns] == [(1, 2, 0), (1, 1, 1), (1, 1, 1)]
    assert [c.invalid for c in texts.columns] == [3, 1, 1]
    assert [(row.us, row.day) for row in kept] == [
        (utc(2019, 12, 31, 23).timestamp() * 1000, datetime.date(2020, 2, 29))
    ]
    assert TransformProcess(schema).addTime("at", 1, "days").schema["at"].description == "time Europe/Berlin"
    for make, message in [
        (lambda: Schema().time("t", minimum=datetime.datetime(2020, 1, 1)), "Expected: a datetime with a time zone"),
        (lambda: Schema().time("t", zone=None, maximum=utc(2020, 1, 1)), "Expected: a datetime without a time zone"),
        (lambda: Schema().time("t", minimum=datetime.date(2020, 1, 1)), "Invalid minimum of column 't'. Received: dat"),
        (lambda: Schema().date("t", minimum=utc(2020, 1, 1)), "Invalid minimum of column 't'.*Expected: a date"),
        (lambda: Schema().date("t", minimum="2020-01-01"), "Received: '2020-01-01'. Expected: a date"),
        (lambda: Schema().time("t", minimum=utc(2021, 1, 1), maximum=utc(2020, 1, 1)), "Invalid range of column 't'"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
