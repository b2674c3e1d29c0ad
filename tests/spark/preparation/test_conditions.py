"""Conditions beyond comparisons, filters over all columns, and reductions, against pandas and numpy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from spark_keras.preparation import Schema, TransformProcess, col, sqlReduction

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
ROWS = [
    (1, "ab", 12, 1.5, True, [1.0, 2.0], "a"),
    (2, "", -7, math.inf, False, [], "b"),
    (3, None, None, None, None, None, None),
    (4, "a.b", 120, math.nan, True, [1.0], "a"),
    (5, "abcdef", 0, -math.inf, False, [1.0, 2.0, 3.0], "c"),
    (6, "z", -101, 1e10, True, [math.nan], "b"),
]
CONDITIONS = [
    # condition, rows where it is true, rows where it is false; in the others it is unknown
    ((col("n") > 0) ^ col("flag"), {6}, {1, 2, 4, 5}),
    (col("flag") ^ col("flag"), set(), {1, 2, 4, 5, 6}),
    (col("flag") ^ col("n").isNull(), {1, 4, 6}, {2, 5}),
    (col("x").isInfinite(), {2, 5}, {1, 4, 6}),
    (~col("x").isInfinite(), {1, 4, 6}, {2, 5}),
    (col("n").matches("1.*"), {1, 4}, {2, 5, 6}),
    (col("n").matches(r"-\d+"), {2, 6}, {1, 4, 5}),
    (col("x").matches(r"\d+\.\d+"), {1}, {2, 4, 5, 6}),
    (col("x").matches("1.0E10"), {6}, {1, 2, 4, 5}),
    (col("v").length() == 1, {4, 6}, {1, 2, 5}),
    (col("v").length() > 1, {1, 5}, {2, 4, 6}),
    (col("v").length() != 0, {1, 4, 5, 6}, {2}),
    (col("text").length().between(1, 3), {1, 4, 6}, {2, 5}),
    (col("text").length().isIn(0, 6), {2, 5}, {1, 4, 6}),
]


@pytest.fixture(scope="module")
def frame():
    from conftest import LOCAL, session_for

    return session_for(LOCAL).createDataFrame(ROWS, SCHEMA.toStructType()).repartition(3, "id").cache()


@pytest.mark.oldest
def test_conditions_are_true_false_or_unknown_and_survive_json(frame):
    process = TransformProcess(SCHEMA)
    for index, (condition, _, _) in enumerate(CONDITIONS):
        process = process.constant(f"c{index}", False).replaceWhere(f"c{index}", True, condition)
        process = process.replaceWhere(f"c{index}", None, ~condition)
    copy = TransformProcess.fromJSON(process.toJSON())
    assert str(copy) == str(process)
    rows = copy.transform(frame).collect()
    for index, (condition, true, false) in enumerate(CONDITIONS):
        assert {row.id for row in rows if row[f"c{index}"] is True} == true, str(condition)
        assert {row.id for row in rows if row[f"c{index}"] is None} == false, str(condition)


@pytest.mark.oldest
def test_one_filter_looks_at_all_columns(frame):
    def kept(process):
        assert str(TransformProcess.fromJSON(process.toJSON())) == str(process)
        return sorted(row.id for row in process.transform(frame).collect())

    # Row 2 and 5: infinity is not allowed; 5: too long, no state; 6: too small, NaN in an array; 3: only missing.
    assert kept(TransformProcess(SCHEMA).removeInvalid()) == [1, 3, 4]
    assert kept(TransformProcess(SCHEMA).removeInvalid("n", "text")) == [1, 2, 3, 4]
    complete = TransformProcess(SCHEMA).removeMissing()
    assert kept(complete) == [1, 2, 5, 6]
    assert not any(field.nullable for field in complete.schema)
    needed = SCHEMA.replaced({"kind": Schema().categorical("kind", ["a", "b", "c"], nullable=False)["kind"]})
    assert kept(TransformProcess(needed).removeInvalid("kind")) == [1, 2, 4, 5, 6]


@pytest.mark.oldest
def test_values_replaced_with_a_default_in_one_step(frame):
    process = (
        TransformProcess(SCHEMA)
        .replaceWhere("n", 1, col("flag"), otherwise=0)
        .replaceWhere("kind", None, col("kind") == "a", otherwise="b")
        .replaceWhere("x", 1.0, col("id") < 3, otherwise=col("id"))
        .replaceWhere("text", "yes", col("id") == 1, otherwise=None)
    )
    assert [process.schema[name].nullable for name in ("n", "kind", "x", "text")] == [False, True, False, True]
    assert str(TransformProcess.fromJSON(process.toJSON())) == str(process)
    assert "replaceWhere('n', 1, col('flag') == True, otherwise=0)" in str(process)
    rows = sorted(process.transform(frame).collect(), key=lambda row: row.id)
    assert [row.n for row in rows] == [1, 0, 0, 1, 0, 1]
    assert [row.kind for row in rows] == [None, "b", "b", None, "b", "b"]
    assert [row.x for row in rows] == [1.0, 1.0, 3.0, 4.0, 5.0, 6.0]
    assert [row.text for row in rows] == ["yes", None, None, None, None, None]
    with pytest.raises(ValueError, match="Value does not fit column 'n' in step replaceWhere. Received: 0.5"):
        TransformProcess(SCHEMA).replaceWhere("n", 1, col("flag"), otherwise=0.5)
    with pytest.raises(ValueError, match="Received: 'c'. Expected: one of the states"):
        TransformProcess(SCHEMA).replaceWhere("kind", "a", col("flag"), otherwise="c")


# --- reductions ------------------------------------------------------------------------------------------------------


@pytest.mark.oldest
def test_reductions_are_those_of_pandas(spark):
    values = [
        ("a", 3, 2.0, 5, "x"), ("a", 1, -3.0, 2, "y"), ("a", 2, None, 7, None), ("a", None, 0.5, 1, "w"),
        ("b", 1, 4.0, 3, "p"), ("c", 9, None, None, None), ("a", 2, 1.5, 7, "b"), ("a", 2, 2.5, 4, "a"),
    ]  # fmt: skip
    df = spark.createDataFrame(values, "g string, at int, x double, n int, s string").repartition(3, "x")
    process = (
        TransformProcess(df)
        .groupBy("g")
        .agg(
            product=col("x").product(),
            whole=col("n").product(where=col("x") > 0),
            stdev=col("x").populationStdev(),
            variance=col("x").populationVariance(),
            appended=col("s").append(by="at", separator=", "),
            prepended=col("s").prepend(by="at", where=col("n") != 7),
            mine=sqlReduction("sqrt(sum(x * x) FILTER (WHERE n > 1))"),
            words=sqlReduction("sort_array(collect_set(s))"),
        )
    )
    assert [field.kind for field in process.schema][-2:] == ["double", "array"]
    copy = TransformProcess.fromJSON(process.toJSON())
    assert str(copy) == str(process)
    found = {row.g: row for row in copy.transform(df).collect()}
    table = pd.DataFrame(values, columns=["g", "at", "x", "n", "s"])
    for group, rows in table.groupby("g"):
        row = found[group]
        if group == "c":
            assert set(row[1:-1]) == {None} and row.words == []
            continue
        x = rows.x.dropna()
        whole = rows.n[rows.x > 0].prod()
        mine = math.sqrt((rows.x[rows.n > 1] ** 2).sum())
        expected = [x.prod(), whole, np.std(x), np.var(x), mine]
        assert [row[i] for i in (1, 2, 3, 4, 7)] == pytest.approx(expected, rel=1e-12)
        ordered = rows.dropna(subset=["s", "at"]).sort_values(["at", "s"])
        assert row.appended == ", ".join(ordered.s)
        assert row.prepended == "".join(reversed(list(ordered.s[ordered.n != 7])))
        assert row.words == sorted(rows.s.dropna().unique())


def test_reductions_that_do_not_fit_are_refused_when_the_step_is_added(spark):
    process = TransformProcess(SCHEMA)
    for reduction, message in [
        (col("text").product(), "Column 'text' does not fit step groupBy, product. Received: string"),
        (col("n").append(by="id"), "Column 'n' does not fit step groupBy, append. Received: integer"),
        (col("text").append(by="v"), "Column 'v' does not fit step groupBy. Received: array"),
        (sqlReduction("sum(m)"), "Invalid sqlReduction in step agg. Received: 'sum\\(m\\)'; Spark says"),
        (sqlReduction("sum(n"), "Invalid sqlReduction in step agg. Received: 'sum\\(n'; Spark says"),
        (sqlReduction("n + 1"), "Expected: an aggregate expression of SQL over the columns \\['id', 'text'"),
    ]:
        with pytest.raises(ValueError, match=message):
            process.groupBy("kind").agg(figure=reduction)
    with pytest.raises(TypeError, match="Invalid sqlReduction. Received: ' '"):
        sqlReduction(" ")
    with pytest.raises(TypeError, match="Invalid separator in step groupBy. Received: 3"):
        process.groupBy("kind").agg(figure=col("text").append(by="id", separator=3))
