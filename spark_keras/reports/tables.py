"""Reports and their parts: tables as text, HTML and pandas, figures as SVG."""

from __future__ import annotations

import html
import importlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from spark_keras.reports import numbers
from spark_keras.reports.cards import Shown

if TYPE_CHECKING:
    import pandas


def required(module: str, package: str, what: str) -> Any:
    """A module of a package that is needed for reports alone."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{what} needs {package}: pip install "spark-keras[reports]".') from error


def figure(columns: int, height: float = 4.0) -> tuple[Any, Any]:
    """A matplotlib figure of its own, outside pyplot's list of open ones, and its axes side by side."""
    new = required("matplotlib.figure", "matplotlib", "plot()").Figure(
        figsize=(4.2 * columns, height), layout="constrained"
    )
    return new, new.subplots(1, columns, squeeze=False)[0]


def svg(drawn: Any) -> str:
    """A figure as an SVG element that can stand in a page."""
    written = io.StringIO()
    drawn.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def text_table(head: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1) -> str:
    """A table in a fixed-width font; the first `left` columns stand to the left, the others to the right."""
    cells = [*([list(head)] if head else []), *([numbers.cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table of a card; columns of numbers stand to the right. All text is escaped."""
    figures = [bool(rows) and not isinstance(cell, str) for cell in (rows[0] if rows else head)]

    def row(cells: Sequence[Any], tag: str) -> str:
        marks = (' class="figure"' if figure else "" for figure in figures)
        shown = (f"<{tag}{mark}>{html.escape(numbers.cell(cell))}</{tag}>" for cell, mark in zip(cells, marks))
        return f"<tr>{''.join(shown)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


# A table: its caption, its head, its rows.
Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


class Report(Shown):
    """A report with a table of figures: as text, as a card in a notebook, and as pandas."""

    _HEAD: ClassVar[Sequence[str]]

    def _table(self) -> list[list[Any]]:
        raise NotImplementedError

    def _tables(self) -> list[Table]:
        raise NotImplementedError

    def toPandas(self) -> pandas.DataFrame:
        """The figures: one row per class, label or output."""
        pandas = required("pandas", "pandas", "toPandas()")
        return pandas.DataFrame(self._table(), columns=self._HEAD).set_index(self._HEAD[0])

    def __str__(self) -> str:
        return "\n\n".join(text_table(head, rows) for _, head, rows in self._tables())

    def _parts(self) -> list[str]:
        return [html_table(head, rows, caption) for caption, head, rows in self._tables()]
