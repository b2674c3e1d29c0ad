"""Comparing rows with an analysis: how rarely chance is told as a difference, and that true ones are found.

The decisions are functions of counts, so that they are tried here thousands of times without Spark.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spark_keras.analysis import comparisons, significance
from spark_keras.analysis.column_analysis import Histogram, Statistics
from spark_keras.analysis.comparisons import Tolerances, Unseen
from spark_keras.analysis.distributions import distribution_of
from spark_keras.analysis.places import Placed

# Without limits: whatever chance does not explain is told.
STRICT = Tolerances(0.0, 0.0, 0.0, 0.0, 0.01)
DEFAULTS = Tolerances(0.1, 0.01, 0.05, 0.0, 0.01)


def analysed(values: np.ndarray) -> Statistics:
    counts, edges = np.histogram(values, 10)
    return Statistics(
        count=len(values),
        nan=0,
        infinite=0,
        min=values.min(),
        max=values.max(),
        countAtMin=int((values == values.min()).sum()),
        countAtMax=int((values == values.max()).sum()),
        histogram=Histogram(tuple(edges), tuple(counts.tolist())),
        percentiles=tuple(np.quantile(values, np.linspace(0, 1, 101), method="inverted_cdf")),
    )


def placed(values: np.ndarray, edges: np.ndarray, nulls: int = 0) -> Placed:
    left, right = np.searchsorted(edges, values, "left"), np.searchsorted(edges, values, "right")
    return Placed(nulls, 0, 0, np.bincount(left + right, minlength=2 * len(edges) + 1), values.max())


def compared(before: np.ndarray, now: np.ndarray, nulls: tuple[int, int] = (0, 0), tolerances=STRICT):
    """The comparisons of a column of numbers, with so many nulls before and now."""
    statistics = analysed(before)
    distribution = distribution_of(statistics, 0.0001)
    counted = placed(now, distribution.edges, nulls[1])
    yield comparisons.Comparer("x", tolerances).nulls(counted, nulls[0], len(before) + nulls[0])
    yield from comparisons.Comparer("x", tolerances).numbers("values", counted, statistics, distribution)


def compared_categories(before: np.ndarray, now: np.ndarray, tolerances=STRICT):
    known = {text: count for text, count in enumerate(before.tolist()) if count}
    seen = {text: count for text, count in enumerate(now.tolist()) if text in known}
    times, categories = np.unique(now[(before == 0) & (now > 0)], return_counts=True)
    unseen = Unseen(dict(zip(times.tolist(), categories.tolist())))
    return comparisons.Comparer("c", tolerances).categories(seen, unseen, known)


def told(tests, tolerances=STRICT):
    return {drift.check for drift in comparisons.drifts(list(tests), tolerances.false_alarm_rate)}


# --- chance --------------------------------------------------------------------------------------------------------


def distributions(rng):
    """Draws of one distribution each, for any number of rows: continuous, heavy-tailed, whole, with ties."""
    return [
        lambda n: rng.normal(size=n),
        lambda n: rng.pareto(1.5, n),
        lambda n: rng.lognormal(0, 2, n),
        lambda n: rng.poisson(3, n).astype(float),
        lambda n: rng.random(n).round(1),
        lambda n: (rng.random(n) < 0.03).astype(float),
    ]


@pytest.mark.parametrize(
    "rows_before, rows, columns, trials",
    [(20, 20, 1, 400), (1000, 20, 1, 400), (1000, 50, 20, 60), (20, 1000, 20, 60), (1000, 1000, 20, 60)]
    + [(10_000, 50, 20, 30), (300, 100, 200, 10), (10_000, 10_000, 4, 20)],
)
def test_false_alarms_stay_within_the_rate_of_the_stage(rows_before, rows, columns, trials):
    rng = np.random.default_rng([rows_before, rows, columns])
    draws = distributions(rng)
    zipf = 1 / np.arange(1, 2000) ** 1.1
    alarms = 0
    for _ in range(trials):
        tests = []
        for column in range(columns):
            if column % 4 == 3:
                before, now = rng.multinomial(rows_before, zipf / zipf.sum()), rng.multinomial(rows, zipf / zipf.sum())
                tests += compared_categories(before, now)
            else:
                draw = draws[(column + rng.integers(2)) % len(draws)]
                nulls = rng.binomial(rows_before // 2, 0.1), rng.binomial(rows // 2, 0.1)
                tests += compared(draw(rows_before - nulls[0]), draw(rows - nulls[1]), nulls)
        alarms += bool(told(tests))
    # So many or more alarms, were the rate 1 %: less likely than one in a thousand.
    assert stats.binom.sf(alarms - 1, trials, 0.01) > 1e-3


def test_twenty_normal_columns_of_fifty_rows_are_like_those_of_a_thousand():
    """Where limits without a margin refused 86 of 100 batches."""
    rng = np.random.default_rng(1)
    columns = [rng.normal(size=1000) for _ in range(20)]
    refused = 0
    for _ in range(50):
        tests = [test for before in columns for test in compared(before, rng.normal(size=50), tolerances=DEFAULTS)]
        refused += bool(told(tests, DEFAULTS))
    assert refused <= 3


def test_probabilities_are_those_of_fisher_and_of_extremes():
    rng = np.random.default_rng(2)
    for _ in range(100):
        rows, rows_before = rng.integers(1, 3000, 2).tolist()
        now = int(rng.integers(0, min(rows, 30) + 1))
        before = int(rng.integers(0, min(rows_before, 30) + 1))
        exact = stats.hypergeom.sf(now - 1, rows + rows_before, now + before, rows)
        found = significance.increase(now, rows, before, rows_before)
        assert found == pytest.approx(exact, rel=1e-8) or (found == 1.0 and now * rows_before <= before * rows)
    # The greatest of 50 and 1000 exchangeable values is among the 50.
    assert significance.increase(1, 50, 0, 1000) == pytest.approx(50 / 1050)
    # Counts as of large tables, by the normal approximation.
    z = (500_100_000 - 500_000_000) / np.sqrt(10**9 * 0.25 * 2)
    found = significance.increase(500_100_000, 10**9, 500_000_000, 10**9)
    assert np.log(found) == pytest.approx(stats.norm.logsf(z), rel=0.01)


def test_holms_rule_is_that_of_its_paper():
    chosen = significance.significant([0.01, 0.04, 0.03, 0.005], 0.05)
    assert chosen.tolist() == [True, False, False, True]
    assert significance.significant([1.0, 0.5], 1.0).all()
    assert significance.significant([], 0.01).tolist() == []


def test_a_distance_is_never_more_than_that_of_all_rows_and_nearly_as_much():
    rng = np.random.default_rng(3)
    for draw in distributions(rng):
        before, now = draw(3000), draw(2000) * 1.3
        distribution = distribution_of(analysed(before), 0.0)
        found = distribution.distance(placed(now, distribution.edges).places)
        exact = stats.ks_2samp(before, now).statistic
        assert exact - 0.011 <= found <= exact + 1e-12


def test_dependent_values_of_a_row_count_as_one():
    """All positions of each array have the same value: a thousand rows tell no more than a thousand values."""
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        before, now = rng.normal(size=200), rng.normal(size=200)
        distribution = distribution_of(analysed(np.repeat(before, 50)), 0.0001)
        places = placed(np.repeat(now, 50), distribution.edges).places
        mean = distribution.distance(places, distribution.numbers / 200, 200) / 50
        assert mean == pytest.approx(distribution.distance(places))
        alarms += significance.mean_distance(mean, 200, 200) <= 0.05
    assert stats.binom.sf(alarms - 1, 200, 0.05) > 1e-3
    assert significance.mean_distance(0.3, 200, 200) < 1e-5


# --- power ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 20])
@pytest.mark.parametrize(
    "before, now",
    [
        (lambda rng: rng.pareto(1.5, 5000), lambda rng: rng.pareto(1.5, 5000) / 10),
        (lambda rng: rng.lognormal(0, 2, 5000), lambda rng: rng.lognormal(0, 2, 5000) * 5),
        (lambda rng: np.append(rng.normal(size=4999), 1e6), lambda rng: rng.normal(size=5000) * 100),
        (lambda rng: np.append(rng.normal(size=4999), 1e6), lambda rng: np.full(5000, 0.5)),
        (lambda rng: rng.standard_cauchy(5000), lambda rng: rng.standard_cauchy(5000) * 3),
        (lambda rng: 10 ** rng.uniform(-9, 9, 5000), lambda rng: 10 ** rng.uniform(-9, 6, 5000)),
        (lambda rng: rng.poisson(2, 5000).astype(float), lambda rng: rng.poisson(3, 5000).astype(float)),
    ],
)
def test_differences_of_heavy_tails_are_found(before, now, columns):
    rng = np.random.default_rng(5)
    for _ in range(10):
        same = [test for _ in range(columns - 1) for test in compared(*rng.normal(size=(2, 500)), tolerances=DEFAULTS)]
        tests = [*same, *compared(before(rng), now(rng), tolerances=DEFAULTS)]
        assert "distribution" in told(tests, DEFAULTS)


def test_new_categories_nulls_and_extremes_are_found():
    rng = np.random.default_rng(6)
    before, now = rng.normal(size=(2, 1000))
    assert told(compared(before, np.append(now, [50.0] * 20), tolerances=DEFAULTS), DEFAULTS) == {"range"}
    assert told(compared(before, now, (0, 100), DEFAULTS), DEFAULTS) == {"nulls"}
    # Three of 50 from far away are no chance beside 1000; one may be.
    assert told(compared(before, np.append(now[:47], [50.0] * 3), tolerances=DEFAULTS), DEFAULTS) == {"range"}
    assert told(compared(before, np.append(now[:49], [50.0]), tolerances=DEFAULTS), DEFAULTS) == set()
    known = np.array([600, 400, 0, 0])
    assert "categories" in told(compared_categories(known, np.array([600, 385, 15, 0])))
    assert "categories" in told(compared_categories(known, np.array([600, 385, 8, 7])))
    assert told(compared_categories(known, np.array([590, 409, 1, 0]))) == set()
    assert told(compared_categories(known, np.array([400, 600, 0, 0]))) == {"distribution"}


def test_only_the_limits_decide_where_any_false_alarm_is_allowed():
    rng = np.random.default_rng(7)
    limits = DEFAULTS._replace(false_alarm_rate=1.0)
    before = rng.normal(size=1000)
    assert told(compared(before, np.append(before[:49], before.max() + 1), tolerances=limits), limits) >= {"range"}
    assert told(compared(before, before, tolerances=limits), limits) == set()
