"""Small charts as inline SVG: they scale, print, need no script, and take their colours from the page's style."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape


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
