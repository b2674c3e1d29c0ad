"""Charts, curves and timelines as inline SVG: they scale, print, need no script, and take their colours from the page's
style.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from spark_keras.reports import numbers

# Colours that are told apart on light and dark paper; then they repeat.
COLOURS = (
    "#3b82c4",
    "#d1663f",
    "#4d9b57",
    "#9467bd",
    "#b8962e",
    "#17a2a2",
    "#c2569b",
    "#7f7f7f",
    "#8c5a3c",
    "#e0a03a",
    "#5f6ac4",
    "#a3c44b",
)


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
    return svg("chart histogram", title, width, height, bars)


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
    return svg("chart bars", title, width, max(row * len(items), row), drawn)


def svg(kind: str, title: str, width: float, height: float, parts: Sequence[str]) -> Markup:
    """A chart of these parts; its kind is its class in the page's style."""
    label = escape(title)
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    x: str,
    width: int = 480,
    height: int = 220,
    logarithmic: bool = False,
) -> Markup:
    """Lines over a common axis, with a legend below.

    Args:
        series: points (x, y) by name; those that are not finite are left out.
        x: what the axis is.
        logarithmic: whether the upright axis is; points that are not positive are left out then.
    """
    kept = {
        name: [(a, b) for a, b in points if b is not None and math.isfinite(b) and (b > 0 or not logarithmic)]
        for name, points in series.items()
    }
    everything = [point for points in kept.values() for point in points]
    if not everything:
        return Markup(f'<p class="hint">{escape(title)}: nothing to draw.</p>')
    scale = math.log10 if logarithmic else float
    left, right = min(a for a, _ in everything), max(a for a, _ in everything)
    low, high = min(scale(b) for _, b in everything), max(scale(b) for _, b in everything)
    margin, bottom = 56, 28

    def place(a: float, b: float) -> str:
        across = margin + (a - left) / ((right - left) or 1) * (width - margin - 8)
        up = (height - bottom) - (scale(b) - low) / ((high - low) or 1) * (height - bottom - 10)
        return f"{across:.1f},{up:.1f}"

    parts = []
    for index, points in enumerate(kept.values()):
        drawn = " ".join(place(a, b) for a, b in points)
        parts.append(f'<polyline fill="none" stroke="{colour(index)}" stroke-width="1.5" points="{drawn}"/>')
        if len(points) == 1:
            at, up = drawn.split(",")
            parts.append(f'<circle fill="{colour(index)}" r="3" cx="{at}" cy="{up}"/>')
    ends = (10**low, 10**high) if logarithmic else (low, high)
    parts += [
        f'<line x1="{margin}" y1="{height - bottom}" x2="{width - 8}" y2="{height - bottom}" stroke="currentColor"/>',
        f'<text x="{margin}" y="{height - 10}">{escape(numbers.number(left))}</text>',
        f'<text x="{(width + margin) / 2}" y="{height - 10}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="{width - 8}" y="{height - 10}" text-anchor="end">{escape(numbers.number(right))}</text>',
        f'<text x="{margin - 4}" y="{height - bottom}" text-anchor="end">{escape(numbers.end(ends[0]))}</text>',
        f'<text x="{margin - 4}" y="18" text-anchor="end">{escape(numbers.end(ends[1]))}</text>',
    ]
    return svg("drawing curves", title, width, height, parts) + legend(list(kept))


def lanes(
    rows: Sequence[tuple[str, Sequence[tuple[float, Sequence[tuple[str, float]]]]]],
    names: Sequence[str],
    end: float,
    title: str,
    width: int = 960,
    row: int = 22,
) -> Markup:
    """A timeline: a lane for each row, in it blocks that begin at a time and are cut into named parts.

    Args:
        rows: (name of the lane, [(begin, [(name of the part, seconds), …]), …]).
        names: of all parts, which fix their colours.
        end: seconds; the axis goes from 0 to there.
    """
    margin = 90
    each = (width - margin - 8) / (end or 1)
    parts = []
    for index, (name, blocks) in enumerate(rows):
        top = index * row + 2
        parts.append(f'<text x="{margin - 6}" y="{top + row - 9}" text-anchor="end">{escape(name)}</text>')
        for begin, spent in blocks:
            at = margin + begin * each
            for part, seconds in spent:
                if seconds * each >= 0.05:
                    parts.append(
                        f'<rect x="{at:.2f}" y="{top}" width="{seconds * each:.2f}" height="{row - 5}" '
                        f'style="fill:{colour(names.index(part))}"><title>{escape(name)}, {escape(part)}: '
                        f"{seconds:.3g} s</title></rect>"
                    )
                at += seconds * each
    height = len(rows) * row + 24
    parts += [
        f'<text x="{margin}" y="{height - 6}">0 s</text>',
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">{escape(f"{end:.3g}")} s</text>',
    ]
    return svg("drawing lanes", title, width, height, parts) + legend(names)


def legend(names: Sequence[str]) -> Markup:
    items = "".join(
        f'<span><svg viewBox="0 0 10 10" width="10" height="10"><rect width="10" height="10" style="fill:{colour(i)}"/>'
        f"</svg> {escape(name)}</span> "
        for i, name in enumerate(names)
    )
    return Markup(f'<p class="legend">{items}</p>')
