"""Which ratios are aimed at, and whether the figures reach them."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

Cases = dict[str, Any]

# (case, competitor, compared with, at least this ratio)
RATIOS = [
    ("mlp", "every 10", "fit", 10),
    ("mlp", "every 10", "best", 3),
    ("mlp", "every 10", "elephas", 13),
    ("mlp", "every 10", "kernel 10", 0.5),
    ("mlp", "every 50", "fit", 22),
    ("mlp", "every 50", "best", 6.5),
    ("mlp", "every 50", "elephas", 30),
    ("mlp", "every 50", "kernel 50", 0.85),
    ("jax", "every 10", "fit", 10),
    ("jax", "every 10", "best", 3),
    ("jax", "every 10", "kernel 10", 0.6),
    ("whole_job", "every 10", "to pandas", 6),
    ("wide", "every 10", "best", 1.6),
    ("lenet", "every 10", "best", 1.3),
    ("lstm", "every 10", "best", 1.3),
    ("transform", "transform", "predict_batch_udf", 3),
    ("transform", "transform", "elephas", 20),
    ("transform", "transform", "copy", 0.6),
    ("analysis", "analyzer", "summary", 0.5),
    ("file_shards", "file", "memory", 0.7),
]
OVERHEAD_MILLISECONDS = 1.0
GROWTH_PERCENT = 5.0
LARGE_MODEL_STATES = 2.5
MORE_WORKERS_PERCENT = 10.0
COLLECTING_PERCENT = 2.0
FROZEN_ROUND = 1.1
# What the first fits bring into memory stays there; growth counts from this fit on.
SETTLED_FITS = 5


class Outcome(NamedTuple):
    """One line of the table of targets; `measured` is None where a figure is missing.

    `limit` is what the kernel alone measures against the same competitor, where that is less than the target: then
    rounds that took no time at all would not reach it.
    """

    case: str
    competitor: str
    compared: str
    target: str
    measured: str | None
    reached: bool | None
    limit: str | None = None


def median(cases: Cases, case: str, competitor: str, figure: str = "rate") -> float | None:
    runs = cases.get(case, {}).get("runs", {}).get(competitor, [])
    values = [run[figure] for run in runs if figure in run]
    return statistics.median(values) if values else None


def ratio(cases: Cases, case: str, competitor: str, compared: str) -> float | None:
    """Of the medians; None where one is missing."""
    own, other = median(cases, case, competitor), median(cases, case, compared)
    return None if own is None or other is None else own / other


def overhead(cases: Cases, frequency: int) -> float | None:
    """Milliseconds of a round beyond those of the kernel."""
    whole = median(cases, "mlp", f"every {frequency}", "milliseconds per round")
    kernel = median(cases, "mlp", f"kernel {frequency}", "milliseconds per round")
    return None if whole is None or kernel is None else whole - kernel


def growth(cases: Cases, who: str) -> float | None:
    """Per cent that resident memory has grown at the end, since the first fits."""
    runs = cases.get("fits_in_a_row", {}).get("runs", {}).get("memory")
    if not runs:
        return None
    memory = runs[0][who]
    return 100 * (memory[-1] / memory[SETTLED_FITS - 1] - 1)


def _limit(cases: Cases, case: str, competitor: str, compared: str, least: float) -> str | None:
    kernel = competitor.replace("every", "kernel")
    if kernel in (competitor, compared):
        return None
    found = ratio(cases, case, kernel, compared)
    return None if found is None or found >= least else f"{found:.2f}×"


def outcomes(cases: Cases) -> list[Outcome]:
    lines = []
    for case, competitor, compared, least in RATIOS:
        found = ratio(cases, case, competitor, compared)
        measured, reached = (None, None) if found is None else (f"{found:.2f}×", found >= least)
        limit = _limit(cases, case, competitor, compared, least)
        lines.append(Outcome(case, competitor, compared, f"≥ {least}×", measured, reached, limit))
    for frequency in (10, 50):
        found = overhead(cases, frequency)
        lines.append(_at_most("mlp", f"every {frequency}", "overhead", found, OVERHEAD_MILLISECONDS, ".2f", " ms"))
    for who in ("driver", "workers"):
        found = growth(cases, who)
        lines.append(_at_most("fits_in_a_row", who, "growth", found, GROWTH_PERCENT, "+.1f", " %"))
    for competitor in ("every 10", "every 50"):
        found = median(cases, "timeline", competitor, "share")
        lines.append(_at_most("timeline", competitor, "training", found, COLLECTING_PERCENT, ".2f", " %"))
    whole, computing = (
        median(cases, "frozen", "every 10", each) for each in ("milliseconds per round", "computing, ms")
    )
    found = None if whole is None or computing is None else whole / computing
    lines.append(_at_most("frozen", "every 10", "computing", found, FROZEN_ROUND, ".2f", "×"))
    two, four = (median(cases, "large_model", workers, "states") for workers in ("2", "4"))
    lines.append(_at_most("large_model", "2", "states", two, LARGE_MODEL_STATES, ".2f", ""))
    more = None if two is None or four is None else 100 * (four / two - 1)
    # Less memory with more workers would be as strange.
    outcome = _at_most("large_model", "4", "2", more, MORE_WORKERS_PERCENT, "+.1f", " %")
    reached = None if more is None else abs(more) <= MORE_WORKERS_PERCENT
    return [*lines, outcome._replace(target=f"± {MORE_WORKERS_PERCENT:g} %", reached=reached)]


def _at_most(
    case: str, competitor: str, compared: str, found: float | None, limit: float, pattern: str, unit: str
) -> Outcome:
    target = f"≤ {limit:g}{unit}"
    if found is None:
        return Outcome(case, competitor, compared, target, None, None)
    return Outcome(case, competitor, compared, target, f"{found:{pattern}}{unit}", found <= limit)
