"""Times of an analysis: microseconds since 1970 (days, for dates), what is shown of them, and their form in JSON.

Spark's calendar is longer than Python's: what `datetime` lacks is a `numpy.datetime64`.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from typing import Any

import numpy as np

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_DAY = 86_400_000_000


def instant(value: float, data_type: str) -> Any:
    """The time so many units after 1970, to the microsecond: aware and in UTC for a timestamp, else naive."""
    microseconds = round(value * _DAY) if data_type == "date" else round(value)
    if data_type == "date" and abs(microseconds) >= 2**63:
        return np.datetime64(round(value), "D")
    # The edge of a histogram may be rounded up to one microsecond more than there is.
    moment = _python(np.datetime64(min(microseconds, 2**63 - 1), "us"))
    aware = data_type == "timestamp" and isinstance(moment, datetime.datetime)
    return moment.replace(tzinfo=datetime.timezone.utc) if aware else moment


def exact(value: float, data_type: str) -> Any:
    """A value of the column: as `instant`, but a date for dates."""
    return _python(np.datetime64(math.floor(value), "D")) if data_type == "date" else instant(value, data_type)


def _python(time: np.datetime64) -> Any:
    """Python's datetime or date, where it has the time."""
    found = time.item()
    return found if isinstance(found, datetime.date) else time


def units(time: Any) -> float:
    """The inverse: microseconds since 1970, days for a date."""
    if isinstance(time, np.datetime64):
        return int(time.astype("int64"))
    if isinstance(time, datetime.datetime):
        return (time.replace(tzinfo=datetime.timezone.utc) - _EPOCH) // datetime.timedelta(microseconds=1)
    return (time - datetime.date(1970, 1, 1)).days


def duration(seconds: float = 0, microseconds: float = 0) -> Any:
    """A `timedelta`, or where that is too short, a `numpy.timedelta64`."""
    try:
        return datetime.timedelta(seconds=seconds, microseconds=microseconds)
    except OverflowError:
        return np.timedelta64(round(seconds + microseconds / 1e6), "s")


def as_times(statistics: Any, data_type: str) -> Any:
    """Statistics of microseconds since 1970 (days, for dates) as those of times."""
    microseconds = _DAY if data_type == "date" else 1
    changed: dict[str, Any] = dict.fromkeys(("nan", "infinite", "sum", "zeros", "negatives", "positives"))
    if statistics.min is not None:
        quantiles = (statistics.quantiles or {}).items()
        found = {
            **{name: exact(getattr(statistics, name), data_type) for name in ("min", "max")},
            "mean": instant(statistics.mean, data_type),
            "quantiles": {probability: exact(value, data_type) for probability, value in quantiles},
        }
        if any(isinstance(found[name], np.datetime64) for name in ("min", "max")):
            # All of them, so that they compare with each other.
            found = {name: _wide(value) for name, value in found.items()}
        changed |= found
    if statistics.stdev is not None:
        changed["stdev"] = duration(microseconds=statistics.stdev * microseconds)
        changed["variance"] = statistics.variance * (microseconds / 1e6) ** 2
    return dataclasses.replace(statistics, **changed)


def _wide(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _wide(part) for name, part in value.items()}
    if isinstance(value, datetime.datetime):
        return np.datetime64(value.replace(tzinfo=None), "us")
    return np.datetime64(value)


def encoded(value: Any) -> Any:
    """Times in ISO 8601, durations in seconds; all else as it is."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.timedelta64):
        return int(value.astype("int64"))
    return value


def parsed(text: str, wide: bool = False) -> Any:
    """The time that was `encoded`; the mean of dates has a time of the day.

    Args:
        wide: as a `numpy.datetime64`.
    """
    if wide:
        return np.datetime64(text)
    try:
        return datetime.datetime.fromisoformat(text) if "T" in text else datetime.date.fromisoformat(text)
    except ValueError:
        return np.datetime64(text)
