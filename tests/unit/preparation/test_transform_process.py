"""Transform processes as a whole: steps, refusals, what is printed."""

from __future__ import annotations

import pytest

from spark_keras.preparation import Schema, TransformProcess, col, countRows

SCHEMA = (
    Schema()
    .string("time", "customer", "merchant")
    .integer("items")
    .categorical("country", ["USA", "CAN", "FR", "MX"])
    .double("amount")
    .categorical("label", ["Fraud", "Legit"])
)


def test_a_step_makes_a_new_process_and_leaves_the_old_one():
    start = TransformProcess(SCHEMA)
    longer = start.remove("customer").remove("merchant").named("no merchants")
    assert start.steps == {} and start.schema == SCHEMA
    assert list(longer.steps) == ["remove", "no merchants"]
    assert longer.initialSchema == longer.schemaAfter(0) == SCHEMA
    assert "merchant" in longer.schemaAfter("remove") and "merchant" not in longer.schemaAfter(2)
    assert list(longer.remove("items").remove("label").steps) == ["remove", "no merchants", "remove 2", "remove 3"]
    with pytest.raises(ValueError, match="Unknown step. Received: 'drop'"):
        longer.schemaAfter("drop")
    with pytest.raises(ValueError, match="Invalid name of a step. Received: 'remove'"):
        longer.named("remove")


START = TransformProcess(SCHEMA)
REFUSED = [
    (lambda: START.remove("amout"), "Unknown column in step remove. Received: 'amout'.*Did you mean 'amount'"),
    (lambda: START.keep(), "No columns in step keep"),
    (lambda: START.rename({"time": "items"}), "New column of step rename is there already. Received: 'items'"),
    (lambda: START.duplicate("time", "items"), "New column of step duplicate is there already"),
    (lambda: START.constant("time", 1), "New column of step constant is there already"),
    (lambda: START.cast({"amount": "decimal"}), "Invalid type of column 'amount' in step cast. Received: 'decimal'"),
    (lambda: START.cast({"amount": "long"}, invalid="skip"), "Invalid rule `invalid` in step cast. Received: 'skip'"),
    (lambda: START.arithmetic("x", "+", "amount", "label"), "Column 'label' does not fit step arithmetic. .* a number"),
    (lambda: START.arithmetic("x", "^", "amount", 2), "Invalid operator in step arithmetic. Received: '\\^'"),
    (lambda: START.arithmetic("x", "-", "amount", 1, 2), "Wrong operands in step arithmetic"),
    (lambda: START.function("x", "gamma", "amount"), "Invalid function in step function. Received: 'gamma'"),
    (lambda: START.keepWhere(col("contry") == "USA"), "Unknown column in step keepWhere.*Did you mean 'country'"),
    (lambda: START.keepWhere(col("country") == "US"), "Received: 'US'. Expected: one of the states \\['USA', 'CAN'"),
    (lambda: START.keepWhere(col("amount") < "1"), "Received: '1'. Expected: a number, as the column is double"),
    (lambda: START.keepWhere(col("amount") == None), "never true. Expected: col\\('amount'\\).isNull"),  # noqa: E711
    (lambda: START.keepWhere(col("amount") > col("label")), "Column 'label' does not fit step keepWhere"),
    (lambda: START.keepWhere(col("country") < "USA"), "Received: `<` on categorical"),
    (lambda: START.keepWhere(col("items")), "Received: True. Expected: a number, as the column is integer"),
    (lambda: START.keepWhere(col("items").isNaN()), "Column 'items' does not fit step keepWhere. Received: integer"),
    (lambda: START.keepWhere(col("time").matches("(")), "Invalid pattern in col\\('time'\\).matches. Received: '\\('"),
    (lambda: START.removeWhere(col("items").isIn()), "isIn without values in step removeWhere"),
    (lambda: START.replaceWhere("items", 0.5, col("items") < 0), "Value does not fit column 'items'.*Received: 0.5"),
    (lambda: START.replaceWhere("items", col("amount"), col("items") < 0), "Received: double. Expected: integer"),
    (lambda: START.replaceMissing({"amount": float("nan")}), "Received: nan. Expected: a value that is not"),
    (lambda: START.categoricalToInteger("time"), "Received: string. Expected: categorical; toCategorical makes it so"),
    (lambda: START.toCategorical("time", []), "Invalid states of categorical column 'time'"),
    (lambda: START.integerToCategorical("amount", ["a"]), "Received: double. Expected: integer or long"),
    (
        lambda: START.oneHotToCategorical("kind", ["a"]),
        "Unknown column in step oneHotToCategorical. Received: 'kind\\[a\\]'",
    ),
    (lambda: START.pivot("country", "amount", "x"), "Value does not fit column 'amount' in step pivot"),
    (lambda: START.replaceStrings("time", {"[": ""}), "Invalid pattern in step replaceStrings. Received: '\\['"),
    (lambda: START.changeCase("time", case="camel"), "Invalid case in step changeCase. Received: 'camel'"),
    (lambda: START.deriveTime("time", {"h": "hour"}), "Received: string. Expected: time or date"),
    (lambda: START.parseTime("items", "yyyy"), "Column 'items' does not fit step parseTime. Received: integer"),
    (lambda: START.parseTime("time", "yyyy", zone="Earth"), "Unknown time zone in step parseTime. Received: 'Earth'"),
    (lambda: START.parseTime("time", "yyyy").parseTime("time", "yyyy"), "Received: time UTC. Expected: string"),
    (lambda: START.groupBy("shop"), "Unknown column in step groupBy"),
    (lambda: START.groupBy("label").agg(x=col("time").sum()), "Column 'time' does not fit step groupBy, sum"),
    (lambda: START.groupBy("label").agg(label=countRows()), "New column of step groupBy is there already"),
    (lambda: START.rank("r", orderBy=[]), "No order in step rank"),
    (lambda: START.toSequences(by=[], orderBy="time"), "No keys or no order in step toSequences"),
    (lambda: START.minMax("amount", analysis={}, min=1, max=1), "Invalid range in step minMax"),
    (lambda: TransformProcess.fromJSON("{}"), "No transform process in the JSON"),
]


@pytest.mark.parametrize("make, message", REFUSED)
def test_a_step_that_cannot_follow_is_refused_when_it_is_added(make, message):
    with pytest.raises(ValueError, match=message):
        make()
