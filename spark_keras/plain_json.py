"""JSON that every parser reads: RFC 8259 has no NaN and no infinite numbers, which Python's `json` writes all the same.

They are written as {"float": "NaN"}, {"float": "Infinity"} and {"float": "-Infinity"}.
"""

from __future__ import annotations

import json
import math
from typing import Any

_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dumps(value: Any) -> str:
    """The value as JSON.

    Raises:
        TypeError: on what has no form in JSON.
    """
    return json.dumps(_strict(value), allow_nan=False)


def loads(text: str) -> Any:
    """The inverse of `dumps`; reads the tokens NaN and Infinity, too, which earlier versions wrote."""
    return json.loads(text, object_hook=_number)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    return value


def _number(parts: dict[str, Any]) -> Any:
    name = parts.get("float")
    return _NAMES[name] if len(parts) == 1 and isinstance(name, str) and name in _NAMES else parts
