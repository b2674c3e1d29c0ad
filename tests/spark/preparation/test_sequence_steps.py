"""Steps within sequences, figures of sequences, windows over time, the way back to rows, against pandas and numpy."""

from __future__ import annotations

import datetime
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from spark_keras.preparation import Schema, TransformProcess, allSteps, anyStep, col, countRows

UTC = datetime.timezone.utc
# plane, hour, delay, seats, late, carrier
ROWS = [
    ("a", 0, 10.0, 3, True, "UA"), ("a", 1, -2.5, 4, False, "AA"), ("a", 2, None, None, None, None),
    ("a", 3, math.nan, 4, True, "UA"), ("a", 5, 7.0, 9, False, "DL"),
    ("b", 0, 1.0, 2**31 - 1, False, "AA"), ("b", 23, 4.0, -1, False, "AA"), ("b", 24, 2.0, 0, True, "UA"),
    ("c", 4, 5.0, 7, True, "DL"),
]  # fmt: skip
SCHEMA = (
    Schema()
    .string("plane", nullable=False)
    .integer("hour")
    .double("delay", allowNaN=True)
    .integer("seats")
    .boolean("late")
    .categorical("carrier", ["UA", "AA", "DL"])
    .time("at", zone="Asia/Kathmandu")
)
TABLE = pd.DataFrame(ROWS, columns=["plane", "hour", "delay", "seats", "late", "carrier"])


@pytest.fixture(scope="module")
def frame():
    from conftest import LOCAL, session_for

    rows = [(*row, datetime.datetime(2020, 1, 1, tzinfo=UTC) + datetime.timedelta(hours=row[1])) for row in ROWS]
    return session_for(LOCAL).createDataFrame(rows, SCHEMA.toStructType()).repartition(5, "seats").cache()


def start():
    return TransformProcess(SCHEMA).toSequences(by="plane", orderBy="hour")


def rows_of(process, frame):
    """The rows, after checks that every process must pass."""
    copy = TransformProcess.fromJSON(process.toJSON())
    assert str(copy) == str(process) and copy.schema == process.schema
    made = copy.transform(frame)
    assert made.columns == process.schema.names
    assert [f.dataType.simpleString() for f in made.schema] == [f.sparkType.simpleString() for f in process.schema]
    return made.collect()


def by_plane(process, frame):
    return {row.plane: row for row in rows_of(process, frame)}


def same(values, expected):
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected):
        if wanted is None or value is None:
            assert value is None and wanted is None
        elif isinstance(wanted, float):
            assert value == pytest.approx(wanted, rel=1e-12, nan_ok=True)
        else:
            assert value == wanted


# --- steps for single rows, within each time step ---------------------------------------------------------------------


def of_rows(process):
    """Steps of each kind, for rows and for time steps alike."""
    figures = {"scaled": SimpleNamespace(mean=5.0, stdev=2.0)}
    return (
        process.arithmetic("total", "+", "seats", "hour", 1)
        .arithmetic("half", "/", "seats", 2)
        .function("root", "sqrt", "delay")
        .constant("zero", 0)
        .replaceMissing({"delay": -1.0})
        .replaceWhere("carrier", None, (col("hour") == 3) ^ col("late"))
        .replaceWhere("late", True, col("late").isNull(), otherwise=False)
        .duplicate("carrier", "number")
        .categoricalToInteger("number")
        .categoricalToOneHot("carrier")
        .deriveTime("at", {"hour of day": "hour"})
        .addTime("at", 1, "days")
        .deriveTime("at", {"day": "day"})
        .duplicate("seats", "scaled")
        .standardise("scaled", analysis=figures)
        .duplicate("scaled", "again")
        .denormalise({"again": "scaled"})
        .cast({"hour": "string"})
        .duplicate("hour", "text")
        .appendString("text", " h")
        .cast({"hour": "integer"})
    )


@pytest.mark.slow
@pytest.mark.oldest
def test_steps_for_rows_work_within_each_time_step(frame):
    expected = of_rows(TransformProcess(SCHEMA)).toSequences(by="plane", orderBy="hour")
    within = of_rows(start())
    assert within.schema["total"].description == "sequence of long"
    found, wanted = by_plane(within, frame), by_plane(expected, frame)
    for plane in "abc":
        for name in expected.schema.names:
            if name == "zero":
                # A constant is the same in all time steps.
                assert found[plane].zero == 0
            elif name != "plane":
                same(found[plane][name], wanted[plane][name])
    assert found["a"].total == [4, 6, None, 8, 15] and found["b"]["carrier[AA]"] == [1, 1, None]
    assert found["b"].again == [2**31 - 1, -1, 0] and found["a"].scaled[:3] == [-1.0, -0.5, None]


@pytest.mark.oldest
def test_unusable_values_within_sequences_follow_the_rule_and_are_counted(frame):
    lenient = start().toCategorical("carrier", ["UA", "AA"], unseen="null").cast({"seats": "string"})
    lenient = lenient.cast({"seats": "boolean"}, invalid="null")
    assert [carrier for carrier in by_plane(lenient, frame)["a"].carrier] == ["UA", "AA", None, "UA", None]
    strict = start().toCategorical("carrier", ["UA", "AA"])
    problems = strict.problems(frame)
    assert [(p.step, p.column, p.count, p.examples) for p in problems] == [("toCategorical", "carrier", 2, ("DL",))]
    with pytest.raises(Exception, match="Unusable value in column 'carrier', step toCategorical. Received: DL"):
        strict.transform(frame).collect()


# --- time steps and sequences that stay ------------------------------------------------------------------------------


@pytest.mark.oldest
def test_time_steps_and_sequences_stay_by_conditions(frame):
    kept = by_plane(start().keepSteps(col("delay") > 1.5), frame)
    # NaN is larger than any number, and null is unknown.
    assert {plane: row.hour for plane, row in kept.items()} == {"a": [0, 3, 5], "b": [23, 24], "c": [4]}
    assert kept["a"].carrier == ["UA", "UA", "DL"]
    removed = by_plane(start().removeSteps(col("delay") > 1.5), frame)
    assert {plane: row.hour for plane, row in removed.items()} == {"a": [1, 2], "b": [0], "c": []}
    for condition, planes in [
        (anyStep(col("carrier") == "DL"), "ac"),
        (allSteps(col("seats") < 10), "c"),
        (allSteps(col("delay").isNotNull() & (col("delay") >= 1)), "bc"),
        (col("delay").length() >= 3, "ab"),
        (~anyStep(col("late").isNull()) & (col("plane") != "c"), "b"),
    ]:
        assert sorted(by_plane(start().keepWhere(condition), frame)) == list(planes), str(condition)


@pytest.mark.oldest
def test_back_to_rows(frame):
    process = start().removeSteps(col("carrier") == "DL").toRows(position="step")
    assert process.schema.names == [*SCHEMA.names, "step"] and process.schema["carrier"].kind == "categorical"
    found = [tuple(row) for row in rows_of(process.remove("delay", "at", "late", "seats"), frame)]
    table = TABLE[TABLE.carrier != "DL"]
    positions = table.groupby("plane").cumcount()
    carriers = [carrier if isinstance(carrier, str) else None for carrier in table.carrier]
    expected = list(zip(table.plane, table.hour, carriers, positions))
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert start().toRows().schema == SCHEMA


# --- figures, differences, offsets, moving windows -------------------------------------------------------------------


@pytest.mark.oldest
def test_figures_of_sequences_are_those_of_groups(frame):
    reductions = dict(
        n=countRows(), late=countRows(where=col("late")), count=col("carrier").count(),
        distinct=col("carrier").countDistinct(),
        seats=col("seats").sum(), delay=col("delay").sum(where=col("hour") != 3), mean=col("seats").mean(),
        stdev=col("seats").stdev(), variance=col("seats").variance(), ps=col("seats").populationStdev(),
        pv=col("seats").populationVariance(), median=col("seats").median(), least=col("seats").min(),
        most=col("delay").max(), range=col("seats").range(), product=col("seats").product(where=col("late")),
        first=col("carrier").first(by="seats"), last=col("carrier").last(by="seats", where=~col("late")),
        text=col("carrier").append(by="hour", separator="-"), back=col("carrier").prepend(by="hour"),
    )  # fmt: skip
    reductions = {f"the {name}": reduction for name, reduction in reductions.items()}
    groups = by_plane(TransformProcess(SCHEMA).groupBy("plane").agg(**reductions), frame)
    process = start().reduceSequences(**reductions).keep("plane", *reductions)
    assert process.schema == TransformProcess(SCHEMA).groupBy("plane").agg(**reductions).schema
    sequences = by_plane(process, frame)
    for plane in "abc":
        same(list(sequences[plane]), list(groups[plane]))
    assert sequences["a"]["the text"] == "UA-AA-UA-DL" and sequences["a"]["the median"] == 4.0
    assert sequences["b"]["the seats"] == 2**31 - 2
    ordered = start().reduceSequences(
        first=col("carrier").first(),
        last=col("carrier").last(where=col("late")),
        text=col("carrier").append(),
        back=col("carrier").prepend(separator=" ", where=col("seats") > 3),
        none=col("seats").sum(where=col("hour") > 99),
        zero=countRows(where=col("hour") > 99),
    )
    row = by_plane(ordered, frame)["a"]
    assert list(row)[-6:] == ["UA", "UA", "UAAAUADL", "DL UA AA", None, 0]


@pytest.mark.oldest
def test_differences_and_offsets_are_those_of_pandas(frame):
    process = (
        start()
        .difference("seats", "more seats", fill=0)
        .difference("delay", "later", 2, edge="null")
        .lag("seats", "before", 2, fill=-7)
        .lead("carrier", "next", fill="DL")
    )
    assert process.schema["more seats"].description == "sequence of long"
    found = by_plane(process, frame)
    for plane, rows in TABLE.groupby("plane"):
        same(found[plane]["more seats"], listed(rows.seats.diff().mask(rows.seats.reset_index().index == 0, 0)))
        later = [None if a is None or b is None else b - a for a, b in zip(plain(rows.delay), plain(rows.delay)[2:])]
        same(found[plane].later, [None] * min(2, len(rows)) + later)
        same(found[plane].before, ([-7] * 2 + plain(rows.seats)[:-2])[: len(rows)])
        assert found[plane].next == [*plain(rows.carrier)[1:], "DL"]
    trimmed = by_plane(start().difference("seats", "more"), frame)
    assert trimmed["a"].hour == [1, 2, 3, 5] and trimmed["a"].more == [1, None, None, 5] and trimmed["c"].more == []
    assert trimmed["b"].more == [-(2**31), 1]


def plain(values):
    """Values as rows have them, nulls apart from NaN."""
    name = values.name
    position = list(TABLE.columns).index(name)
    return [ROWS[i][position] for i in values.index]


def listed(values):
    return [None if math.isnan(value) else int(value) for value in values]


MOVING = {
    "sum": lambda w: w.sum(), "mean": lambda w: w.mean(), "median": lambda w: w.median(), "min": lambda w: w.min(),
    "max": lambda w: w.max(), "range": lambda w: w.max() - w.min(), "product": lambda w: w.prod(),
    "stdev": lambda w: w.std(), "variance": lambda w: w.var(), "populationStdev": lambda w: w.std(ddof=0),
    "populationVariance": lambda w: w.var(ddof=0), "count": lambda w: float(w.count()),
    "countDistinct": lambda w: float(w.nunique()), "first": lambda w: w.iloc[0], "last": lambda w: w.iloc[-1],
}  # fmt: skip


@pytest.mark.oldest
def test_any_function_in_moving_windows(frame):
    process = start()
    for function in MOVING:
        process = process.movingWindow(f"moving {function}", "seats", function, 3)
    found = by_plane(process, frame)
    for plane, rows in TABLE.groupby("plane"):
        for function, figure in MOVING.items():
            windows = [rows.seats.iloc[max(0, i - 2) : i + 1].dropna() for i in range(len(rows))]
            expected = [float(figure(window)) if len(window) else None for window in windows]
            same(found[plane][f"moving {function}"], [None if v is None or math.isnan(v) else v for v in expected])
        for function in MOVING:
            if not process.schema[f"moving {function}"].element.nullable:
                assert None not in found[plane][f"moving {function}"]


# --- windows over time, equal parts ----------------------------------------------------------------------------------


def windows_by_hand(hours, length, every, offset, keep_empty):
    """{start: hours in it}, in hours since 2020-01-01 00:00 UTC."""
    low, high = min(hours) - 10 * (length + every), max(hours) + length
    first = low - (low - offset) % every
    windows = {s: [h for h in hours if s <= h < s + length] for s in range(first, high + 1, every)}
    filled = [s for s, inside in windows.items() if inside]
    if keep_empty and filled:
        return {s: inside for s, inside in windows.items() if filled[0] <= s <= filled[-1]}
    return {s: windows[s] for s in filled}


@pytest.mark.oldest
@pytest.mark.parametrize(
    "length, every, offset, keep_empty", [(2, 2, 0, False), (3, 1, 0, True), (4, 2, 1, False), (1, 3, 0, True)]
)
def test_windows_over_time_plain_overlapping_and_reduced(frame, length, every, offset, keep_empty):
    process = (
        start()
        .timeWindows(
            f"{length} hours", on="at", every=f"{every} hours", offset=f"{offset} hours", start="from", end="to",
            keepEmpty=keep_empty,
        )
        .reduceSequences(hours=col("hour").sum(), n=countRows())
        .deriveTime("from", {"start": "epochSeconds"})
        .deriveTime("to", {"end": "epochSeconds"})
    )  # fmt: skip
    found = {}
    origin = int(datetime.datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    for row in rows_of(process, frame):
        begin = (row.start - origin) // 3600
        assert row.end - row.start == length * 3600
        assert (row.hours, row.n) == (sum(row.hour) if row.hour else None, len(row.hour))
        assert begin not in found.setdefault(row.plane, {})
        found[row.plane][begin] = row.hour
    for plane, rows in TABLE.groupby("plane"):
        expected = windows_by_hand(list(rows.hour), length, every, offset, keep_empty)
        assert found.get(plane, {}) == expected, plane


def test_windows_of_days_begin_at_midnight_in_the_columns_zone(frame):
    spark = frame.sparkSession
    zone = "Europe/Berlin"
    # The days on which clocks go forward and back, each from midnight to midnight.
    times = pd.date_range("2021-03-27 22:00", periods=40, freq="h", tz=zone).append(
        pd.date_range("2021-10-30 22:00", periods=40, freq="h", tz=zone)
    )
    rows = [("k", int(at.timestamp())) for at in times]
    df = spark.createDataFrame(rows, "key string, at long")
    process = (
        TransformProcess(df)
        .epochToTime("at", zone=zone)
        .duplicate("at", "day")
        .toSequences(by="key", orderBy="at")
        .timeWindows("1 day", on="at", start="from", end="to")
        .deriveTime("from", {"start": "epochSeconds", "hour": "hour", "date": "date"})
        .reduceSequences(n=countRows())
    )
    found = {row.date: (row.n, row.hour, row.start) for row in process.transform(df).collect()}
    for day, group in times.to_series().groupby(times.date):
        assert found.pop(day) == (len(group), 0, int(pd.Timestamp(day, tz=zone).timestamp()))
    assert not found
    days = TransformProcess(df).epochToTime("at", zone=zone).deriveTime("at", {"day": "date"}).remove("at")
    days = days.toSequences(by="key", orderBy="day").timeWindows("7 days", on="day", offset="4 days", start="monday")
    with pytest.raises(ValueError, match="Column 'day' does not fit step timeWindows. Received: date"):
        days.timeWindows("12 hours", on="day")
    mondays = {row.monday: len(row.day) for row in days.transform(df).collect()}
    expected = times.to_series().groupby([d - datetime.timedelta(days=d.weekday()) for d in times.date]).size()
    assert mondays == expected.to_dict()


@pytest.mark.oldest
def test_equal_parts_are_those_of_numpy(frame):
    df = frame.sparkSession.range(23).selectExpr("CASE WHEN id < 16 THEN 1 ELSE 2 END AS key", "id")
    for length in (1, 3, 5, 7, 30):
        process = TransformProcess(df).toSequences(by="key", orderBy="id").splitSequences(length=length, equal=True)
        found = sorted(row.id for row in process.transform(df).collect())
        expected = []
        for values in (range(16), range(16, 23)):
            expected += [part.tolist() for part in np.array_split(np.array(values), -(-len(values) // length))]
        assert found == expected
    empty = TransformProcess(df).toSequences(by="key", orderBy="id").removeSteps(col("id") >= 0)
    assert empty.splitSequences(length=2, equal=True).transform(df).count() == 0


def test_sequences_are_made_without_their_labels_as_rows_are(frame):
    process = (
        TransformProcess(SCHEMA, labels=["late", "carrier"])
        .toSequences(by="plane", orderBy="hour")
        .categoricalToInteger("carrier")
        .cast({"late": "integer", "seats": "double"})
        .reduceSequences(n=countRows(), last=col("late").last())
    )
    whole, scored = by_plane(process, frame), process.transform(frame.drop("late", "carrier"))
    assert scored.columns == ["plane", "hour", "delay", "seats", "at", "n"]
    for row in scored.collect():
        # As text, because NaN is not equal to itself.
        assert str(list(row)) == str([whole[row.plane][name] for name in scored.columns])
