"""Names with dots, backticks and spaces are names, in every step."""

from __future__ import annotations

from types import SimpleNamespace

from spark_keras.preparation import DataQuality, Schema, TransformProcess, col, countRows

X, Y, KIND, AT, KEY = "x`.1", "y .`` z", "ki`nd", "a.t`", "`key`"
ROWS = [(1.0, 2.0, "a`", "2020-07-01 12:00", 1), (3.0, None, "b.c", "2020-07-01 13:00", 2), (5.0, 1.0, "a`", None, 1)]
SCHEMA = Schema().double(X, Y).categorical(KIND, ["a`", "b.c"]).time(AT, zone="Europe/Berlin").integer(KEY)


def frame(spark):
    quoted = ["`" + name.replace("`", "``") + "`" for name in SCHEMA.names]
    types = ["double", "double", "string", "string", "int"]
    return spark.createDataFrame(ROWS, ", ".join(map(" ".join, zip(quoted, types))))


def test_odd_names_are_names_in_steps_of_rows(spark):
    df = frame(spark)
    assert [c.valid for c in DataQuality.of(df, SCHEMA).columns] == [3, 2, 3, 2, 3]
    process = (
        TransformProcess(SCHEMA)
        .keepWhere((col(X) > 0) & col(KIND).isIn("a`", "b.c") & ~col(Y).isInvalid())
        .replaceMissing({Y: col(X)})
        .arithmetic("s`um.", "+", X, Y)
        .function("s`um.", "abs", "s`um.")
        .cast({KEY: "long"})
        .deriveTime(AT, {"h`.": "hour"})
        .addTime(AT, 1, "days")
        .minMax(X, analysis={X: SimpleNamespace(min=1.0, max=5.0)})
        .duplicate(KIND, "c`")
        .categoricalToInteger("c`")
        .categoricalToOneHot(KIND)
        .rank("r`.", orderBy=X, within=KEY)
        .rename({Y: "`"})
        .remove(AT)
    )
    made = [row.asDict() for row in process.transform(df).collect()]
    assert sorted(made, key=lambda row: row[X]) == [
        {X: 0.0, "`": 2.0, "ki`nd[a`]": 1, "ki`nd[b.c]": 0, "c`": 0, "h`.": 12, KEY: 1, "s`um.": 3.0, "r`.": 1},
        {X: 0.5, "`": 3.0, "ki`nd[a`]": 0, "ki`nd[b.c]": 1, "c`": 1, "h`.": 13, KEY: 2, "s`um.": 6.0, "r`.": 1},
        {X: 1.0, "`": 1.0, "ki`nd[a`]": 1, "ki`nd[b.c]": 0, "c`": 0, "h`.": None, KEY: 1, "s`um.": 6.0, "r`.": 2},
    ]


def test_odd_names_are_names_in_groups_joins_and_sequences(spark):
    df = frame(spark)
    names = spark.createDataFrame([(1, "one"), (2, "two")], "`i``.d` int, `na``me.` string")
    grouped = (
        TransformProcess(SCHEMA)
        .groupBy(KEY)
        .agg(**{"s`.": col(X).sum(where=col(KIND) == "a`"), "n`": countRows(), "l`": col(X).last(by=X)})
        .join(names, on={KEY: "i`.d"}, how="left", validate="m:1")
    )
    assert sorted(map(tuple, grouped.transform(df).collect())) == [(1, 6.0, 2, 5.0, "one"), (2, None, 1, 3.0, "two")]
    sequences = (
        TransformProcess(SCHEMA)
        .toSequences(by=KEY, orderBy=X)
        .splitSequences(gap=10, on=X)
        .lag(X, "l`.", edge="null")
        .movingWindow("m`", X, "mean", 2)
        .element(X, "e`")
        .padSequences(2, mask="mask`")
        .stackSequences("f`.", X, "m`")
    )
    made = {row[KEY]: row.asDict() for row in sequences.transform(df).collect()}
    assert made[1]["f`."] == [[1.0, 1.0], [5.0, 3.0]] and made[1]["e`"] == 5.0 and made[2]["mask`"] == [0.0, 1.0]
