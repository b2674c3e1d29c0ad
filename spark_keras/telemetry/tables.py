"""A training summary as a table and as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spark_keras.reports import tables

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

# The driver among the workers.
DRIVER = -1

# What a worker does before its first round, and how it tells it. A summary of an older version has no imports.
START_PHASES = {"loading": "load", "importing": "awaitImport", "building": "build"}


def require_timeline(summary: Any) -> dict[str, Any]:
    if not summary.timeline:
        raise ValueError("This fit has not told what happened when: its summary was saved by an older version.")
    return summary.timeline


def start_seconds(start: dict[str, float]) -> dict[str, float]:
    """Seconds of a worker before its first round, by phase."""
    return {phase: start.get(told, 0.0) for phase, told in START_PHASES.items()}


def start_of(timeline: dict[str, Any], worker: int) -> float:
    """Time at which a worker began to load its rows, in seconds since the first round began.

    Its seconds follow each other without a gap, and its first answer came when the first round ended.
    """
    spent = sum(start_seconds(timeline["start"][worker]).values())
    if not timeline["records"]:
        return -spent
    first = timeline["records"][0]
    return first["began"] + first["seconds"] - sum(first["workers"][worker]) - spent


def table(summary: Any) -> pandas.DataFrame:
    """One row for each record and worker, and one for the driver; first those of the workers' start."""
    pandas = tables.required("pandas", "pandas", "toPandas()")
    timeline = require_timeline(summary)
    phases = dict.fromkeys([*START_PHASES, *timeline["phases"]], 0.0)
    rows = []
    for worker, start in enumerate(timeline["start"]):
        spent = start_seconds(start)
        when = {"epoch": 0, "round": 0, "began": start_of(timeline, worker), "seconds": sum(spent.values())}
        rows.append({**when, "worker": worker, "rounds": 0, "rows": 0, "bytes": 0, **phases, **spent})
    for record in timeline["records"]:
        shared = {name: record[name] for name in ("epoch", "round", "rounds", "began", "seconds")}
        rows.append({**shared, "worker": DRIVER, **dict(zip(timeline["driverPhases"], record["driver"]))})
        for worker, (trained, seconds) in enumerate(zip(record["rows"], record["workers"])):
            rate = trained / max(record["driver"][0] + record["driver"][1], 1e-9)
            moved = {"rows": trained, "rowsPerSecond": rate, "bytes": summary.roundBytes * record["rounds"]}
            rows.append({**shared, "worker": worker, **moved, **phases, **dict(zip(timeline["phases"], seconds))})
    columns = ["epoch", "round", "rounds", "began", "seconds", "worker", "rows", "rowsPerSecond", "bytes"]
    return pandas.DataFrame(rows, columns=list(dict.fromkeys([*columns, *phases, *timeline["driverPhases"]])))


def phase_seconds(summary: Any) -> list[dict[str, float]]:
    """Seconds of each worker by phase, over the whole fit, its start included."""
    timeline = require_timeline(summary)
    totals = []
    for worker, start in enumerate(timeline["start"]):
        seconds = start_seconds(start)
        for index, phase in enumerate(timeline["phases"]):
            spent = sum(record["workers"][worker][index] for record in timeline["records"])
            seconds[phase] = seconds.get(phase, 0.0) + spent
        totals.append(seconds)
    return totals


def plot(summary: Any) -> Figure:
    """Learning curves, time by phase of each worker, rows/s: one matplotlib figure."""
    require_timeline(summary)
    new, (curves, times, rates) = tables.figure(3)
    for name, values in summary.history.items():
        if values and isinstance(values[-1], float):
            epochs = range(summary.initialEpoch + 1, summary.initialEpoch + len(values) + 1)
            curves.plot(epochs, values, label=name, linestyle="--" if "val_" in name else "-")
    curves.set(title="Learning curves", xlabel="epoch")
    curves.legend(fontsize="small")

    totals = phase_seconds(summary)
    left = [0.0] * len(totals)
    for phase in totals[0]:
        width = [worker[phase] for worker in totals]
        times.barh(range(len(totals)), width, left=left, label=phase)
        left = [a + b for a, b in zip(left, width)]
    times.set(title="Where the time went", xlabel="seconds", ylabel="worker", yticks=range(len(totals)))
    times.legend(fontsize="small")

    frame = table(summary)
    for worker, own in frame[(frame.worker >= 0) & (frame.rounds > 0)].groupby("worker"):
        rates.plot(own.began + own.seconds, own.rowsPerSecond, label=f"worker {worker}")
    rates.set(title="Rows per second", xlabel="seconds", ylim=(0, None))
    rates.legend(fontsize="small")
    return new
