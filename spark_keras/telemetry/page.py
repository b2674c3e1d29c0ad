"""A training summary as one page that opens offline."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np

from spark_keras.reports import charts
from spark_keras.reports.numbers import short
from spark_keras.reports.render import render as render_page
from spark_keras.telemetry.tables import START_PHASES, require_timeline, start_of, start_seconds
from spark_keras.telemetry.timeline import together

_BINS = 12

# As WorkerThroughput names its results.
_THROUGHPUT = re.compile(r"worker_\d+_(rows_per_second)")

# Blocks in a lane of the timeline, and layers, that are drawn.
_BLOCKS = 250
_LAYERS = 16


def render(summary: Any, title: str) -> str:
    """The page as text."""
    timeline = require_timeline(summary)
    records = timeline["records"]
    return render_page(
        "training.html",
        title=title,
        tiles=_tiles(summary),
        learning=learning_curves(summary.history, summary.initialEpoch),
        timeline=_lanes(timeline),
        merged=max([record["rounds"] for record in records] or [1]) * max(1, -(-len(records) // _BLOCKS)),
        phases=_phases(timeline),
        slowest=timeline["slowest"],
        **_magnitudes(timeline["magnitudes"]),
        plan=_plan(summary.plan),
    )


def _tiles(summary: Any) -> list[tuple[str, Any]]:
    imports = [start["import"] for start in summary.timeline["start"] if "import" in start]
    trained = sum(record_rows for record in summary.timeline["records"] for record_rows in record["rows"])
    moved = summary.roundBytes * summary.rounds * summary.numWorkers
    return [
        ("epochs", summary.epochs),
        ("rows per epoch", sum(summary.rows)),
        ("workers", summary.numWorkers),
        ("rounds", summary.rounds),
        ("kernel", summary.kernel),
        ("seconds", round(summary.seconds["total"], 1)),
        *([("seconds of the longest import", round(max(imports), 1))] if imports else []),
        ("rows/s", round(trained / max(summary.seconds["train"], 1e-9))),
        ("megabytes of states", round(moved / 1e6, 1)),
    ]


def learning_curves(history: dict[str, list[Any]], first: int) -> list[Any]:
    """A chart for each result, with that of the validation in it; the workers' throughput is one result.

    Args:
        first: the epoch that training began with, from 0 on.
    """
    groups: dict[str, list[str]] = {}
    for name in history:
        worker = _THROUGHPUT.fullmatch(name)
        groups.setdefault(worker[1] if worker else name.removeprefix("val_"), []).append(name)
    drawn = []
    for group, names in groups.items():
        series = {
            name: [(epoch + 1.0, value) for epoch, value in enumerate(history[name], first) if isinstance(value, float)]
            for name in names
        }
        if any(series.values()):
            drawn.append(charts.curves(series, f"{group} by epoch", "epoch"))
    return drawn


def _lanes(timeline: dict[str, Any]) -> Any:
    """Workers' seconds follow each other without a gap, from the loading of their rows on."""
    records = _coarse(timeline["records"])
    driver_phases, phases = timeline["driverPhases"], timeline["phases"]
    workers = []
    for worker, start in enumerate(timeline["start"]):
        spent = [list(zip(phases, record["workers"][worker])) for record in records]
        first = list(start_seconds(start).items())
        workers.append((f"worker {worker}", start_of(timeline, worker), [first, *spent]))
    origin = min([begin for _, begin, _ in workers] + [0.0])
    driver = [(r["began"] - origin, list(zip(driver_phases, r["driver"]))) for r in records]
    rows = [("driver", driver)]
    for name, begin, blocks in workers:
        totals = [sum(seconds for _, seconds in block) for block in blocks]
        begins = begin - origin + np.concatenate([[0.0], np.cumsum(totals)[:-1]])
        rows.append((name, list(zip(begins.tolist(), blocks))))
    names = list(dict.fromkeys([*START_PHASES, *phases, *driver_phases]))
    end = max([begin + sum(s for _, s in spent) for _, blocks in rows for begin, spent in blocks] or [0.0])
    return charts.lanes(rows, names, end, "Timeline of driver and workers")


def _coarse(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """So few records that a page can draw them."""
    each = -(-len(records) // _BLOCKS)
    return [together(records[first : first + each]) for first in range(0, len(records), max(each, 1))]


def _phases(timeline: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for index, name in enumerate(timeline["phases"]):
        each = [
            1e3 * seconds[index] / record["rounds"] for record in timeline["records"] for seconds in record["workers"]
        ]
        spent = [value for value in each if value > 0]
        if not spent:
            continue
        counts, edges = np.histogram(spent, _BINS)
        labels = [f"{low:.3g} to {high:.3g} ms" for low, high in itertools.pairwise(edges)]
        ends = (f"{edges[0]:.3g} ms", f"{edges[-1]:.3g} ms")
        found.append({"name": name, "counts": counts.tolist(), "labels": labels, "ends": ends})
    return found


def _magnitudes(told: dict[str, Any]) -> dict[str, Any]:
    layers, epochs = told["layers"][:_LAYERS], told["epochs"]
    short = [layer.rpartition("/")[2] or layer for layer in layers]
    names = short if len(set(short)) == len(short) else layers
    parameters: dict[str, list[Any]] = {name: [] for name in names}
    ratios: dict[str, list[Any]] = {name: [] for name in names}
    for epoch, sizes, changes in zip(epochs, told["parameters"], told["updates"]):
        for name, size, change in zip(names, sizes, changes):
            parameters[name].append((float(epoch), size))
            if size:
                ratios[name].append((float(epoch), change / size))
    return {
        "parameters": charts.curves(parameters, "Parameters by epoch", "epoch", logarithmic=True),
        "ratios": charts.curves(ratios, "Updates by epoch, as a share of the parameters", "epoch", logarithmic=True),
    }


def _plan(plan: dict[str, Any]) -> list[dict[str, str]]:
    planned, measured = dict(plan.get("planned", {})), plan.get("measured", {})
    reasons = planned.pop("reasons", {})
    return [
        {
            "name": name,
            "planned": short(planned.get(name, "")),
            "measured": short(measured.get(name, "")),
            "reason": reasons.get(name, ""),
        }
        for name in {**planned, **measured}
    ]
