"""One record without Spark: what `apply` gives is what Spark's `transform` gives for a row."""

from __future__ import annotations

import datetime
import math
from types import SimpleNamespace

import pytest

from spark_keras.preparation import Schema, TransformProcess, col, countRows

SCHEMA = (
    Schema()
    .integer("id", nullable=False)
    .categorical("kind", ["a", "b", "c"])
    .string("text")
    .integer("n", minimum=-7)
    .long("m")
    .double("x", allowNaN=True)
    .float("f", maximum=0.1)
    .boolean("flag")
    .string("at")
)
ROWS = [
    (1, "a", "Apple pie", 7, 2, 1.5, 0.1, True, "2013-11-03 00:59:59.999"),
    (2, "b", " 12 eggs ", -7, 2, -0.25, 0.2, False, "2013-11-03 01:30:00.000"),
    (3, None, None, None, None, None, None, None, None),
    (4, "a", "3.5", 0, 0, math.nan, -3.0, True, "2013-03-10 02:30:00.000"),
    (5, "c", "x.y.z", 2**31 - 1, 2**63 - 1, 1e22, 1e-5, False, "2012-12-31 23:59:59.001"),
    (6, "d", "", 3, -5, 0.0, 16777216.0, True, "1960-02-29 12:00:00.500"),
    (7, "b", "1e3", -9, 2**53 + 1, math.inf, math.inf, True, "2020-02-29 00:00:00.000"),
    (8, "c", "a-1-b", 12, 10, 1234567.891, 0.5, None, "2020-10-25 02:30:00.000"),
]
START = TransformProcess(SCHEMA)
FIGURES = {
    "x": SimpleNamespace(min=-2.0, max=6.0, mean=1.0, stdev=2.5),
    "n": SimpleNamespace(min=3, max=3, mean=3, stdev=0),
}
PARTS = {
    "y": "year", "q": "quarter", "mo": "month", "w": "week", "d": "day", "doy": "dayOfYear", "dow": "dayOfWeek",
    "h": "hour", "mi": "minute", "s": "second", "ms": "millisecond", "sod": "secondOfDay", "day": "date",
    "e": "epochMilliseconds", "es": "epochSeconds",
}  # fmt: skip


def of_times():
    process = START.keep("id", "at").parseTime("at", "yyyy-MM-dd HH:mm:ss.SSS", zone="America/New_York")
    process = process.deriveTime("at", PARTS).duplicate("at", "berlin").inZone("berlin", "Europe/Berlin")
    process = process.deriveTime("berlin", {f"b {name}": part for name, part in PARTS.items()})
    moves = [(0, "days"), (1, "days"), (-7, "months"), (8, "months"), (1, "years"), (36, "hours"), (-1, "milliseconds")]
    for number, (amount, unit) in enumerate(moves):
        name = f"m{number}"
        process = process.duplicate("berlin", name).addTime(name, amount, unit)
        process = process.deriveTime(name, {f"{name} e": "epochMilliseconds"}).timeDifference(
            f"{name} d", name, "at", "hours"
        )
        process = process.remove(name)
    return process.remove("at", "berlin")


PROCESSES = {
    "columns": START.rename({"n": "x", "x": "n"}).reorder("m", "id").duplicate("id", "copy").constant("one", 1)
    .constant("day", datetime.date(2020, 2, 29)).constant("none", None, type="double").remove("at"),
    "arithmetic": START.arithmetic("sum", "+", "n", "m", 1)
    .arithmetic("difference", "-", "n", "x")
    .arithmetic("product", "*", "n", "m")
    .arithmetic("ratio", "/", "x", "m")
    .arithmetic("rest", "%", "n", "m")
    .arithmetic("rest of x", "%", "x", "f")
    .arithmetic("least", "min", "n", "m", 3)
    .arithmetic("greatest", "max", "x", "f")
    .arithmetic("average", "mean", "n", "m"),
    "casts": START.duplicate("x", "x2").duplicate("x", "x3").duplicate("f", "f2").duplicate("text", "t2").cast(
        {"text": "double", "t2": "long", "x": "integer", "x2": "string", "x3": "boolean", "f": "string", "f2": "long",
         "flag": "integer", "n": "float", "m": "integer", "kind": "boolean"},
        invalid="null",
    ),
    "rows": START.keepWhere((col("n") > -8) | col("kind").isNull()).removeWhere(col("x").isNaN()).keepWhere(
        ~(col("text").matches("[a-z.]+") & col("flag")) | col("x").isInfinite()
    ),
    "more rows": START.keepWhere(col("f") <= 0.1).removeMissing("x").keepWhere((col("n") > 0) ^ (col("m") == 2)),
    "lengths": START.keepWhere(col("text").length() >= 3).removeWhere(col("kind").isIn("a"))
    .keepWhere(~col("x").isInvalid()),
    "all valid": START.removeInvalid(),
    "all there": START.removeMissing(),
    "values": START.replaceWhere("x", col("f"), col("x").isNaN())
    .replaceWhere("f", 0.3, col("f") == 0.2)
    .replaceWhere("n", None, col("flag"))
    .replaceMissing({"x": 9.0, "text": "none", "kind": "c", "m": col("n")}),
    "normalisers": START.duplicate("x", "s").duplicate("x", "l").minMax("x", "n", analysis=FIGURES, min=-1.0)
    .standardise("s", analysis={"s": FIGURES["x"]})
    .logarithm("l", analysis={"l": FIGURES["x"]}),
    "inverse": START.minMax("x", analysis=FIGURES).denormalise("x"),
    "strings": START.duplicate("text", "u").duplicate("text", "v").duplicate("text", "w").changeCase("u", case="upper")
    .changeCase("v", case="title")
    .trimStrings("w")
    .replaceStrings("text", {r"(\w)-(\d)": r"$2\$$1", r"\p{L}+": "w"})
    .appendString("w", "!")
    .concat("both", "u", "w", separator=" ")
    .mapStrings("kind", {"a": "A", "b": "B"}),
    "categories": START.duplicate("kind", "k").duplicate("kind", "o").toCategorical("k", ["b", "a"], unseen="null")
    .categoricalToInteger("k")
    .categoricalToOneHot("o", unseen="keep", asArray=True)
    .categoricalToOneHot("kind", unseen="keep")
    .firstDigit("n", "digit of n")
    .firstDigit("x", "digit of x", invalid="null")
    .firstDigit("text", "digit of text", invalid="other"),
    "back": START.categoricalToInteger("kind", unseen="keep").integerToCategorical("kind", ["z", "y"], unseen="null")
    .categoricalToOneHot("kind")
    .oneHotToCategorical("kind", ["z", "y"]),
    "pivot": START.pivot("kind", "n", default=None, unseen="keep"),
    "times": of_times(),
}  # fmt: skip
FUNCTIONS = "abs ceil floor round sqrt cbrt exp log log2 log1p sin asin tanh sign".split()


@pytest.fixture(scope="module")
def frame():
    from conftest import LOCAL, session_for

    return session_for(LOCAL).createDataFrame(ROWS, SCHEMA.toStructType()).coalesce(1).cache()


def same(found, expected):
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize("name", PROCESSES)
def test_a_record_becomes_what_spark_makes_of_its_row(frame, name):
    check(PROCESSES[name], frame)


def test_functions_of_a_record_are_sparks(frame):
    process = START.keep("id", "x")
    for name in FUNCTIONS:
        process = process.function(f"{name} of x", name, "x")
    check(process, frame)


def check(process, frame):
    expected = {row.id: row.asDict() for row in process.transform(frame).collect()}
    for row in ROWS:
        found = process.apply(dict(zip(SCHEMA.names, row)))
        wanted = expected.get(row[0])
        assert (found is None) == (wanted is None), row
        if wanted is not None:
            assert list(found) == process.schema.names
            different = {name: (found[name], wanted[name]) for name in wanted if not same(found[name], wanted[name])}
            assert not different, row


@pytest.mark.parametrize(
    "process, record, error, message",
    [
        (START.keep("n"), {"n": "7"}, ValueError, "Received: '7' in column 'n'. Expected: integer ≥ -7"),
        (START.keep("n"), {"n": True}, ValueError, "Received: True in column 'n'"),
        (START.keep("n"), {"n": 2**31}, ValueError, "Received: 2147483648 in column 'n'"),
        (
            START.keep("kind").categoricalToInteger("kind"),
            {"kind": "z"},
            ValueError,
            "Unusable value in column 'kind', step categoricalToInteger. Received: 'z'",
        ),
        (
            START.groupBy("kind").agg(n=countRows()),
            {"kind": "a"},
            NotImplementedError,
            "No form of step groupBy for one record",
        ),
        (START.keep("at").parseTime("at", "EEE yyyy"), {"at": "x"}, ValueError, "with 'EEE'"),
    ],
)
def test_what_one_record_cannot_be_is_refused(process, record, error, message):
    with pytest.raises(error, match=message):
        process.apply(record)
