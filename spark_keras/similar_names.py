"""Messages about a name that is not known: the names there are, and one that may be meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(what: str, name: object, names: Iterable[str], expected: str = "one of") -> str:
    """A message such as "Unknown column in step remove. Received: 'amout'. Expected: one of ['amount', …]. Did you mean
    'amount'?".

    Args:
        what: begins it.
        expected: stands before the names.
    """
    names = list(names)
    return f"{what}. Received: {name!r}. Expected: {expected} {names}.{did_you_mean(name, names)}"


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """A question that names the most similar one, whatever its case; "" where none is similar."""
    by_folded: dict[str, str] = {}
    for each in names:
        by_folded.setdefault(each.lower(), each)
    close = difflib.get_close_matches(str(name).lower(), by_folded, 1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""
