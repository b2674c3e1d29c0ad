"""Reports on predictions as text, as HTML and as pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from spark_keras.reports import tables

if TYPE_CHECKING:
    import pandas

# A table: its caption, its head, its rows.
Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


class Report:
    """A report with a table of figures: as text, as HTML in a notebook, and as pandas."""

    _HEAD: ClassVar[Sequence[str]]

    def _table(self) -> list[list[Any]]:
        raise NotImplementedError

    def _tables(self) -> list[Table]:
        raise NotImplementedError

    def toPandas(self) -> pandas.DataFrame:
        """The figures: one row per class, label or output."""
        pandas = tables.required("pandas", "pandas", "toPandas()")
        return pandas.DataFrame(self._table(), columns=self._HEAD).set_index(self._HEAD[0])

    def __str__(self) -> str:
        return "\n\n".join(tables.text_table(head, rows) for _, head, rows in self._tables())

    def _repr_html_(self) -> str:
        return "".join(tables.html_table(head, rows, caption) for caption, head, rows in self._tables())
