"""Each step of a transform process against tables computed by hand or by pandas, with nulls and empty partitions."""

from __future__ import annotations

import datetime
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F

from spark_keras.preparation import Schema, TransformProcess, col, countRows

SCHEMA = (
    Schema()
    .integer("id", nullable=False)
    .categorical("kind", ["a", "b", "c"])
    .string("text")
    .integer("n")
    .long("m")
    .double("x", allowNaN=True)
    .double("y")
    .boolean("flag")
)
ROWS = [
    (1, "a", "Apple pie", 7, 2, 1.5, 10.0, True),
    (2, "b", " 12 eggs ", -7, 2, -0.25, 0.0, False),
    (3, None, None, None, None, None, None, None),
    (4, "a", "3.5", 0, 0, math.nan, 2.0, True),
    (5, "c", "x.y.z", 2**31 - 1, 2**63 - 1, 1000.0, -4.0, False),
    (6, "b", "", 3, 5, 0.0, 8.0, True),
]
NAMES = SCHEMA.names


@pytest.fixture(scope="module")
def frame():
    """The rows in eight partitions, of which some are empty, in a session that is far from UTC."""
    from conftest import LOCAL, session_for

    spark = session_for(LOCAL)
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Pacific/Auckland")
    yield spark.createDataFrame(ROWS, SCHEMA.toStructType()).repartition(8, "id").cache()
    spark.conf.set("spark.sql.session.timeZone", before)


def start():
    return TransformProcess(SCHEMA)


def rows_of(process, frame, order="id"):
    """The rows in order, after checks that every process must pass."""
    made = process.transform(frame)
    # What the process knows without data is what comes out.
    assert made.columns == process.schema.names
    assert [f.dataType.simpleString() for f in made.schema.fields] == [
        field.sparkType.simpleString() for field in process.schema
    ]
    copy = TransformProcess.fromJSON(process.toJSON())
    assert str(copy) == str(process) and copy.schema == process.schema
    return sorted(made.collect(), key=lambda row: row[order]) if order else made.collect()


def column(process, frame, *names):
    rows = rows_of(process, frame)
    values = [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]
    return [None if value is None else value for value in values]


def same(values, expected):
    """Equal lists, where NaN equals NaN and doubles may differ in the last bits."""
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected):
        if isinstance(wanted, float):
            assert value == pytest.approx(wanted, rel=1e-12, nan_ok=True)
        else:
            assert value == wanted


# --- columns ---------------------------------------------------------------------------------------------------------


def test_columns_removed_kept_renamed_reordered_duplicated_constant(frame):
    process = (
        start()
        .remove("text", "flag")
        .keep("n", "kind", "id", "x")
        .rename({"n": "x", "x": "n", "kind": "the kind"})
        .reorder("n", "id")
        .duplicate("id", "copy")
        .constant("one", 1)
        .constant("half", 0.5)
        .constant("yes", True)
        .constant("word", "w")
    )
    assert process.schema.names == ["n", "id", "copy", "the kind", "x", "one", "half", "yes", "word"]
    rows = rows_of(process, frame)
    assert rows[0] == (1.5, 1, 1, "a", 7, 1, 0.5, True, "w")
    assert rows[2] == (None, 3, 3, None, None, 1, 0.5, True, "w")


@pytest.mark.oldest
def test_cast_by_rule(frame):
    made = start().cast(
        {"text": "double", "x": "integer", "flag": "integer", "n": "string", "m": "float"}, invalid="null"
    )
    rows = rows_of(made, frame)
    assert [row.text for row in rows] == [None, None, None, 3.5, None, None]
    assert [row.x for row in rows] == [1, 0, None, None, 1000, 0]
    assert [row.flag for row in rows] == [1, 0, None, 1, 0, 1]
    assert [row.n for row in rows] == ["7", "-7", None, "0", "2147483647", "3"]
    assert rows[4].m == float(np.float32(2**63 - 1))
    assert made.problems(frame) == [
        made_problem("text", 4, ("", " 12 eggs ", "Apple pie", "x.y.z")),
        made_problem("x", 1, ("NaN",)),
    ]
    to_integer = start().cast({"text": "integer"}, invalid="null")
    assert column(to_integer, frame, "text") == [None, None, None, 3, None, None]
    with pytest.raises(
        Exception, match="Unusable value in column 'text', step cast.*Expected: a value that can be cast"
    ):
        start().cast({"text": "double"}).transform(frame).collect()


def made_problem(name, count, examples, step="cast"):
    from spark_keras.preparation import Problem

    return Problem(step, name, count, examples)


@pytest.mark.oldest
@pytest.mark.parametrize("ansi", ["true", "false"])
def test_arithmetic_is_null_where_there_is_no_result_whatever_the_session_says(frame, ansi):
    process = (
        start()
        .arithmetic("sum", "+", "n", "m", 1)
        .arithmetic("difference", "-", "n", "x")
        .arithmetic("product", "*", "n", "m")
        .arithmetic("ratio", "/", "n", "m")
        .arithmetic("rest", "%", "n", "m")
        .arithmetic("least", "min", "n", "m", 3)
        .arithmetic("greatest", "max", "n", "y")
        .arithmetic("average", "mean", "n", "m")
    )
    frame.sparkSession.conf.set("spark.sql.ansi.enabled", ansi)
    rows = rows_of(process, frame)
    frame.sparkSession.conf.unset("spark.sql.ansi.enabled")
    same([row["sum"] for row in rows], [10, -4, None, 1, None, 9])
    same([row.difference for row in rows], [5.5, -6.75, None, math.nan, 2.0**31 - 1001, 3.0])
    same([row["product"] for row in rows], [14, -14, None, 0, None, 15])
    same([row.ratio for row in rows], [3.5, -3.5, None, None, (2**31 - 1) / (2**63 - 1), 0.6])
    same([row.rest for row in rows], [1, -1, None, None, 2**31 - 1, 3])
    same([row.least for row in rows], [2, -7, None, 0, 3, 3])
    same([row.greatest for row in rows], [10.0, 0.0, None, 2.0, 2.0**31 - 1, 8.0])
    same([row.average for row in rows], [4.5, -2.5, None, 0.0, (2.0**31 - 1 + 2.0**63 - 1) / 2, 4.0])


FUNCTIONS = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "cbrt": np.cbrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sign": np.sign,
    "radians": np.radians,
    "degrees": np.degrees,
}
OF_POSITIVE = {"sqrt": np.sqrt, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p}


def test_functions_of_numbers_are_those_of_numpy(frame):
    process = start()
    for name in [*FUNCTIONS, *OF_POSITIVE, "round", "asin", "acos"]:
        process = process.function(f"{name} of y", name, "y")
    rows = [row for row in rows_of(process.removeWhere(col("y") == -4.0), frame) if row.y is not None]
    y = np.array([row.y for row in rows])
    for name, function in FUNCTIONS.items():
        assert np.allclose([row[f"{name} of y"] for row in rows], function(y), rtol=1e-12), name
    positive = [row for row in rows if row.y > 0]
    for name, function in OF_POSITIVE.items():
        values = [row[f"{name} of y"] for row in positive]
        assert np.allclose(values, function([row.y for row in positive]), rtol=1e-12), name
    assert [row["round of y"] for row in rows] == [10.0, 0.0, 2.0, 8.0]
    assert rows[1]["asin of y"] == 0.0 and rows[1]["acos of y"] == pytest.approx(math.pi / 2)
    assert column(start().function("x", "floor", "x"), frame, "x")[1:3] == [-1.0, None]
    # Beyond the whole numbers of 64 bits, too, whatever the session says of overflow.
    huge = frame.sparkSession.createDataFrame([(1e22,), (-math.inf,), (math.nan,), (-1.5,)], "x double")
    process = TransformProcess(huge).function("up", "ceil", "x").function("down", "floor", "x")
    made = process.transform(huge).collect()
    same([row.up for row in made], [1e22, -math.inf, math.nan, -1.0])
    same([row.down for row in made], [1e22, -math.inf, math.nan, -2.0])


@pytest.mark.oldest
def test_ml_vectors_pass_untouched(frame):
    df = frame.sparkSession.createDataFrame([(Vectors.dense(1.0, 2.0), 1)], ["v", "n"])
    process = TransformProcess(df).constant("one", 1).rename({"v": "w"}).duplicate("w", "again").reorder("n")
    row = process.transform(df).first()
    assert row.asDict() == {"n": 1, "w": Vectors.dense(1.0, 2.0), "again": Vectors.dense(1.0, 2.0), "one": 1}


# --- rows and conditions ---------------------------------------------------------------------------------------------

CONDITIONS = [
    # condition, rows where it is true, rows where it is false; in the others it is unknown
    (col("n") > 0, {1, 5, 6}, {2, 4}),
    (col("n") >= col("m"), {1, 4}, {2, 5, 6}),
    (col("kind") == "a", {1, 4}, {2, 5, 6}),
    (col("kind") != "a", {2, 5, 6}, {1, 4}),
    (col("kind").isIn("a", "c"), {1, 4, 5}, {2, 6}),
    (col("kind").isIn(["a"]), {1, 4}, {2, 5, 6}),
    (col("text").matches("[a-z.]+"), {5}, {1, 2, 4, 6}),
    (col("text").matches(""), {6}, {1, 2, 4, 5}),
    (col("n").isNull(), {3}, {1, 2, 4, 5, 6}),
    (col("n").isNotNull(), {1, 2, 4, 5, 6}, {3}),
    (col("x").isNaN(), {4}, {1, 2, 3, 5, 6}),
    (col("x") > 1, {1, 4, 5}, {2, 6}),
    (col("y").between(0, 8), {2, 4, 6}, {1, 5}),
    (col("flag") == True, {1, 4, 6}, {2, 5}),  # noqa: E712
    (~col("flag"), {2, 5}, {1, 4, 6}),
    (col("flag") & col("flag") & (col("n") > 0), {1, 6}, {2, 4, 5}),
    ((col("n") < 0) | col("flag"), {1, 2, 4, 6}, {5}),
    ((col("n") > 0) & (col("y") > 0), {1, 6}, {2, 4, 5}),
    ((col("n") < 0) | (col("y") < 0), {2, 5}, {1, 4, 6}),
    (~(col("n") > 0), {2, 4}, {1, 5, 6}),
    (~(col("n") > 0) | col("n").isNull(), {2, 3, 4}, {1, 5, 6}),
]


@pytest.mark.oldest
def test_conditions_are_true_false_or_unknown(frame):
    kept = SCHEMA
    flags = []
    for index, (condition, _, _) in enumerate(CONDITIONS):
        condition.check(kept, "test")
        flags.append(condition.column(kept).alias(f"c{index}"))
    rows = frame.select("id", *flags).collect()
    for index, (condition, true, false) in enumerate(CONDITIONS):
        assert {row.id for row in rows if row[f"c{index}"] is True} == true, str(condition)
        assert {row.id for row in rows if row[f"c{index}"] is False} == false, str(condition)


def test_the_verb_says_which_rows_go(frame):
    condition = col("n") > 0
    assert column(start().keepWhere(condition), frame, "id") == [1, 5, 6]
    assert column(start().removeWhere(condition), frame, "id") == [2, 3, 4]
    assert column(start().keepWhere(col("flag")), frame, "id") == [1, 4, 6]
    # Unknown is no, also when it is negated.
    assert column(start().keepWhere(~condition), frame, "id") == [2, 4]
    assert column(start().removeWhere(~condition), frame, "id") == [1, 3, 5, 6]


def test_values_replaced_where_a_condition_holds(frame):
    process = (
        start()
        .replaceWhere("y", 0, col("y") < 0)
        .replaceWhere("x", col("n"), col("x").isNaN())
        .replaceWhere("kind", None, col("kind") == "b")
        .replaceWhere("n", -1, col("n").isNull())
    )
    rows = rows_of(process, frame)
    same([row.y for row in rows], [10.0, 0.0, None, 2.0, 0.0, 8.0])
    same([row.x for row in rows], [1.5, -0.25, None, 0.0, 1000.0, 0.0])
    assert [row.kind for row in rows] == ["a", None, None, "a", "c", None]
    assert [row.n for row in rows] == [7, -7, -1, 0, 2**31 - 1, 3]


def test_times_are_compared_in_their_zone(frame):
    process = TransformProcess(Schema().string("t")).parseTime("t", "yyyy-MM-dd HH:mm", zone="America/New_York")
    noon = datetime.datetime(2020, 7, 1, 16, tzinfo=datetime.timezone.utc)
    df = frame.sparkSession.createDataFrame([("2020-07-01 11:59",), ("2020-07-01 12:00",), (None,)], "t string")
    late = process.keepWhere(col("t") >= noon)
    assert late.transform(df).count() == 1
    assert str(TransformProcess.fromJSON(late.toJSON())) == str(late)


# --- missing values --------------------------------------------------------------------------------------------------


def analysis_of(frame, *names):
    """The figures that a DataFrameAnalysis has, by pandas."""
    table = frame.toPandas().set_index("id")
    figures = {}
    for name in names:
        values = table[name].dropna().astype(float)
        figures[name] = SimpleNamespace(
            min=values.min(), max=values.max(), mean=values.mean(), stdev=values.std(ddof=1)
        )
    return figures


def test_missing_values_replaced_or_their_rows_removed(frame):
    process = start().replaceMissing({"x": 9.0, "n": 0, "kind": "c", "text": "", "y": col("x")})
    rows = rows_of(process, frame)
    same([row.x for row in rows], [1.5, -0.25, 9.0, 9.0, 1000.0, 0.0])
    # All values of one step are those in front of it.
    assert rows[2].asDict() | {"m": 0, "flag": 0} == {
        "id": 3, "kind": "c", "text": "", "n": 0, "m": 0, "x": 9.0, "y": None, "flag": 0,
    }  # fmt: skip
    assert column(start().removeMissing("x"), frame, "id") == [1, 2, 5, 6]
    imputed = start().imputeMissing("x", "y", analysis=analysis_of(frame, "x", "y"))
    same(column(imputed, frame, "x")[2:4], [250.3125, 250.3125])
    same(column(imputed, frame, "y")[2:4], [3.2, 2.0])


# --- categories ------------------------------------------------------------------------------------------------------


def test_categories_to_integers_and_back(frame):
    process = start().categoricalToInteger("kind")
    assert column(process, frame, "kind") == [0, 1, None, 0, 2, 1]
    attributes = process.transform(frame).schema["kind"].metadata["ml_attr"]
    assert attributes == {"type": "nominal", "name": "kind", "vals": ["a", "b", "c"]}
    back = process.integerToCategorical("kind", ["a", "b", "c"])
    assert column(back, frame, "kind") == ["a", "b", None, "a", "c", "b"]
    fewer = process.integerToCategorical("kind", ["a", "b"], unseen="null")
    assert column(fewer, frame, "kind") == ["a", "b", None, "a", None, "b"]


@pytest.mark.oldest
def test_categories_to_one_hot_and_back(frame):
    process = start().categoricalToOneHot("kind")
    names = ["kind[a]", "kind[b]", "kind[c]"]
    assert process.schema.names[:5] == ["id", *names, "text"]
    expected = pd.get_dummies(frame.toPandas().sort_values("id").kind).astype(int).to_numpy().tolist()
    found = [list(values) for values in column(process, frame, *names)]
    assert found[2] == [None] * 3
    assert found[:2] + found[3:] == expected[:2] + expected[3:]
    array = start().categoricalToOneHot("kind", asArray=True)
    assert [value and list(value) for value in column(array, frame, "kind")][:3] == [[1, 0, 0], [0, 1, 0], None]
    assert array.schema["kind"].shape == (3,)
    for one_hot in (process, array):
        back = one_hot.oneHotToCategorical("kind", ["a", "b", "c"])
        assert column(back, frame, "kind") == ["a", "b", None, "a", "c", "b"]


@pytest.mark.parametrize("unseen", ["error", "null", "keep"])
def test_unseen_categories_follow_the_rule(frame, unseen):
    fewer = SCHEMA.replaced({"kind": Schema().categorical("kind", ["a", "b"])["kind"]})
    integer = TransformProcess(fewer).categoricalToInteger("kind", unseen=unseen)
    one_hot = TransformProcess(fewer).categoricalToOneHot("kind", unseen=unseen, asArray=True)
    if unseen == "error":
        for process in (integer, one_hot):
            with pytest.raises(Exception, match="Received: c. Expected: one of the states \\['a', 'b'\\]"):
                process.transform(frame).collect()
        with pytest.raises(Exception, match="Received: c. Expected: one of the states"):
            start().toCategorical("kind", ["a", "b"]).transform(frame).collect()
        assert integer.problems(frame)[0].examples == ("c",)
        return
    assert column(integer, frame, "kind")[4] == {"null": None, "keep": 2}[unseen]
    assert column(one_hot, frame, "kind")[4] == {"null": None, "keep": [0, 0]}[unseen]
    if unseen == "null":
        assert column(start().toCategorical("kind", ["a", "b"], unseen="null"), frame, "kind")[3:5] == ["a", None]


def test_row_that_is_not_one_hot_follows_the_rule(frame):
    df = frame.sparkSession.createDataFrame([(1, 0), (1, 1), (0, 0), (None, 1)], "`k[a]` int, `k[b]` int")
    process = TransformProcess(Schema.of(df)).oneHotToCategorical("k", ["a", "b"], unseen="null")
    assert [row.k for row in process.transform(df).collect()] == ["a", None, None, None]
    assert process.problems(df)[0].count == 2
    with pytest.raises(Exception, match="Expected: 1 for one of the states"):
        TransformProcess(Schema.of(df)).oneHotToCategorical("k", ["a", "b"]).transform(df).collect()


@pytest.mark.oldest
def test_pivot_and_group_make_the_table_of_pandas(frame):
    process = start().keep("id", "flag", "kind", "n").pivot("kind", "n", default=0)
    assert process.schema.names == ["id", "kind[a]", "kind[b]", "kind[c]", "flag"]
    assert column(process, frame, "kind[a]", "kind[b]", "kind[c]")[:3] == [(7, 0, 0), (0, -7, 0), (0, 0, 0)]
    reductions = {name: col(name).sum() for name in ("kind[a]", "kind[b]", "kind[c]")}
    table = process.removeMissing("flag").groupBy("flag").agg(**reductions)
    found = {row.flag: list(row)[1:] for row in rows_of(table, frame, "flag")}
    pandas = frame.toPandas().dropna(subset=["flag"])
    expected = pandas.pivot_table(index="flag", columns="kind", values="n", aggfunc="sum", fill_value=0)
    assert found == {flag: values.tolist() for flag, values in zip(expected.index, expected.to_numpy())}
    with_nulls = start().pivot("kind", "n", default=None)
    assert column(with_nulls, frame, "kind[a]", "kind[b]", "kind[c]")[0] == (7, None, None)


@pytest.mark.oldest
def test_first_digits(frame):
    values = [0.034, -1200.0, 0.0, 5e-7, 9.99e20, None, math.nan, math.inf]
    df = frame.sparkSession.createDataFrame([(i, v) for i, v in enumerate(values)], "id int, v double")
    process = TransformProcess(Schema.of(df)).firstDigit("v", "digit", invalid="other")
    assert column(process, df, "digit") == ["3", "1", "0", "5", "9", None, "other", "other"]
    text = start().firstDigit("text", "digit", invalid="null")
    assert column(text, frame, "digit") == [None, None, None, "3", None, None]
    assert text.problems(frame)[0].count == 4
    with pytest.raises(Exception, match="Expected: a value that has a first digit"):
        start().firstDigit("text", "digit").transform(frame).collect()


# --- strings ---------------------------------------------------------------------------------------------------------


@pytest.mark.oldest
def test_strings(frame):
    process = (
        start()
        .mapStrings("kind", {"a": "A", "b": "B"})
        .duplicate("text", "clean")
        .trimStrings("clean")
        .replaceStrings("clean", {r"(\w)\.(\w)": "$2$1", r"\d+": "#"})
        .duplicate("text", "upper")
        .changeCase("upper", case="upper")
        .duplicate("text", "title")
        .changeCase("title", case="title")
        .changeCase("text", case="lower")
        .appendString("text", "!")
        .concat("both", "kind", "text", separator="-")
    )
    rows = rows_of(process, frame)
    assert [row.kind for row in rows] == ["A", "B", None, "A", "c", "B"]
    assert [row.clean for row in rows] == ["Apple pie", "# eggs", None, "#", "yx.z", ""]
    assert [row.upper for row in rows] == ["APPLE PIE", " 12 EGGS ", None, "3.5", "X.Y.Z", ""]
    assert rows[0].title == "Apple Pie"
    assert [row.text for row in rows] == ["apple pie!", " 12 eggs !", None, "3.5!", "x.y.z!", "!"]
    assert [row.both for row in rows] == ["A-apple pie!", "B- 12 eggs !", None, "A-3.5!", "c-x.y.z!", "B-!"]
    strict = start().mapStrings("kind", {"a": "A"}, others="null")
    assert column(strict, frame, "kind") == ["A", None, None, "A", None, None]


# --- normalisers -----------------------------------------------------------------------------------------------------


def test_normalisers_and_their_inverses(frame):
    names = ["x", "y", "n"]
    analysis = analysis_of(frame, *names)
    start_ = start().keepWhere(~col("x").isNaN() | col("x").isNull())
    process = start_.minMax("x", analysis=analysis, min=-1, max=1).standardise("y", analysis=analysis)
    process = process.logarithm("n", analysis=analysis)
    table = frame.toPandas().set_index("id").sort_index().drop(index=4)[names].astype(float)
    x, y, n = (table[name] for name in names)
    a = analysis["x"]
    same(column(process, frame, "x"), _listed((x - a.min) / (a.max - a.min) * 2 - 1))
    same(column(process, frame, "y"), _listed((y - analysis["y"].mean) / analysis["y"].stdev))
    a = analysis["n"]
    same(column(process, frame, "n"), _listed(0.5 * np.log2((n - a.min) / (a.mean - a.min) + 1)))
    back = process.denormalise("x", "y", "n")
    for name in names:
        for value, wanted in zip(column(back, frame, name), _listed(table[name])):
            assert (value is None) == (wanted is None)
            assert wanted is None or value == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    # What was undone is not undone again.
    with pytest.raises(ValueError, match="Nothing to undo in step denormalise. Received: 'x'"):
        back.denormalise("x")


def _listed(values):
    return [None if math.isnan(value) else value for value in values]


def test_predictions_are_denormalised_as_their_label_was(frame):
    fitted = start().minMax("y", analysis=analysis_of(frame, "y"), max=10)
    df = frame.sparkSession.createDataFrame([(0.0,), (10.0,), (5.0,), (None,)], "prediction double")
    process = TransformProcess(df).denormalise({"prediction": "y"}, process=fitted)
    same([row.prediction for row in process.transform(df).collect()], [-4.0, 10.0, 3.0, None])


def test_column_with_one_value_normalises_to_the_middle(frame):
    constant = {"n": SimpleNamespace(min=3.0, max=3.0, mean=3.0, stdev=0.0)}
    for method, expected in (("minMax", 0.5), ("standardise", 0.0), ("logarithm", 0.0)):
        process = getattr(start(), method)("n", analysis=constant)
        assert column(process, frame, "n")[0] == expected
        assert column(process.denormalise("n"), frame, "n")[0] == 3.0


@pytest.mark.parametrize(
    "analysis, message",
    [({}, "nothing on column 'y'"), ({"y": SimpleNamespace(min=None, max=1.0)}, "Received: None as min of column 'y'")],
)
def test_analysis_without_the_figures_is_refused(analysis, message):
    with pytest.raises(ValueError, match=message):
        start().minMax("y", analysis=analysis)


# --- groups and ranks ------------------------------------------------------------------------------------------------


@pytest.mark.oldest
def test_groups_reduced_with_and_without_conditions(frame):
    process = start().groupBy("flag").agg(
        rows=countRows(),
        large=countRows(where=col("n") > 2),
        count=col("n").count(),
        kinds=col("kind").countDistinct(),
        total=col("n").sum(),
        positive=col("n").sum(where=col("n") > 5),
        mean=col("y").mean(),
        stdev=col("y").stdev(),
        variance=col("y").variance(),
        least=col("y").min(),
        most=col("text").max(),
        range=col("y").range(),
        first=col("text").first(by="y"),
        last=col("text").last(by="y", where=col("kind") == "b"),
    )  # fmt: skip
    found = {row.flag: row for row in rows_of(process, frame, None)}
    table = frame.toPandas()
    for flag in (True, False):
        group = table[table.flag == flag]
        row = found[flag]
        assert row.rows == len(group) and row.large == (group.n > 2).sum()
        assert row["count"] == group.n.count() and row.kinds == group.kind.nunique()
        assert row.total == group.n.sum() and row.positive == group.n[group.n > 5].sum()
        figures = [row.mean, row.stdev, row.variance, row.least, row.range]
        y = group.y
        assert figures == pytest.approx([y.mean(), y.std(), y.var(), y.min(), y.max() - y.min()])
        assert row.most == group.text.max() and row.first == group.loc[y.idxmin()].text
        of_b = group[group.kind == "b"]
        assert row["last"] == of_b.loc[of_b.y.idxmax()].text
    nothing = found[None].asDict()
    counts = {name: nothing.pop(name) for name in ("rows", "large", "count", "kinds")}
    assert counts == {"rows": 1, "large": 0, "count": 0, "kinds": 0} and set(nothing.values()) == {None}


def test_all_rows_are_one_group_without_keys_and_a_sum_that_overflows_is_null(frame):
    process = start().groupBy().agg(rows=countRows(), total=col("m").sum(), n=col("n").sum())
    assert rows_of(process, frame, None) == [(6, None, 2**31 + 2)]
    assert process.transform(frame.where("id > 99")).collect() == [(0, None, None)]


def test_ranks_with_ties_groups_and_nulls(frame):
    process = (
        start()
        .rank("of n", orderBy="n")
        .rank("of m", orderBy="m", descending=True)
        .rank("dense", orderBy="m", method="dense")
        .rank("within", orderBy=["y", "id"], within="flag")
    )
    found = column(process, frame, "of n", "of m", "dense", "within")
    assert [row[0] for row in found] == [5, 2, 1, 3, 6, 4]
    assert [row[1] for row in found] == [3, 3, 6, 5, 1, 2]
    assert [row[2] for row in found] == [3, 3, 1, 2, 5, 4]
    assert [row[3] for row in found] == [3, 2, 1, 1, 1, 2]


def test_partitions_without_rows_change_nothing(frame):
    process = (
        start()
        .replaceWhere("y", 0, col("y") < 0)
        .categoricalToInteger("kind")
        .rank("r", orderBy="id")
        .keepWhere(col("n") > 0)
    )
    assert rows_of(process, frame.coalesce(1)) == rows_of(process, frame)
    assert process.transform(frame.where(F.lit(False))).count() == 0


# --- exact numbers ---------------------------------------------------------------------------------------------------

WHOLE = {
    # text: as a long, as an integer
    "9223372036854775807": (2**63 - 1, None),
    "9223372036854775808": (None, None),
    "-9223372036854775808": (-(2**63), None),
    "-9223372036854775809": (None, None),
    "1234567890123456789.0": (1234567890123456789, None),
    "9223372036854775807.99999999999999999999": (2**63 - 1, None),
    "9007199254740993": (2**53 + 1, None),
    "2147483648": (2**31, None),
    "2147483647.9": (2**31 - 1, 2**31 - 1),
    " 12 ": (12, 12),
    "+5": (5, 5),
    "-0.5": (0, 0),
    ".5": (0, 0),
    "-.9": (0, 0),
    "7.": (7, 7),
    "1e3": (1000, 1000),
    "9.007199254740993e15": (2**53 + 1, None),
    "1e-3": (0, 0),
    "1e19": (None, None),
    "NaN": (None, None),
    "inf": (None, None),
    ".": (None, None),
    "1.5.2": (None, None),
    "1_000": (None, None),
    "0x10": (None, None),
    "": (None, None),
}


@pytest.mark.oldest
@pytest.mark.parametrize("ansi", ["true", "false"])
def test_every_digit_of_a_text_counts_in_a_cast_to_a_whole_number(spark, ansi):
    df = spark.createDataFrame([(text, text) for text in WHOLE], "long string, integer string")
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    try:
        process = (
            TransformProcess(df).duplicate("long", "text").cast({"long": "long", "integer": "integer"}, invalid="null")
        )
        found = {row.text: (row.long, row.integer) for row in process.transform(df).collect()}
    finally:
        spark.conf.unset("spark.sql.ansi.enabled")
    assert found == WHOLE


def test_a_float_beyond_the_whole_numbers_is_none_of_them(spark):
    df = spark.createDataFrame([(2.0**63, 2.0**31), (-(2.0**63), -(2.0**31))], "m double, n float")
    process = TransformProcess(df).cast({"m": "long", "n": "integer"}, invalid="null")
    assert process.transform(df).collect() == [(None, None), (-(2**63), -(2**31))]


@pytest.mark.parametrize(
    "make",
    [
        lambda: start().constant("large", 2**63),
        lambda: start().keepWhere(col("m") > 2**63),
        lambda: start().keepWhere(~(col("m").isIn(1, -(2**63) - 1) | col("flag"))),
        lambda: start().arithmetic("more", "+", "m", 2**64),
        lambda: start().replaceMissing({"m": 2**63}),
        lambda: start().groupBy("kind").agg(n=col("m").sum(where=col("m") < 2**63)),
        lambda: Schema().long("x", maximum=2**63),
        lambda: Schema().integer("x", minimum=-(2**63) - 1),
    ],
)
def test_whole_numbers_beyond_64_bits_are_refused_at_once(make):
    with pytest.raises(ValueError, match="9223372036854775808|18446744073709551616|9223372036854775809"):
        make()


def test_a_column_of_floats_is_compared_with_floats(spark):
    df = spark.createDataFrame([(0.1,), (0.2,), (0.3,), (math.inf,)], "f float")
    process = TransformProcess(df)
    assert process.keepWhere(col("f") == 0.1).transform(df).count() == 1
    assert process.keepWhere(col("f").between(0.1, 0.3)).transform(df).count() == 3
    assert process.keepWhere(col("f").isIn(0.2, 0.7)).transform(df).count() == 1
    # A number that no float can hold is no infinity.
    assert process.keepWhere(col("f") <= 1e300).transform(df).count() == 3


def test_normalisers_of_the_largest_numbers_stay_finite(spark):
    huge = 1e308
    figures = {"x": SimpleNamespace(min=-huge, max=huge, mean=-huge, stdev=huge)}
    df = spark.createDataFrame([(-huge,), (0.0,), (huge,), (None,)], "x double")
    made = {}
    for name, process in {
        "unit": TransformProcess(df).minMax("x", analysis=figures),
        "huge": TransformProcess(df).minMax("x", analysis=figures, min=-huge, max=huge),
        "standard": TransformProcess(df).standardise("x", analysis=figures),
        "logarithm": TransformProcess(df).logarithm(
            "x", analysis={"x": SimpleNamespace(min=-huge, mean=huge)}, scale=1.0
        ),
    }.items():
        made[name] = [row.x for row in process.transform(df).collect()]
        if name != "standard":
            back = [row.x for row in process.denormalise("x").transform(df).collect()]
            same(back, [-huge, pytest.approx(0.0, abs=1e293), huge, None]) if name == "logarithm" else same(
                back, [-huge, 0.0, huge, None]
            )
    same(made["unit"], [0.0, 0.5, 1.0, None])
    same(made["huge"], [-huge, 0.0, huge, None])
    same(made["standard"], [0.0, 1.0, 2.0, None])
    same(made["logarithm"], [0.0, math.log2(1.5), 1.0, None])


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: start().constant("KIND", 5),
        lambda: start().duplicate("x", "Y"),
        lambda: start().rename({"x": "Y"}),
        lambda: start().arithmetic("N", "+", "n", 1),
        lambda: start().function("X", "log", "x"),
        lambda: start().groupBy("kind").agg(Kind=countRows()),
        lambda: start().groupBy("kind").agg(a=countRows(), A=countRows()),
        lambda: Schema().double("a").long("A"),
    ],
)
def test_names_that_are_the_same_to_spark_are_refused_at_once(make):
    with pytest.raises(ValueError, match="there already|occur twice"):
        make()


def test_the_case_of_a_column_may_be_changed_and_a_wrong_one_is_named(frame):
    assert start().rename({"x": "X"}).transform(frame).columns[5] == "X"
    with pytest.raises(ValueError, match="Received: 'Kind'.*Did you mean 'kind'"):
        start().remove("Kind")
