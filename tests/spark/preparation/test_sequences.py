"""Sequences against pandas: made, split, windowed, trimmed, padded, offset, stacked."""

from __future__ import annotations

import datetime

import keras
import numpy as np
import pandas as pd
import pytest

from spark_keras.preparation import Schema, TransformProcess

# The rows of a plane by hour; the hours of plane "b" have gaps, and one of its times and delays is missing.
HOURS = {"a": [0, 1, 2, 3, 4, 5], "b": [7, 0, 1, None, 8, 20], "c": [3]}
ROWS = [
    (plane, hour, float(10 * hour) if hour not in (8, None) else None, hour in (1, 3), f"{plane}{hour}")
    for plane, hours in HOURS.items()
    for hour in hours
]


@pytest.fixture(scope="module")
def frame():
    from conftest import LOCAL, session_for

    spark = session_for(LOCAL)
    frame = spark.createDataFrame(ROWS, "plane string, hour int, delay double, late boolean, code string")
    frame = frame.selectExpr("*", "timestamp_seconds(hour * 3600) AS at").orderBy("code", ascending=False)
    return frame.repartition(7).cache()


def start(frame):
    return TransformProcess(Schema.of(frame)).toSequences(by="plane", orderBy="hour")


def found(process, frame, *names):
    rows = process.transform(frame).collect()
    made = process.transform(frame).schema
    assert made.names == process.schema.names
    assert [f.dataType.simpleString() for f in made.fields] == [f.sparkType.simpleString() for f in process.schema]
    assert str(TransformProcess.fromJSON(process.toJSON())) == str(process)
    result = {}
    for row in sorted(rows, key=lambda row: (row.plane, str(row.code))):
        result.setdefault(row.plane, []).append([row[name] for name in names])
    return result


def by_pandas():
    """plane: its rows in order, as dicts; a missing hour first."""
    table = pd.DataFrame(ROWS, columns=["plane", "hour", "delay", "late", "code"]).astype(object)
    table = table.where(table.notna(), None)
    ordered = {}
    for plane, group in table.groupby("plane"):
        ordered[plane] = group.sort_values("hour", na_position="first").to_dict("records")
    return ordered


@pytest.mark.oldest
def test_rows_become_ordered_arrays(frame):
    made = found(start(frame), frame, "hour", "delay", "late", "code")
    for plane, rows in by_pandas().items():
        assert made[plane] == [[[row[name] for row in rows] for name in ("hour", "delay", "late", "code")]]


def test_ties_are_ordered_by_the_other_columns(frame):
    process = TransformProcess(Schema.of(frame).without(["at"])).toSequences(by=["late"], orderBy=["plane"])
    once = {row.late: row.code for row in process.transform(frame.drop("at")).collect()}
    again = {row.late: row.code for row in process.transform(frame.drop("at").repartition(3, "hour")).collect()}
    assert once == again
    assert [code[0] for code in once[False]] == sorted(code[0] for code in once[False])


@pytest.mark.oldest
@pytest.mark.parametrize(
    "gap", [{"gap": 2, "on": "hour"}, {"gap": "2 hours", "on": "at"}, {"gap": datetime.timedelta(hours=2), "on": "at"}]
)
def test_split_by_a_gap(frame, gap):
    made = found(start(frame).splitSequences(**gap), frame, "hour")
    assert made["a"] == [[[0, 1, 2, 3, 4, 5]]] and made["c"] == [[[3]]]
    assert sorted(map(str, made["b"])) == sorted(map(str, [[[20]], [[7, 8]], [[None, 0, 1]]]))


@pytest.mark.oldest
def test_split_by_length_and_windows(frame):
    made = found(start(frame).splitSequences(length=4), frame, "hour", "code")
    assert [part[0] for part in made["a"]] == [[0, 1, 2, 3], [4, 5]]
    assert [part[1] for part in made["a"]] == [["a0", "a1", "a2", "a3"], ["a4", "a5"]]
    for length, step in ((3, 1), (2, 2), (6, 1), (4, 3)):
        process = start(frame).windows(length, step)
        assert process.schema["hour"].length == length
        made = found(process, frame, "hour")
        view = np.lib.stride_tricks.sliding_window_view(np.arange(6), length)[::step]
        assert [part[0] for part in made["a"]] == view.tolist()
        assert "c" not in made


def test_trim_and_element(frame):
    process = start(frame).windows(4).trimSequences(first=1, last=2).element("hour", "only").element("late", "none", 3)
    assert process.schema["hour"].length == 1
    assert found(process, frame, "hour", "only", "none")["a"] == [[[1], 1, None], [[2], 2, None], [[3], 3, None]]
    assert found(start(frame).trimSequences(last=9), frame, "hour")["a"] == [[[]]]


@pytest.mark.parametrize(
    "length, padding, truncating",
    [(4, "pre", "pre"), (4, "post", "post"), (9, "pre", "post"), (9, "post", "pre"), (1, "pre", "post")],
)
def test_pad_as_keras_does(frame, padding, truncating, length):
    process = start(frame).padSequences(length, value=-1, padding=padding, truncating=truncating, mask="there")
    made = found(process, frame, "hour", "there", "code")
    for plane in ("a", "c"):
        options = dict(maxlen=length, padding=padding, truncating=truncating)
        expected = keras.utils.pad_sequences([HOURS[plane]], value=-1, **options)[0]
        ones = keras.utils.pad_sequences([[1] * len(HOURS[plane])], **options)[0]
        ((hours, there, code),) = made[plane]
        assert hours == expected.tolist() and there == ones.tolist()
        assert code == [f"{plane}{hour}" if mask else None for hour, mask in zip(hours, there)]


@pytest.mark.oldest
def test_lag_and_lead_are_shifts(frame):
    for edge in ("trim", "null"):
        process = start(frame).lag("delay", "before", 2, edge=edge).lead("code", "next", edge=edge)
        assert process.schema.names == ["plane", "hour", "delay", "before", "late", "code", "next", "at"]
        made = found(process, frame, "delay", "before", "code", "next")
        for plane, rows in by_pandas().items():
            table = pd.DataFrame(rows)[["delay", "code"]].astype(object)
            table["before"], table["next"] = table.delay.shift(2), table.code.shift(-1)
            if edge == "trim":
                table = table.iloc[2 : max(len(table) - 1, 2)]
            table = table.astype(object).where(table.notna(), None)
            assert made[plane] == [[table[name].tolist() for name in ("delay", "before", "code", "next")]]


@pytest.mark.oldest
def test_moving_windows_are_those_of_pandas(frame):
    process = start(frame)
    for function in ("sum", "mean", "min", "max"):
        process = process.movingWindow(function, "delay", function, 3)
    made = found(process, frame, "sum", "mean", "min", "max")
    for plane, rows in by_pandas().items():
        delays = pd.Series([row["delay"] for row in rows], dtype=float)
        for function, values in zip(("sum", "mean", "min", "max"), made[plane][0]):
            expected = getattr(delays.rolling(3, min_periods=1), function)()
            assert [np.nan if v is None else v for v in values] == pytest.approx(expected.tolist(), nan_ok=True)


@pytest.mark.oldest
def test_stacked_sequences_are_ready_for_a_recurrent_network(frame):
    process = start(frame).splitSequences(gap=2, on="hour").padSequences(4).stackSequences("x", "delay", "late")
    assert process.schema["x"].shape == (4, 2) and process.schema.names == ["plane", "hour", "x", "code", "at"]
    ((x, _),) = found(process, frame, "x", "code")["c"]
    assert x == [[0.0, None], [0.0, None], [0.0, None], [30.0, 1.0]]
    stacked = start(frame).windows(3).stackSequences("x", "hour", "late")
    parts = np.asarray([part[0] for part in found(stacked, frame, "x", "code")["a"]])
    assert parts.shape == (4, 3, 2) and parts[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


def test_no_rows_give_no_sequences(frame):
    process = start(frame).splitSequences(length=2).padSequences(3)
    assert process.transform(frame.where("hour > 99")).count() == 0


def test_steps_on_sequences_are_refused_without_any(frame):
    process = TransformProcess(Schema.of(frame))
    for step in (
        lambda: process.padSequences(3),
        lambda: process.windows(2),
        lambda: process.splitSequences(length=2),
        lambda: process.trimSequences(first=1),
    ):
        with pytest.raises(ValueError, match="No sequences for step .* Expected: sequences; toSequences makes them"):
            step()
    with pytest.raises(
        ValueError, match="Column 'hour' does not fit step lag. Received: integer. Expected: a sequence"
    ):
        process.lag("hour", "before")
    with pytest.raises(ValueError, match="Column 'code' does not fit step stackSequences. Received: string"):
        start(frame).stackSequences("x", "code")
    with pytest.raises(ValueError, match="does not fit step splitSequences. Received: integer. Expected: time or date"):
        start(frame).splitSequences(gap="1 hour", on="hour")
    with pytest.raises(ValueError, match="wants `gap` and `on`, or `length`"):
        start(frame).splitSequences(gap=1)
    with pytest.raises(ValueError, match="Invalid gap in step splitSequences. Received: 'often'"):
        start(frame).splitSequences(gap="often", on="at")


@pytest.mark.parametrize(
    "values, gap, expected",
    [
        ([0, None, 100, 101], 10, [[0, None], [100, 101]]),
        ([None, 0, None, None, 5, 30], 10, [[None, 0, None, None, 5], [30]]),
        ([0, None, 5, None], 10, [[0, None, 5, None]]),
        ([None, None], 10, [[None, None]]),
        ([-(2**63) + 1, 2**63 - 1], 10, [[-(2**63) + 1], [2**63 - 1]]),
    ],
)
def test_a_gap_around_a_missing_value_splits(spark, values, gap, expected):
    df = spark.createDataFrame([(1, i, value) for i, value in enumerate(values)], "key int, place int, at long")
    process = TransformProcess(df).toSequences(by="key", orderBy="place").splitSequences(gap=gap, on="at")
    assert sorted((row.at for row in process.transform(df).collect()), key=expected.index) == expected


def test_nan_is_no_gap(spark):
    rows = [(1, i, value) for i, value in enumerate([0.0, float("nan"), 1.0, float("nan"), 50.0])]
    df = spark.createDataFrame(rows, "key int, place int, at double")
    process = TransformProcess(df).toSequences(by="key", orderBy="place").splitSequences(gap=10, on="at")
    assert sorted(row.place for row in process.transform(df).collect()) == [[0, 1, 2, 3], [4]]
