"""Steps within sequences that do not fit."""

from __future__ import annotations

import pytest

from spark_keras.preparation import Schema, TransformProcess, anyStep, col, countRows

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


def start():
    return TransformProcess(SCHEMA).toSequences(by="plane", orderBy="hour")


def test_steps_within_sequences_are_checked_when_they_are_added():
    for add, message in [
        (lambda p: p.function("x", "log", "late"), "Column 'late' does not fit step function. Received: boolean"),
        (lambda p: p.function("x", "log", "plane"), "Column 'plane' does not fit step function. Received: string"),
        (lambda p: p.function("at", "log", "delay"), "New column of step function is there already"),
        (lambda p: p.cast({"plane": "string", "late": "string"}), "'plane' does not fit step cast, which is taken in"),
        (lambda p: p.replaceWhere("plane", "x", col("delay") > 0), "'plane' does not fit step replaceWhere, which is"),
        (lambda p: p.rank("r", orderBy="delay"), "Column 'delay' does not fit step rank. Received: sequence of double"),
        (lambda p: p.keepSteps(col("dely") > 0), "Unknown column in step keepSteps. Received: 'dely'.*'delay'"),
        (lambda p: p.keepWhere(anyStep(col("late") > 0)), "Value does not fit column 'late' in step keepWhere"),
        (lambda p: p.keepWhere(col("delay") > 0), "Column 'delay' does not fit step keepWhere. Received: sequence of"),
        (lambda p: p.lag("delay", "d", fill="x"), "Value does not fit column 'delay' in step lag. Received: 'x'"),
        (lambda p: p.lag("delay", "d", fill=0.0, edge="null"), "Step lag wants `edge` or `fill`"),
        (lambda p: p.difference("late", "d"), "Column 'late' does not fit step difference. Received: boolean"),
        (lambda p: p.reduceSequences(x=col("plane").max()), "Column 'plane' does not fit step reduceSequences"),
        (lambda p: p.reduceSequences(x=col("late").sum()), "Column 'late' does not fit step reduceSequences, sum"),
        (lambda p: p.timeWindows("1 hour", on="hour"), "Column 'hour' does not fit step timeWindows"),
        (lambda p: p.timeWindows("1 moon", on="at"), "Invalid length in step timeWindows. Received: '1 moon'"),
        (lambda p: p.timeWindows("0 hours", on="at"), "Invalid window in step timeWindows"),
        (lambda p: p.splitSequences(gap=1, on="hour", equal=True), "makes equal parts by `length`"),
        (lambda p: p.toRows(position="at"), "New column of step toRows is there already. Received: 'at'"),
    ]:
        with pytest.raises(ValueError, match=message):
            add(start())
    for add in (lambda p: p.toRows(), lambda p: p.keepSteps(col("late")), lambda p: p.reduceSequences(n=countRows())):
        with pytest.raises(ValueError, match="No sequences for step .* Expected: sequences; toSequences makes them"):
            add(TransformProcess(SCHEMA))
    with pytest.raises(ValueError, match="No order in step groupBy, last. Received: by=None"):
        TransformProcess(SCHEMA).groupBy("plane").agg(x=col("delay").last())
