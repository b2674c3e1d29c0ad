"""Values as SQL text that means the same whatever the session's settings are.

Checks of thousands of columns are written as text once: a Spark expression made piece by piece is a call into the JVM
for each piece.
"""

from __future__ import annotations

import datetime
import math
import numbers
import re
from collections.abc import Callable, Iterable
from typing import Any

_MOST = 2**63
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_LARGEST_FLOAT = 3.4028234663852886e38


def text_literal(value: str) -> str:
    """A string; what a setting could read as an escape travels as its bytes."""
    if re.fullmatch(r"[A-Za-z0-9 _.,:;/+-]*", value):
        return f"'{value}'"
    return f"CAST(X'{value.encode().hex()}' AS STRING)"


def number_literal(value: float) -> str:
    """A whole number of at most 64 bits as INT or BIGINT, any other as DOUBLE."""
    if isinstance(value, (int, numbers.Integral)) and -_MOST <= value < _MOST:
        return str(int(value)) if -(2**31) <= value < 2**31 else f"{int(value)}L"
    value = float(value)
    return f"{value!r}D" if math.isfinite(value) else f"CAST('{value}' AS DOUBLE)"


def float_literal(value: float) -> str:
    """A number as a column of 32-bit floats holds it; as a double where it is beyond their range."""
    return f"CAST({number_literal(value)} AS FLOAT)" if fits_float(value) else number_literal(value)


def fits_float(value: float) -> bool:
    """Tells whether a number is finite as a 32-bit float."""
    return abs(value) <= _LARGEST_FLOAT


def time_literal(value: datetime.date) -> str:
    """A datetime with a time zone as TIMESTAMP, one without as TIMESTAMP_NTZ, a date as DATE."""
    if not isinstance(value, datetime.datetime):
        return f"DATE'{value.isoformat()}'"
    if value.tzinfo is None:
        return f"CAST('{value.isoformat(sep=' ')}' AS TIMESTAMP_NTZ)"
    return f"timestamp_micros({(value - _EPOCH) // datetime.timedelta(microseconds=1)}L)"


def all_true(checks: Iterable[str]) -> str:
    """A text that is true where each of these is."""
    return " AND ".join(f"({check})" for check in checks) or "true"


def in_range(value: str, least: Any, most: Any, literal: Callable[[Any], str]) -> list[str]:
    """Checks that a value, as SQL text, lies between limits, where there are some.

    Args:
        literal: makes SQL text of a limit.
    """
    limits = ((">=", least), ("<=", most))
    return [f"{value} {operator} {literal(limit)}" for operator, limit in limits if limit is not None]


def whole_number_problem(value: object) -> str | None:
    """Tells that a whole number is beyond Spark's 64 bits; None where it is not."""
    if isinstance(value, numbers.Integral) and not -_MOST <= int(value) < _MOST:
        return "a whole number of 64 bits, from -9223372036854775808 to 9223372036854775807"
    return None
