"""The figures of the campaigns as the table of docs/reliability.md."""

from __future__ import annotations

from typing import Any

BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def with_figures(page: str, parts: dict[str, dict[str, Any]]) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + table(parts) + END + rest.split(END)[1]


def table(parts: dict[str, dict[str, Any]]) -> str:
    lines = ["| campaign | disturbed | results with the same bits | recovery, median (max) |", "|---|---|---|---|"]
    lines += [_row(name, part) for name, part in parts.items()]
    about = sorted({f"{part['machine']}, {part['date']}" for part in parts.values()})
    told = f"Measured on {'; '.join(about)}." if about else "Nothing was measured yet."
    left = [_left(part) for part in parts.values() if "before" in part]
    return "\n".join([*lines, "", told, *left]) + "\n"


def _row(name: str, part: dict[str, Any]) -> str:
    same = f"{part['same']} of {part.get('finished', part['fits'])} fits"
    if "before" in part:
        disturbed = (
            f"{part['cancelled']} of {part['fits']} fits interrupted; each ended within {part['maxEndSeconds']} s"
        )
    elif "resumedAt" in part:
        kills = f"{part['kills']} kill{'s'[: part['kills'] > 1]} of the driver"
        disturbed = f"{kills}, a checkpoint every {_interval(part['interval'])}"
    elif "every" in part:
        disturbed = f"a kill every {part['every']:g} s for {part['seconds'] / 60:.0f} min: {part['kills']}"
    else:
        start = f"{part['atStart']} before the first round"
        disturbed = f"{part['kills']} kill{'s'[: part['kills'] > 1]} ({part['executors']} of executors; {start})"
    recovery = ""
    if part.get("medianSeconds") is not None:
        recovery = f"{part['medianSeconds']} s ({part['maxSeconds']} s)"
    return f"| {name} | {disturbed} | {same} | {recovery} |"


def _interval(interval: int | str) -> str:
    return interval if isinstance(interval, str) else f"{interval} epoch{'s'[: interval > 1]}"


def _left(part: dict[str, Any]) -> str:
    rows = [f"| {name} | {value} | {part['after'][name]} |" for name, value in part["before"].items()]
    head = (
        f"What the driver's process held before and after the {part['fits']} fits of the campaign with cancelled ones:"
    )
    return "\n".join(["", head, "", "| | before | after |", "|---|---|---|", *rows])
