"""One record without Spark."""

from __future__ import annotations

import datetime
import subprocess
import sys

import pytest

from spark_keras.preparation import Schema, TransformProcess

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


def test_labels_and_unknown_columns_of_a_record_are_those_of_a_row():
    process = (
        TransformProcess(SCHEMA, labels="kind")
        .keep("n", "kind")
        .categoricalToInteger("kind")
        .function("r", "sqrt", "n")
    )
    assert process.apply({"N": 4, "kind": "b", "note": object}) == {"n": 4, "kind": 1, "r": 2.0, "note": object}
    assert process.apply({"n": 4}) == {"n": 4, "r": 2.0}
    with pytest.raises(ValueError, match="no column 'n' \\(integer ≥ -7\\), which step 'function' needs"):
        process.apply({"kind": "a"})


def test_times_of_a_record_are_those_of_its_zone():
    process = TransformProcess(Schema().time("t", zone="Europe/Berlin").time("w", zone=None)).deriveTime(
        "t", {"h": "hour"}
    )
    utc = datetime.timezone.utc
    for value, hour in [
        ("2020-07-01 12:00", 12),
        ("2020-07-01T12:00:00Z", 14),
        (datetime.datetime(2020, 7, 1, 12), 12),
        (datetime.datetime(2020, 7, 1, 12, tzinfo=utc), 14),
    ]:
        made = process.apply({"t": value, "w": None})
        assert made["h"] == hour and made["t"].utcoffset() == datetime.timedelta(hours=2)


def test_a_record_needs_no_session():
    code = (
        "from spark_keras.preparation import Schema, TransformProcess, col\n"
        "process = TransformProcess(Schema().double('x').string('label').labels('label'))"
        ".toCategorical('label', ['a']).arithmetic('y', '*', 'x', 2).keepWhere(col('y') > 1)\n"
        "assert process.apply({'x': 1.5}) == {'x': 1.5, 'y': 3.0}\n"
        "assert process.apply({'x': 0.5}) is None\n"
        "from pyspark import SparkContext\n"
        "assert SparkContext._gateway is None\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
