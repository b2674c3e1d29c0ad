"""Small charts as inline SVG: they scale, print, need no script, and take their colours from the page's style."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape


def number(value: Any) -> str:
    """A figure for readers: whole numbers with separators, others with six significant digits; a dash for None.

    Times are shown to the second, in their own zone.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, datetime.datetime):
        return f"{value.replace(microsecond=0, tzinfo=None)}"
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[s]") if value.dtype == "datetime64[us]" else value).replace("T", " ")
    if isinstance(value, (bool, str, datetime.date, datetime.timedelta, np.timedelta64)):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.6g}" if 1e-4 <= abs(value) < 1e9 else f"{value:.5e}"


def histogram(counts: Sequence[int], labels: Sequence[str], title: str, width: int = 240, height: int = 64) -> Markup:
    """Upright bars side by side.

    Args:
        counts: heights.
        labels: what each bar stands for, shown with its count when it is pointed at.
        title: what the chart shows, for those who do not see it.
    """
    tallest = max([*counts, 1])
    step = width / max(len(counts), 1)
    bars = []
    for index, (count, label) in enumerate(zip(counts, labels)):
        # One that is there is seen.
        tall = max(height * count / tallest, 1.5) if count else 0
        place = f'x="{index * step:.2f}" y="{height - tall:.2f}" width="{max(step - 1, 0.5):.2f}"'
        bars.append(f'<rect {place} height="{tall:.2f}"><title>{escape(label)}: {count:,}</title></rect>')
    return _svg("histogram", title, width, height, bars)


def bars(items: Sequence[tuple[str, int]], title: str, width: int = 240, row: int = 18) -> Markup:
    """Lying bars below each other, each with its name on it.

    Args:
        items: (name, length), …
    """
    longest = max([count for _, count in items] or [1])
    drawn = []
    for index, (name, count) in enumerate(items):
        shown = name if len(name) <= 24 else name[:23] + "…"
        top = index * row
        drawn.append(
            f'<rect x="0" y="{top + 1}" width="{max(width * count / longest, 1.5):.2f}" height="{row - 2}">'
            f"<title>{escape(name)}: {count:,}</title></rect>"
            f'<text x="4" y="{top + row - 5}">{escape(shown)}</text>'
            f'<text x="{width - 4}" y="{top + row - 5}" text-anchor="end">{count:,}</text>'
        )
    return _svg("bars", title, width, max(row * len(items), row), drawn)


def _svg(kind: str, title: str, width: int, height: int, parts: Sequence[str]) -> Markup:
    label = escape(title)
    return Markup(
        f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
