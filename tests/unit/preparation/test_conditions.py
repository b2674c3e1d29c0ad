"""Conditions that do not fit."""

from __future__ import annotations

import pytest

from spark_keras.preparation import Schema, TransformProcess, col

SCHEMA = (
    Schema()
    .integer("id", nullable=False)
    .string("text", maxLength=5)
    .integer("n", minimum=-100)
    .double("x", allowNaN=True)
    .boolean("flag")
    .array("v", element="double")
    .categorical("kind", ["a", "b"])
)


def test_conditions_that_do_not_fit_are_refused_when_the_step_is_added():
    process = TransformProcess(SCHEMA)
    for condition, message in [
        (col("n").isInfinite(), "Column 'n' does not fit step keepWhere. Received: integer .* Expected: float or doub"),
        (col("flag").matches("true"), "Column 'flag' does not fit step keepWhere. Received: boolean"),
        (col("n").length() > 1, "Received: integer .* Expected: a sequence, array, string or binary"),
        (col("v").length() > 1.5, "Invalid length of column 'v' in step keepWhere. Received: 1.5"),
        (col("flag") ^ (col("m") > 1), "Unknown column in step keepWhere. Received: 'm'"),
        (col("v").length().isIn(), "Expected: a whole number"),
    ]:
        with pytest.raises(ValueError, match=message):
            process.keepWhere(condition)
    with pytest.raises(TypeError, match="Invalid condition in \\^. Received: 1"):
        col("flag") ^ 1
