"""Objects that show themselves: a line or some of text, and a card in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from spark_keras.reports import numbers
from spark_keras.reports.render import render

_WIDTH, _LINES = 110, 4
# Characters of a value that text shows.
_LONGEST = 100


class Shown:
    """An object with a short `repr` and a card for notebooks, both made of its facts.

    Facts cost nothing: they start no job and load no model. What costs more is a part of the card.
    """

    def _facts(self) -> Mapping[str, Any]:
        """Values by name, what matters most first."""
        raise NotImplementedError

    def _parts(self) -> Iterable[str]:
        """Tables and charts of the card, as HTML in which all text is escaped."""
        return ()

    def __repr__(self) -> str:
        return text(type(self).__name__, self._facts())

    def _repr_html_(self) -> str:
        return html(type(self).__name__, self._facts(), self._parts())


def text(title: str, facts: Mapping[str, Any]) -> str:
    """At most four lines: "Title: name=value, …"."""
    told = ", ".join(f"{name}={textwrap.shorten(value, _LONGEST, placeholder='…')}" for name, value in _told(facts))
    return textwrap.fill(
        f"{title}: {told}" if told else title,
        _WIDTH,
        subsequent_indent="    ",
        max_lines=_LINES,
        placeholder=" …",
        break_on_hyphens=False,
    )


def html(title: str, facts: Mapping[str, Any], parts: Iterable[str]) -> str:
    """A card; its parts are HTML in which all text is escaped."""
    return render("card.html", title=title, facts=_told(facts), parts=list(parts))


def listed(values: Iterable[Any], most: int = 6) -> str:
    """The first of some values, and how many more there are."""
    values = [told(value) for value in values]
    more = [f"… {len(values) - most} more"] if len(values) > most else []
    return ", ".join([*values[:most], *more])


def side_by_side(charts: Iterable[str]) -> str:
    """Charts as one part of a card."""
    return f'<div class="pair">{"".join(f"<div>{chart}</div>" for chart in charts)}</div>'


def told(value: Any) -> str:
    """A fact's value as text."""
    whole = type(value) is int or (isinstance(value, float) and value.is_integer())
    return f"{value:,.0f}" if whole else numbers.short(value)


def _told(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, told(value)) for name, value in facts.items() if value is not None]
