"""Alerts of an analysis, and relations to a label: as scikit-learn, scipy and pandas have the figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from spark_keras import DataFrameAnalysis, DataFrameAnalyzer


def test_alerts_tell_what_is_unusual(spark):
    df = spark.range(2000, numPartitions=1).selectExpr(
        "if(id % 40 = 0, 1, null) AS missing", "'one' AS same", "5 AS five", "array(1.0D, 1.0D) AS ones",
        "id AS key", "concat('k', id) AS name", "id % 500 AS some", "double(id) AS measured",
        "if(id % 20 = 0, 'rare', 'usual') AS class", "id % 50 = 0 AS flag", "id % 2 = 0 AS half",
        "exp(4 * id / 2000) AS wide", "exp(id / 100) AS skewed", "-3 * id + id % 7 AS falling", "id * id % 97 AS noise",
    )  # fmt: skip
    analysis = DataFrameAnalyzer(correlationCols=["measured", "falling", "noise"]).fit(df)
    found = {(alert.column, alert.kind) for alert in analysis.alerts}
    assert found == {
        *[("missing", "missing"), ("missing", "constant"), ("same", "constant"), ("five", "constant")],
        *[("ones", "constant"), ("key", "unique"), ("name", "unique"), ("falling", "unique"), ("class", "imbalanced")],
        *[("flag", "imbalanced"), ("skewed", "skewed"), ("falling", "correlated")],
    }
    imbalance = {alert.column: alert.value for alert in analysis.alerts if alert.kind == "imbalanced"}
    assert imbalance["class"] == pytest.approx(1 - stats.entropy([0.05, 0.95], base=2))
    values = np.exp(np.arange(2000) / 100)
    assert [a.value for a in analysis.alerts if a.kind == "skewed"] == pytest.approx([stats.skew(values)])
    page = analysis.toHTML()
    assert page.index("Alerts: 12") < page.index('id="search"')
    assert DataFrameAnalysis.fromJSON(analysis.toJSON()).alerts == analysis.alerts
    again = DataFrameAnalyzer(maxDistinct=3000).fit(df.select("key", "some"))
    assert [(alert.column, alert.value) for alert in again.alerts] == [("key", 2000)]


def test_relations_to_a_label_are_those_of_scikit_learn_scipy_and_pandas(spark):
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    colour = rng.choice(["red", "green", "blue"], 3000, p=[0.6, 0.3, 0.1])
    table = pd.DataFrame(
        {
            "x": x,
            "near": x + rng.normal(size=3000),
            "shape": np.where(rng.random(3000) < 0.7, colour, "none"),
            "colour": colour,
            "flag": x > 0.5,
            "few": rng.poisson(1, 3000).clip(0, 3) + 3 * (colour == "red"),
            "same": 1.0,
            "all": [f"k{i}" for i in range(3000)],
        }
    )
    gaps = table.mask(rng.random(table.shape) < 0.1).astype({"x": float, "near": float, "few": float, "same": float})
    df = spark.createDataFrame([tuple(None if each != each else each for each in row) for row in gaps.values.tolist()],
                               "x double, near double, shape string, colour string, flag boolean, few double, "
                               "same double, all string").coalesce(2)  # fmt: skip
    deciles = {}

    def classes(name, values):
        if name in ("x", "near"):
            edges = deciles.setdefault(
                name, np.quantile(gaps[name].dropna(), np.linspace(0.1, 0.9, 9), method="inverted_cdf")
            )
            return np.searchsorted(edges, values.astype(float), "right")
        return np.zeros(len(values)) if name == "all" else values.astype(str)

    for label in ("colour", "x", "flag"):
        analysis = DataFrameAnalyzer(labelCol=label).fit(df)
        found = {each.column: each for each in analysis.relations}
        assert set(found) == set(table) - {label}
        for name, relation in found.items():
            both = gaps[[name, label]].dropna()
            assert relation.rows == len(both)
            own, target = classes(name, both[name]), classes(label, both[label])
            # A percentile of an even number of values may be either neighbour.
            assert relation.mutualInformation == pytest.approx(mutual_info_score(own, target), abs=2e-3)
            if {name, label} <= {"shape", "colour", "flag"}:
                crossed = pd.crosstab(own, target).to_numpy()
                assert relation.cramersV == pytest.approx(stats.contingency.association(crossed), rel=1e-9)
            numbers = both.astype(float) if {name, label} <= {"x", "near", "few", "flag"} else None
            expected = None if numbers is None else numbers[name].corr(numbers[label])
            assert relation.correlation == (None if expected is None else pytest.approx(expected, rel=1e-9))
        assert [each.mutualInformation for each in analysis.relations] == sorted(
            [each.mutualInformation for each in found.values()], reverse=True
        )
        assert found["same"].mutualInformation == 0 and found["same"].correlation is None
        again = DataFrameAnalysis.fromJSON(analysis.toJSON())
        assert again.relations == analysis.relations and "Relations to the label" in analysis.toHTML()
    leak = df.selectExpr("flag", "not flag AS leak", "few")
    alerts = DataFrameAnalyzer(labelCol="flag").fit(leak).alerts
    assert [(alert.column, alert.kind, alert.value) for alert in alerts] == [("leak", "correlated", pytest.approx(-1))]
    for wrong, message in (("missing", "Unknown column in Param `labelCol`. Received: 'missing'"),):
        with pytest.raises(ValueError, match=message):
            DataFrameAnalyzer(labelCol=wrong).fit(df)
    with pytest.raises(ValueError, match="'v' in Param `labelCol` has no relations. Received type: array<int>"):
        DataFrameAnalyzer(labelCol="v").fit(df.selectExpr("x", "array(1) AS v"))
