"""Formats of texts that are taken for times on request."""

from __future__ import annotations

_DATES = ("yyyy-MM-dd", "yyyy/MM/dd", "yyyy.MM.dd", "yyyyMMdd", "dd.MM.yyyy", "d MMM yyyy", "MMM d, yyyy")
_CLOCK = "['T'][ ]HH:mm[:ss][.SSSSSSSSS][,SSSSSSSSS]"
# Formats that only one reading fits; 01/02/2020 is a day in January or in February, so it is none of them.
GUESSED = tuple(pattern for date in _DATES for pattern in (f"{date}[{_CLOCK}]", f"{date}{_CLOCK}[ ]XXX"))
