"""Times of one record: parsed, moved, counted."""

from __future__ import annotations

import datetime
import functools
import re
from typing import Any

from spark_keras.preparation.records.values import UTC, in_zone, zone_of

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
MICRO = datetime.timedelta(microseconds=1)
# Runs of a letter in a pattern: what they read, as a regular expression; one alone takes one or two digits.
_LETTERS = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}


@functools.lru_cache
def _reader(pattern: str) -> re.Pattern[str]:
    """A regular expression of a pattern of Spark; a `ValueError` where only Spark can read it."""
    text = ""
    for found in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|\[|\]|.", pattern, re.DOTALL):
        run, letter = found[0], found[2]
        if letter is None:
            plain = (found[1].replace("''", "'") or "'") if found[1] is not None else run
            text += {"[": "(?:", "]": ")?"}.get(run, re.escape(plain))
        elif letter in _LETTERS and (len(run) <= 2 if letter != "y" else len(run) == 4):
            text += f"(?P<{_LETTERS[letter]}>" + ("[0-9]{1,2}" if len(run) == 1 else f"[0-9]{{{len(run)}}}") + ")"
        elif letter == "S" and len(run) <= 9:
            text += f"(?P<fraction>[0-9]{{1,{len(run)}}})" if len(run) > 1 else "(?P<fraction>[0-9])"
        elif run == "XXX":
            text += "(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})"
        else:
            raise ValueError(
                f"Pattern has no form for one record. Received: {pattern!r}, with {run!r}. "
                "Expected: yyyy, MM, dd, HH, mm, ss, S, XXX, text between quotes; Spark reads the others."
            )
    return re.compile(text)


def parsed(text: str, pattern: str, zone: str | None) -> datetime.datetime | None:
    """The time of a text by a pattern of Spark; None where it does not fit."""
    found = _reader(pattern).fullmatch(text)
    if not found:
        return None
    parts = found.groupdict()
    given = {name: int(parts[name]) for name in _LETTERS.values() if parts.get(name)}
    micros = int(((parts.get("fraction") or "") + "000000")[:6])
    try:
        day = datetime.date(given.get("year", 1970), given.get("month", 1), given.get("day", 1))
        clock = datetime.time(given.get("hour", 0), given.get("minute", 0), given.get("second", 0), micros)
        wall = datetime.datetime.combine(day, clock)
    except ValueError:
        return None
    if zone is None:
        return wall
    offset = parts.get("offset")
    if offset:
        wall = wall.replace(tzinfo=UTC if offset == "Z" else zone_of(offset))
    return in_zone(wall, zone)


def moved_by_calendar(value: datetime.datetime, amount: int, unit: str, zone: str | None) -> datetime.datetime:
    """A time moved by days, weeks, months or years of the calendar, at the same time of day."""
    wall = value.replace(tzinfo=None)
    if unit in ("days", "weeks"):
        wall += datetime.timedelta(**{unit: amount})
    else:
        wall = _months_later(wall, amount * (12 if unit == "years" else 1))
    if zone is None:
        return wall
    # The same offset from UTC, where the clock shows that time with it.
    kept = in_zone((wall - (value.utcoffset() or datetime.timedelta())).replace(tzinfo=UTC), zone)
    return kept if kept.replace(tzinfo=None) == wall else in_zone(wall, zone)


def _months_later(wall: datetime.datetime, months: int) -> datetime.datetime:
    """The same day of another month, or its last one."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    following = datetime.date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (following - datetime.timedelta(days=1)).day
    return wall.replace(year=year, month=month + 1, day=min(wall.day, last))


def microseconds(value: Any) -> int:
    """Microseconds since 1970-01-01 00:00 UTC; of a time without zone, or a date, as if in UTC."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    return ((value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - EPOCH) // MICRO


def day(value: datetime.date) -> datetime.date:
    return value.date() if isinstance(value, datetime.datetime) else value
