"""Patterns, time zones and states as users give them, refused where they cannot be right."""

from __future__ import annotations

import re
import zoneinfo
from typing import Any


def checked_pattern(what: str, pattern: str) -> str:
    """A regular expression, refused where it cannot be compiled.

    Spark compiles it as a regular expression of Java. Python's are the same but for a few constructs of Java that are
    taken out of the check: ``\\p{…}`` and ``\\Q…\\E``.
    """
    if not isinstance(pattern, str):
        raise TypeError(
            f"Invalid pattern in {what}. Received: {pattern!r}. Expected: a regular expression as a string."
        )
    common = re.sub(r"\\[pP]\{\w+\}", r"\\w", re.sub(r"\\Q.*?\\E", "", pattern))
    try:
        re.compile(common)
    except re.error as error:
        raise ValueError(
            f"Invalid pattern in {what}. Received: {pattern!r}, {error}. Expected: a regular expression."
        ) from error
    return pattern


def checked_zone(what: str, zone: str) -> str:
    """A time zone by its name in the time zone database, or an offset such as "+02:00"."""
    if isinstance(zone, str) and re.fullmatch(r"[+-]\d\d:\d\d", zone):
        return zone
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError) as error:
        raise ValueError(
            f"Unknown time zone in {what}. Received: {zone!r}. "
            'Expected: a name such as "UTC" or "America/New_York", or an offset such as "+02:00".'
        ) from error
    return zone


def whole(pattern: str) -> str:
    """A pattern that matches whole values only; lines do not end a value."""
    return rf"\A(?:{pattern})\z"


def checked_states(name: str, states: Any) -> tuple[str, ...]:
    """The states of a categorical column: strings, each once."""
    given = tuple(states) if isinstance(states, (list, tuple)) else ()
    if not given or not all(isinstance(state, str) for state in given) or len(set(given)) < len(given):
        raise ValueError(
            f"Invalid states of categorical column {name!r}. Received: {states!r}. "
            "Expected: a list of strings, at least one, each once."
        )
    return given
