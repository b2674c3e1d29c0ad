"""docs/benchmarks.md, made of the figures in docs/benchmarks.json alone."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import targets
from benchmarks.texts import COMPETITORS, INTRODUCTION, OVERHEAD, ROUNDS, SECTIONS

Cases = dict[str, Any]
Result = dict[str, Any]


def write(cases: Cases) -> str:
    """The page.

    Args:
        cases: results by case; one that was never measured is missing.
    """
    lines = ["# Benchmarks", "", *_prose(INTRODUCTION), "", *_prose(ROUNDS), "", *_targets(cases)]
    for name, section in SECTIONS.items():
        if name not in cases:
            continue
        table = OWN_TABLES.get(name)
        rows = table(cases[name]) if table else _speeds(cases, name, section.compared)
        lines += ["", f"## {section.title}", "", *_prose(section.text), "", *_about(cases[name]), "", *rows]
        phases = _phases(cases[name])
        lines += ["", "Where the time of a round goes, in milliseconds:", "", *phases] if phases else []
        lines += ["", *_prose(OVERHEAD), "", *_overhead(cases)] if name == "mlp" else []
    return "\n".join(lines) + "\n"


def _targets(cases: Cases) -> list[str]:
    outcomes = targets.outcomes(cases)
    reached, missed, unknown = (sum(each.reached is verdict for each in outcomes) for verdict in (True, False, None))
    lines = [
        "## Targets",
        "",
        f"{reached} of {len(outcomes)} targets are reached, {missed} are not, {unknown} are not measured.",
        "Ratios are those of the medians below.",
        "",
        *_head(["case", "competitor", "compared with", "target", "measured", "verdict"]),
    ]
    for each in outcomes:
        verdict = {True: "reached", False: "**not reached**", None: "not measured"}[each.reached]
        if each.reached is False and each.limit:
            verdict += f"; the kernel alone: {each.limit}"
        names = [SECTIONS[each.case].title, COMPETITORS[each.competitor], COMPETITORS[each.compared]]
        lines.append(_row([*names, each.target, each.measured or "", verdict]))
    return lines


def _about(result: Result) -> list[str]:
    """Settings, versions, machine and date, a line each."""
    settings = result["settings"]
    told = [f"{settings['rows']:,} rows"] if "rows" in settings else []
    names = ("gigabytes", "epochs", "fits")
    told += [f"{settings[name]} {name}" for name in names if name in settings]
    told += [f"{name} {settings[name]}" for name in ("batch", "repeats", "maxShardMemory") if name in settings]
    lines = [f"- {', '.join(told)}."] if told else []
    if "options tried" in settings:
        tried = "; ".join(f"{name}: {rate:,.0f}" for name, rate in settings["options tried"].items())
        lines.append(f"- Options tried, rows/s: {tried}. Best: {settings['best options']}.")
    competitors: dict[str, list[str]] = {}
    for competitor, versions in result["versions"].items():
        competitors.setdefault(", ".join(f"{name} {version}" for name, version in versions.items()), []).append(
            competitor
        )
    lines += [f"- {', '.join(names)}: {versions}." for versions, names in competitors.items()]
    return [*lines, f"- {result['machine']}; {result['date']}."]


def _speeds(cases: Cases, name: str, compared: Sequence[str]) -> list[str]:
    """A line for each competitor: its speed, ratios to the others, and the loss that it reached."""
    runs = cases[name]["runs"]
    compared = [other for other in compared if other in runs]
    figures = [
        figure for figure in ("seconds", "rate", "loss") if any(figure in run for run in next(iter(runs.values())))
    ]
    columns = {"seconds": "seconds", "rate": "rows/s", "loss": "loss reached"}
    head = [columns[figure] for figure in figures]
    at = figures.index("rate") + 1
    head[at:at] = [f"against {COMPETITORS[other]}" for other in compared]
    lines = _head(["competitor", *head])
    patterns = {"seconds": ".2f", "rate": ",.0f", "loss": ".4f"}
    for competitor, each in runs.items():
        kernels = sorted({run["kernel"] for run in each if "kernel" in run})
        cells = [_spread(each, figure, patterns[figure]) for figure in figures]
        cells[at:at] = [f"{targets.ratio(cases, name, competitor, other):.2f}×" for other in compared]
        lines.append(_row([COMPETITORS[competitor] + (f" (`{', '.join(kernels)}`)" if kernels else ""), *cells]))
    return lines


def _phases(result: Result) -> list[str]:
    """A line for each competitor whose rounds were taken apart; none if there is no such competitor."""
    columns = {
        "milliseconds per round": "a round",
        "computing, ms": "computing",
        "kernel alone": "the kernel alone",
        "loading, ms": "preparing minibatches",
        "wire, ms": "wire",
        "waiting, ms": "waiting",
        "averaging, ms": "of it, averaging",
        "callbacks, ms": "of it, callbacks",
    }
    rows = []
    for competitor, runs in result["runs"].items():
        if any("computing, ms" in run for run in runs):
            alone = result["runs"].get(competitor.replace("every", "kernel"), [])
            spreads = {figure: _spread(runs, figure, ".2f") for figure in columns}
            spreads["kernel alone"] = _spread(alone, "milliseconds per round", ".2f")
            rows.append(_row([COMPETITORS[competitor], *spreads.values()]))
    return [*_head(["", *columns.values()]), *rows] if rows else []


def _overhead(cases: Cases) -> list[str]:
    lines = _head(["averaging every", "milliseconds per round", "of the kernel alone", "overhead"])
    for frequency in (10, 50):
        runs = [cases["mlp"]["runs"].get(f"{kind} {frequency}", []) for kind in ("every", "kernel")]
        overhead = targets.overhead(cases, frequency)
        spreads = [_spread(each, "milliseconds per round", ".2f") for each in runs]
        lines.append(_row([str(frequency), *spreads, "" if overhead is None else f"{overhead:.2f}"]))
    return lines


def _frozen(result: Result) -> list[str]:
    figures = {"rate": ",.0f", "milliseconds per round": ".1f", "state bytes": ",.0f", "loss": ".4f"}
    lines = _head(["competitor", "rows/s", "milliseconds per round", "bytes of the state", "loss reached"])
    for competitor, runs in result["runs"].items():
        kernels = ", ".join(sorted({run["kernel"] for run in runs}))
        cells = (_spread(runs, *each) for each in figures.items())
        lines.append(_row([f"{COMPETITORS[competitor]} (`{kernels}`)", *cells]))
    return lines


def _fits_in_a_row(result: Result) -> list[str]:
    lines = _head(["resident memory, MiB", "after the fifth fit", "after the last", "growth"])
    for who in ("driver", "workers"):
        memory = result["runs"]["memory"][0][who]
        settled, last = (memory[fit] / 2**20 for fit in (targets.SETTLED_FITS - 1, -1))
        growth = 100 * (last / settled - 1)
        lines.append(_row([COMPETITORS[who], f"{settled:,.0f}", f"{last:,.0f}", f"{growth:+.1f} %"]))
    return lines


def _frequency(result: Result) -> list[str]:
    lines = _head(["averagingFrequency", "validation AUC", "validation loss", "rows/s"])
    for frequency, runs in result["runs"].items():
        figures = {"auc": ".4f", "loss": ".4f", "rate": ",.0f"}
        lines.append(_row([frequency, *(_spread(runs, figure, pattern) for figure, pattern in figures.items())]))
    return lines


def _timeline(result: Result) -> list[str]:
    lines = _head(["", "round, µs", "of it the driver's notes, µs", "a worker's notes, µs", "share of the training, %"])
    for competitor, runs in result["runs"].items():
        figures = {"round": ",.0f", "driver": ".1f", "worker": ".1f", "share": ".2f"}
        lines.append(_row([COMPETITORS[competitor], *(_spread(runs, *each) for each in figures.items())]))
    return lines


def _large_model(result: Result) -> list[str]:
    memory = ["driver with the model, in states", "driver's peak above that, in states"]
    lines = _head(["workers", "parameters", "rounds", *memory, "seconds of the fit", "loss"])
    for workers, (run,) in result["runs"].items():
        cells = [workers, f"{run['parameters']:,}", str(run["rounds"]), f"{run['built']:.2f}", f"{run['states']:.2f}"]
        lines.append(_row([*cells, f"{run['seconds']:.0f}", f"{run['loss']:.3f}"]))
    return lines


def _file_shards(result: Result) -> list[str]:
    lines = _head(["", "seconds until the first round", "rows/s", "a worker's peak, GiB", "loss reached"])
    for name, (run,) in result["runs"].items():
        cells = [COMPETITORS[name], f"{run['start seconds']:.0f}", f"{run['rate']:,.0f}"]
        lines.append(_row([*cells, f"{run['worker bytes'] / 2**30:.2f}", f"{run['loss']:.4f}"]))
    return lines


OWN_TABLES = {
    "frozen": _frozen,
    "fits_in_a_row": _fits_in_a_row,
    "frequency": _frequency,
    "timeline": _timeline,
    "large_model": _large_model,
    "file_shards": _file_shards,
}


def _prose(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 120)


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(runs: list[dict[str, Any]], figure: str, pattern: str) -> str:
    """Median (minimum–maximum); empty where nothing was measured."""
    values = [run[figure] for run in runs if figure in run]
    if not values:
        return ""
    return f"{statistics.median(values):{pattern}} ({min(values):{pattern}}–{max(values):{pattern}})"
