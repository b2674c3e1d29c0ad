"""Numbers as text for people, for all packages."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np


def number(value: Any) -> str:
    """A figure of a page: whole numbers with separators, others with six significant digits; a dash for None.

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


def cell(value: Any) -> str:
    """A figure of a table: counts as they are, others with four decimals, so that a column's points stand in line."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) != 1 else f"{value:.4f}"


def short(value: Any) -> str:
    """A figure within a sentence: floats with four significant digits, nothing for None."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def end(value: float) -> str:
    """A figure at the end of an axis: whole from 1,000 on, below with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """So many of them: "1 row", "2,000 rows", "3 batches"."""
    plural = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{plural}"


def size(count: float) -> str:
    """Bytes, in the unit that leaves three significant digits."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"
