"""Numbers of one record: casts, arithmetic and functions, with the results of Spark's."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.records.values import LONG, as_float, order, printed

_BITS = {"integer": 32, "long": 64}
_NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_TRUE, _FALSE = {"t", "true", "y", "yes", "1"}, {"f", "false", "n", "no", "0"}


def cast(field: kinds.Field, value: Any, wanted: str) -> Any:
    """A value in another type; None where it cannot be cast."""
    if wanted == "string":
        return (
            value.isoformat()
            if isinstance(value, datetime.date)
            else printed(value, isinstance(field, kinds.FloatField))
        )
    if isinstance(value, str):
        return _of_text(value.strip("".join(map(chr, range(33)))), wanted)
    if wanted in _BITS:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return _in_bits(int(value), wanted)
    if wanted == "boolean":
        return None if isinstance(value, float) and math.isnan(value) else value != 0
    return as_float(float(value)) if wanted == "float" else float(value)


def _in_bits(value: int, wanted: str) -> int | None:
    limit = 2 ** (_BITS[wanted] - 1)
    return value if -limit <= value < limit else None


def _of_text(text: str, wanted: str) -> Any:
    if wanted == "boolean":
        return True if text.lower() in _TRUE else (False if text.lower() in _FALSE else None)
    number = _NUMBER.fullmatch(text)
    if wanted in _BITS:
        if not number:
            return None
        exact = decimal.Decimal(text)
        # Beyond 20 digits, no whole number of 64 bits is meant, and the digits would fill the memory.
        return None if exact.adjusted() > 20 else _in_bits(int(exact), wanted)
    special = _SPECIAL.get(text.lower().lstrip("+-") if len(text) - len(text.lstrip("+-")) < 2 else "")
    if special is not None and not (math.isnan(special) and text[:1] in ("+", "-")):
        value = -special if text[0] == "-" else special
    elif re.fullmatch(_NUMBER.pattern + "[dDfF]?", text):
        value = float(text.rstrip("dDfF"))
    else:
        return None
    return as_float(value) if wanted == "float" else value


def arithmetic(operator: str, parts: Sequence[Any], whole: bool) -> Any:
    """The result in 64 bits; None where an operand is, at a division by zero, and where a whole number overflows."""
    if None in parts:
        return None
    parts = [int(part) if whole else float(part) for part in parts]
    if operator in ("min", "max"):
        return (min if operator == "min" else max)(parts, key=order)
    first, second = parts[0], parts[1]
    if operator == "/":
        return None if second == 0 else first / second
    if operator == "%":
        if second == 0:
            return None
        with np.errstate(all="ignore"):
            return _rest(first, second) if whole else float(np.fmod(first, second))
    result = first
    for part in parts[1:]:
        result = {"+": result + part, "mean": result + part, "-": result - part, "*": result * part}[operator]
        if whole and not -LONG <= result < LONG:
            return None
    return result / len(parts) if operator == "mean" else result


def _rest(first: int, second: int) -> int:
    """Remainder of a division, with the sign of the first number."""
    rest = abs(first) % abs(second)
    return -rest if first < 0 else rest


def _round(value: float) -> float:
    if not math.isfinite(value):
        return value
    return float(decimal.Decimal(printed(value)).quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP, _WIDE))


_WIDE = decimal.Context(prec=400)
_NUMPY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
# Where Spark's logarithms are null.
_LOGARITHMS = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0}


def function(name: str, value: Any) -> float | None:
    """A function of a number; None where Spark's gives null."""
    if value is None or (name in _LOGARITHMS and value <= _LOGARITHMS[name]):
        return None
    value = float(value)
    if name == "round":
        return _round(value)
    with np.errstate(all="ignore"):
        return float(getattr(np, _NUMPY.get(name, name))(np.float64(value)))
