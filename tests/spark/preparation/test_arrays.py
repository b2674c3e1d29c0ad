"""Arrays and distances inside of a process, and imputed figures, against numpy, keras and pandas."""

from __future__ import annotations

import datetime
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from pyspark.sql import functions as F
from transformed import rows_of

from spark_keras import DataFrameAnalyzer
from spark_keras.preparation import Schema, TransformProcess

SCHEMA = (
    Schema()
    .integer("id", nullable=False)
    .double("x", "y", allowNaN=True)
    .integer("n")
    .boolean("flag")
    .array("v", "w", element="float", shape=(4,))
    .array("free", element="integer")
    .array("m", shape=(2, 2))
    .categorical("kind", ["a", "b"])
    .date("day")
)
DAY = datetime.date(2020, 1, 1)
ROWS = [
    (1, 0.5, 2.0, 3, True, [1.0, -2.0, 3.0, 0.5], [2.0, 2.0, 0.0, 4.0], [5, 6, 7], [[1.0, 2.0], [3.0, 4.0]], "b", DAY),
    (2, -1.5, 0.0, 3, False, [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [], [[0.0, -1.0], [9.0, 1.0]], "b", DAY),
    (3, None, None, None, None, None, None, None, None, None, None),
    (4, 2.5, math.nan, 8, True, [4.0, 3.0, 2.0, 1.0], [0.5, 0.25, -1.0, 8.0], [9, 8, 7, 6, 5], [[5.0, 5.0], [6.0, 7.0]],
     "a", DAY + datetime.timedelta(1)),
    (5, 9.0, 4.0, 1, False, [1.0, 1.0, 2.0, 2.0], [3.0, 1.0, 2.0, 0.0], [1], [[2.0, 2.0], [2.0, 2.0]], "a",
     DAY + datetime.timedelta(1)),
]  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    from conftest import LOCAL, session_for

    return session_for(LOCAL).createDataFrame(ROWS, SCHEMA.toStructType()).repartition(3, "id").cache()


@pytest.mark.oldest
def test_arrays_are_computed_as_numpy_does(frame):
    figures = {
        "sum": np.sum, "mean": np.mean, "median": np.median, "min": np.min, "max": np.max, "range": np.ptp,
        "product": np.prod, "stdev": lambda a: np.std(a, ddof=1), "populationVariance": np.var,
        "norm": lambda a: np.sqrt((a**2).sum()), "count": np.size,
    }  # fmt: skip
    process = (
        TransformProcess(SCHEMA)
        .toArray("all", "x", "flag", "v", "n")
        .arrayArithmetic("sum", "+", "v", "w", 1)
        .arrayArithmetic("scaled", "*", "x", "m")
        .arrayArithmetic("below", "-", 1, "v")
        .arrayArithmetic("ratio", "/", "v", "w")
        .arrayArithmetic("least", "min", "v", "w")
        .arrayArithmetic("matrix", "-", "m", "m")
        .arrayFunction("exp", "exp", "m")
        .arrayDistance("euclidean", "v", "w")
        .arrayDistance("manhattan", "v", "w", metric="manhattan")
        .arrayDistance("cosine", "v", "w", metric="cosine")
        .toArray("turned", "v")
        .reshape("turned", (2, 2))
        .flipArray("turned", 0)
        .toArray("mirrored", "v")
        .reshape("mirrored", (2, 2))
        .flipArray("mirrored", 1)
        .reshape("m", [4])
        .reshape("v", (2, 2))
        .reshape("w", (2, 1, 2))
    )
    for name in figures:
        process = process.reduceArray(f"{name} of v", name, "v")
    process = process.reduceArray("sum of free", "sum", "free").padArray("free", 3, value=-1, padding="pre")
    assert process.schema["all"].shape == (7,) and process.schema["scaled"].shape == (2, 2)
    assert process.schema["w"].shape == (2, 1, 2) and process.schema["free"].description == "array of integer (3)"
    for row, given in zip(rows_of(process, frame), ROWS):
        id_, x, _, n, flag, v, w, free, m, *_ = given
        if id_ == 3:
            assert {row[name] for name in process.schema.names if name != "id"} == {None}
            continue
        v, w, m = np.array(v), np.array(w), np.array(m)
        assert row["all"] == [x, float(flag), *v, float(n)]
        for name, expected in {
            "sum": v + w + 1, "scaled": x * m, "below": 1 - v, "least": np.minimum(v, w), "matrix": m - m,
            "exp": np.exp(m), "m": m.reshape(4), "v": v.reshape(2, 2), "w": w.reshape(2, 1, 2),
            "turned": np.flip(v.reshape(2, 2), 0), "mirrored": np.flip(v.reshape(2, 2), 1),
        }.items():  # fmt: skip
            np.testing.assert_allclose(np.array(row[name]), expected, rtol=1e-12)
        assert row.ratio == pytest.approx([None if b == 0 else a / b for a, b in zip(v, w)])
        assert row.euclidean == pytest.approx(np.linalg.norm(v - w))
        assert row.manhattan == pytest.approx(np.abs(v - w).sum())
        cosine = 1 - v @ w / (np.linalg.norm(v) * np.linalg.norm(w)) if v.any() else None
        assert row.cosine == pytest.approx(cosine)
        for name, figure in figures.items():
            assert row[f"{name} of v"] == pytest.approx(float(figure(v))), name
        assert row["sum of free"] == (sum(free) if free else None)
        padded = keras.utils.pad_sequences([free], maxlen=3, value=-1, padding="pre", truncating="post")[0]
        assert row.free == padded.tolist()


def test_arrays_that_do_not_fit_are_refused(frame):
    process = TransformProcess(SCHEMA)
    for step, message in [
        (lambda: process.arrayArithmetic("o", "+", "v", "m"), "Arrays of step arrayArithmetic do not fit each other"),
        (lambda: process.arrayArithmetic("o", "+", "x", "y"), "Wrong operands in step arrayArithmetic. .*at leas"),
        (lambda: process.arrayArithmetic("o", "**", "v", 2), "Invalid operator in step arrayArithmetic"),
        (lambda: process.arrayFunction("o", "exp", "kind"), "Column 'kind' does not fit step arrayFunction"),
        (lambda: process.arrayFunction("x", "exp", "v"), "New column of step arrayFunction is there already"),
        (lambda: process.arrayDistance("o", "m", "m"), "Column 'm' does not fit step arrayDistance. .*a flat array"),
        (lambda: process.reshape("v", (3, 2)), "Shape does not fit column 'v' in step reshape. Received: \\(3, 2"),
        (lambda: process.reshape("v", ()), "Invalid shape in step reshape"),
        (lambda: process.flipArray("v", 1), "Invalid axis in step flipArray. Received: 1. Expected: 0 to 0"),
        (lambda: process.padArray("free", 3, value=0.5), "Value does not fit column 'free' in step padArray"),
        (lambda: process.toArray("o", "x", "m"), "Column 'm' does not fit step toArray"),
        (lambda: process.reduceArray("o", "mode", "v"), "Invalid function in step reduceArray. Received: 'mode'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            step()
    for made, message in [
        (process.arrayArithmetic("o", "+", "v", "free"), "Arrays of step arrayArithmetic differ in length"),
        (process.reshape("free", (3, 1)), "Array of column 'free' does not fit step reshape. Received: \\d elem"),
    ]:  # fmt: skip
        with pytest.raises(Exception, match=message):
            made.transform(frame).collect()


@pytest.mark.oldest
def test_distances_of_points(spark):
    # Published: Nashville to Los Angeles 2887.2600 km with a radius of 6372.8 km (Rosetta Code, "Haversine formula").
    rows = [(36.12, -86.67, 33.94, -118.40), (0.0, 0.0, 0.0, 180.0), (10.0, 20.0, 10.0, 20.0), (90.0, 0.0, -90.0, 77.0)]
    df = spark.createDataFrame([*rows, (1.0, None, 2.0, 3.0)], "a double, b double, c double, d double")
    process = TransformProcess(df)
    for metric in ("euclidean", "manhattan", "haversine"):
        process = process.distance(metric, ["a", "b"], ["c", "d"], metric=metric)
    found = {tuple(row[:4]): row for row in process.transform(df).collect()}
    for a, b, c, d in rows:
        row = found[a, b, c, d]
        assert row.euclidean == pytest.approx(math.hypot(a - c, b - d))
        assert row.manhattan == abs(a - c) + abs(b - d)
    radius = 6371.0088
    kilometres = [2887.2599506071106 / 6372.8 * radius, math.pi * radius, 0.0, math.pi * radius]
    assert [found[row].haversine for row in rows] == pytest.approx(kilometres, rel=1e-9)
    assert found[1.0, None, 2.0, 3.0].haversine is None
    with pytest.raises(ValueError, match="Wrong coordinates in step distance. Received: \\['a'\\] and \\['b'\\]"):
        process.distance("o", ["a"], ["b"], metric="haversine")
    with pytest.raises(ValueError, match="Expected: as many columns for both points"):
        process.distance("o", ["a", "b"], ["c"])


# --- imputed figures -------------------------------------------------------------------------------------------------


def test_median_and_most_frequent_value_are_imputed_of_whole_numbers_too(frame):
    analysis = DataFrameAnalyzer(inputCols=["x", "y", "n", "kind"]).fit(
        frame.where(~F.isnan("y") | F.col("y").isNull())
    )
    process = TransformProcess(SCHEMA)
    for source in (analysis, frame):
        made = (
            process.imputeMissing("x", "n", analysis=source, strategy="median")
            .imputeMissing("kind", analysis=source, strategy="mode")
            .imputeMissing("y", analysis=source, strategy="max")
        )
        assert not any(made.schema[name].nullable for name in ("x", "n", "kind", "y"))
        rows = rows_of(made, frame)
        # The least value that half of the values do not exceed: of 1, 3, 3 and 8; without the row of NaN, 1, 3 and 3.
        assert (rows[2].n, rows[2].y, rows[3].y) == (3, 4.0, 4.0)
        assert rows[2].x == 0.5 and rows[2].kind == ("b" if source is analysis else "a")
        assert str(TransformProcess.fromJSON(made.toJSON())) == str(made)
    modes = process.imputeMissing("n", "flag", "day", analysis=frame, strategy="mode")
    rows = rows_of(modes.imputeMissing("x", analysis=frame), frame)
    assert (rows[2].n, rows[2].flag, rows[2].day, rows[2].x) == (3, False, DAY, np.mean([0.5, -1.5, 2.5, 9.0]))
    sequences = process.keep("id", "x", "flag").toSequences(by="flag", orderBy="id")
    imputed = sequences.imputeMissing("x", analysis=frame, strategy="median").toRows()
    assert [row.x for row in rows_of(imputed, frame)] == [0.5, -1.5, 0.5, 2.5, 9.0]
    for impute, message in [
        (lambda: process.imputeMissing("n", analysis=frame), "Received: 3.75, the mean. Expected: a whole number"),
        (lambda: process.imputeMissing("n", analysis=analysis, strategy="mode"), "with no mode of column 'n'"),
        (lambda: process.imputeMissing("kind", analysis=frame, strategy="median"), "does not fit step imputeMissing"),
        (lambda: process.imputeMissing("x", analysis=frame.where("id = 3")), "No values for step imputeMissing"),
        (
            lambda: process.imputeMissing("x", analysis=frame.drop("x")),
            "Unknown column in the DataFrame of step impute",
        ),
        (lambda: process.imputeMissing("x", analysis={"x": SimpleNamespace()}, strategy="median"), "with no median"),
    ]:
        with pytest.raises(ValueError, match=message):
            impute()
