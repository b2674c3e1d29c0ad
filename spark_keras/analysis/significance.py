"""Probabilities that chance makes two samples of one distribution so different: functions of counts, without Spark.

Each gives an upper bound of a p-value, for any sizes of the samples. Where the counts are all that matters, the
question is how the rows of both samples together, taken as they are, fall to the two by chance (a permutation test):
that of one category is Fisher's exact test. `significant` then decides for many of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Sufficient for two samples of the same size, whatever it is: theorem 1 in Wei and Dudley, "Two-sample
# Dvoretzky-Kiefer-Wolfowitz inequalities", 2012. Of unequal sizes they found none that needs more.
_TWO_SAMPLES = math.e


def significant(probabilities: Sequence[float], rate: float) -> np.ndarray:
    """Chooses the p-values that stand against `rate` for all of them together: Holm's step-down rule.

    Where no row has changed its distribution, one or more are chosen with a probability of at most `rate`, however the
    tests depend on each other (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    Returns:
        Booleans; all true for a rate of 1.
    """
    order = np.argsort(probabilities, kind="stable")
    left = np.arange(len(order), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(left * np.asarray(probabilities, float)[order]), 1.0)
    chosen = np.zeros(len(order), bool)
    chosen[order] = adjusted <= rate
    return chosen


def increase(now: int, rows: int, before: int, rows_before: int) -> float:
    """Of `now` among `rows` and `before` among `rows_before`: so many or more now, by chance (Fisher's exact test).

    For values beyond all that were there before (`before` = 0) it is the chance that the `now` greatest of both samples
    are all in the new one; a single one beyond has the chance rows / (rows + rows_before).
    """
    found, everything = now + before, rows + rows_before
    if now <= found * rows / everything:
        return 1.0
    first = math.exp(_log_choose(rows, now) + _log_choose(rows_before, before) - _log_choose(everything, found))
    # The terms of the hypergeometric distribution above, each from the one before.
    total, term, last = first, first, min(rows, found)
    for start in range(now, last, 1024):
        x = np.arange(start, min(start + 1024, last), dtype=float)
        terms = term * np.cumprod((found - x) * (rows - x) / ((x + 1) * (rows_before - found + x + 1)))
        total, term = total + float(terms.sum()), float(terms[-1])
        if term <= 1e-17 * total:
            break
    return min(total, 1.0)


def distance(kolmogorov_smirnov: float, rows: int, rows_before: int) -> float:
    """So great a distance between the distribution functions of two samples."""
    z2 = _squared_z(kolmogorov_smirnov, rows, rows_before)
    return min(1.0, _TWO_SAMPLES * math.exp(-2 * z2))


def mean_distance(mean: float, rows: int, rows_before: int) -> float:
    """So great a mean of the distances of several quantities, which may depend on each other, of the same rows.

    By Markov's inequality for exp(4 z / s * mean), which is at most the mean of that of each distance.
    """
    z2 = _squared_z(mean, rows, rows_before)
    return min(1.0, math.exp(-4 * z2) + _TWO_SAMPLES * math.sqrt(8 * math.pi * z2) * math.exp(-2 * z2))


def _squared_z(distance: float, rows: int, rows_before: int) -> float:
    return max(distance, 0.0) ** 2 / (1 / rows + 1 / rows_before)


def frequencies(now: np.ndarray, before: np.ndarray) -> float:
    """So different frequencies of categories: their total variation, or the frequency of one of them.

    The total variation exceeds its mean over all permutations by t with a probability of at most exp(-2 t**2 / s)
    (El-Yaniv and Pechyony, "Transductive Rademacher complexity and its applications", 2009, lemma 2); a single
    category's frequency is judged by Fisher's exact test, times the number of categories.

    Args:
        now, before: how often each category occurs in either sample; none is 0 in both.
    """
    rows, rows_before = int(now.sum()), int(before.sum())
    everything, both = rows + rows_before, now + before
    scale = 1 / rows + 1 / rows_before
    expected = both * rows / everything
    differences = np.abs(now - expected) * scale
    by_chance = _mean_deviation(both, rows, rows_before) * scale
    excess = max(float((differences - by_chance).sum()) / 2, 0.0)
    spread = everything**2 / (rows * rows_before * (everything - 0.5))
    spread /= 1 - 1 / (2 * max(rows, rows_before))
    variation = math.exp(-2 * excess**2 / spread)
    # Those that differ most, in standard deviations.
    most = np.argsort(-np.abs(now - expected) / np.sqrt(expected))[:10]
    least = min(
        min(increase(a, rows, b, rows_before), increase(b, rows_before, a, rows))
        for a, b in zip(now[most].tolist(), before[most].tolist())
    )
    return min(1.0, 2 * min(variation, 2 * len(now) * least))


def _mean_deviation(both: np.ndarray, rows: int, rows_before: int) -> np.ndarray:
    """Mean absolute deviation of a hypergeometric count, for each category.

    In closed form, as Diaconis and Zabell have it for all such sums ("Closed form summation for classical
    distributions", 1991).
    """
    everything = rows + rows_before
    found, where = np.unique(both, return_inverse=True)
    deviations = []
    for count in found.tolist():
        k = math.floor(count * rows / everything) + 1
        if k > min(count, rows):
            # All of the rows, or all of the category: nothing is left to chance.
            deviations.append(0.0)
            continue
        log = _log_choose(rows, k) + _log_choose(rows_before, count - k) - _log_choose(everything, count)
        deviations.append(2 * k * (rows_before - count + k) / everything * math.exp(log))
    return np.array(deviations)[where]


def unseen(now: np.ndarray, before: np.ndarray) -> float:
    """So many values of categories that are not in the other sample.

    Rare categories are always missing from one of two samples: as Good and Turing found, a category that occurs once is
    as likely in the new one alone. Of both samples together a category of c values is wholly in the new one with the
    probability h(c) = C(N - c, m - c) / C(N, m); these events are negatively associated, so that Chernoff's bound holds
    for their sum (Joag-Dev and Proschan, "Negative association of random variables", 1983).

    Args:
        now, before: how often each category occurs in either sample; none is 0 in both.
    """
    rows, rows_before = int(now.sum()), int(before.sum())
    new = int(now[before == 0].sum())
    if not new:
        return 1.0
    counts, categories = np.unique(now + before, return_counts=True)
    possible = counts <= rows
    counts, categories = counts[possible], categories[possible]
    everything = rows + rows_before
    log_h = np.array(
        [_log_choose(everything - count, rows - count) - _log_choose(everything, rows) for count in counts.tolist()]
    )
    log_h = np.minimum(log_h, 0.0)
    with np.errstate(divide="ignore"):
        log_other = np.log(-np.expm1(log_h))
    slopes = np.concatenate([np.geomspace(1e-4, 1e-2, 50), np.linspace(0.01, 5, 500), np.linspace(5, 60, 111)])[:, None]
    bounds = (np.logaddexp(log_other, log_h + slopes * counts) * categories).sum(axis=1) - slopes[:, 0] * new
    return min(1.0, math.exp(min(float(bounds.min()), 0.0)))


def _log_choose(n: int, k: int) -> float:
    return -math.inf if k < 0 or k > n else math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
