"""Values of one record, with the results of Spark's: checked, compared, printed, cast and computed."""

from __future__ import annotations

import datetime
import decimal
import math
import re
import struct
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField, PassedField, SequenceField

UTC = datetime.timezone.utc
LONG = 2**63


def as_float(value: float) -> float:
    """The number as 32 bits hold it."""
    if not math.isfinite(value):
        return float(value)
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def zone_of(name: str) -> datetime.tzinfo:
    if re.fullmatch(r"[+-]\d\d:\d\d", name):
        sign, hours, minutes = -1 if name[0] == "-" else 1, int(name[1:3]), int(name[4:])
        return datetime.timezone(sign * datetime.timedelta(hours=hours, minutes=minutes))
    return ZoneInfo(name)


def taken(field: kinds.Field, value: Any) -> Any:
    """A value of a record as the schema takes it; raises a `ValueError` where it is of another type."""
    if value is None or isinstance(field, PassedField):
        return value
    if isinstance(value, bool) != isinstance(field, kinds.BooleanField):
        fits = False
    elif isinstance(field, (kinds.IntegerField, kinds.LongField)):
        limit = 2**31 if isinstance(field, kinds.IntegerField) else LONG
        fits = isinstance(value, int) and -limit <= value < limit
    elif isinstance(field, kinds.NumberField):
        fits = isinstance(value, (int, float))
        value = (as_float(value) if isinstance(field, kinds.FloatField) else float(value)) if fits else value
    elif isinstance(field, kinds.TimeField):
        value = _time(field, value)
        fits = isinstance(value, datetime.datetime)
    elif isinstance(field, kinds.DateField):
        fits = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    else:
        expected: dict[type[kinds.Field], type | tuple[type, ...]] = {
            kinds.BooleanField: bool,
            kinds.BinaryField: bytes,
            ArrayField: (list, tuple),
            SequenceField: (list,),
        }
        fits = isinstance(value, expected.get(type(field), str if field.kind in ("string", "categorical") else object))
    if not fits:
        raise ValueError(
            f"The record does not agree with the schema. Received: {value!r} in column {field.name!r}. "
            f"Expected: {field.description}."
        )
    return value


def _time(field: kinds.TimeField, value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", value.strip()))
        except ValueError:
            return value
    if not isinstance(value, datetime.datetime):
        return value
    if field.zone is None:
        return value if value.tzinfo is None else None
    return in_zone(value, field.zone)


def in_zone(value: datetime.datetime, zone: str) -> datetime.datetime:
    """The instant with the zone's clock; a time without a zone is one of that zone."""
    zoned = value.replace(tzinfo=zone_of(zone), fold=0) if value.tzinfo is None else value
    # By way of UTC, so that a time that the clock skips is moved by what it skips.
    return zoned.astimezone(UTC).astimezone(zone_of(zone))


def stored(field: kinds.Field, value: Any) -> Any:
    """A value in the type of a column."""
    if value is None or not isinstance(field, kinds.FloatingField):
        return value
    return as_float(value) if isinstance(field, kinds.FloatField) else float(value)


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def order(value: Any) -> Any:
    """A key by which values compare as in Spark, where NaN equals itself and is the largest number."""
    return (1, 0.0) if isinstance(value, float) and math.isnan(value) else (0, value)


def is_valid(field: kinds.Field, value: Any) -> bool:
    """Tells whether a value that is not None is as the schema says."""
    if isinstance(field, (ArrayField, SequenceField)):
        shape = field.shape if isinstance(field, ArrayField) else (field.length,)
        element = field.elementField if isinstance(field, ArrayField) else field.element
        nullable = isinstance(field, SequenceField) and field.element.nullable
        return _fits(shape, value, lambda part: nullable if part is None else is_valid(element, part))
    if isinstance(field, kinds.FloatingField):
        if math.isnan(value):
            return field.allowNaN
        if math.isinf(value) and not field.allowInfinite:
            return False
    if isinstance(field, (kinds.NumberField, kinds.TimeField, kinds.DateField)):
        limits: list[Any] = [field.minimum, field.maximum]
        low, high = (as_float(n) if isinstance(field, kinds.FloatField) and n is not None else n for n in limits)
        return (low is None or value >= low) and (high is None or value <= high)
    if isinstance(field, (kinds.StringField, kinds.BinaryField)):
        pattern = getattr(field, "pattern", None)
        least, most = field.minLength, field.maxLength
        fits = (least is None or len(value) >= least) and (most is None or len(value) <= most)
        return fits and (pattern is None or python_pattern(pattern).fullmatch(value) is not None)
    if isinstance(field, kinds.CategoricalField):
        return value in field.states
    return True


def _fits(shape: tuple[int | None, ...], value: Any, element: Any) -> bool:
    if not shape:
        return element(value)
    right = value is not None and (shape[0] is None or len(value) == shape[0])
    return right and all(_fits(shape[1:], part, element) for part in value)


def python_pattern(pattern: str) -> re.Pattern[str]:
    r"""A regular expression of Java as Python's; classes such as ``\d`` and ``\s`` are those of ASCII, as Java's."""
    letters = {"L": "[^\\W\\d_]", "Alpha": "[A-Za-z]", "Digit": "[0-9]", "Alnum": "[A-Za-z0-9]"}

    def translated(found: re.Match[str]) -> str:
        if found[1] not in letters:
            raise ValueError(
                f"Pattern has no form for one record. Received: {pattern!r}. Expected: one without {found[0]}."
            )
        # Letters of any alphabet; the flag makes the rest of the pattern one of ASCII.
        return f"(?u:{letters[found[1]]})" if found[1] == "L" else letters[found[1]]

    quoted = re.sub(r"\\Q(.*?)\\E", lambda found: re.escape(found[1]), pattern)
    return re.compile(re.sub(r"\\p\{(\w+)\}", translated, quoted), re.ASCII)


def printed(value: Any, single: bool = False) -> str:
    """A value as Spark's cast to a string gives it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    digits = _shortest(value, single)
    mantissa, exponent = digits.split("e")
    if 1e-3 <= abs(value) < 1e7:
        plain = format(decimal.Decimal(digits), "f")
        return plain if "." in plain else f"{plain}.0"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"


def _shortest(value: float, single: bool) -> str:
    """The shortest decimal text that is read as the same number, with an exponent."""
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if (as_float(float(text)) if single else float(text)) == value:
            break
    return text


# --- numbers ---

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
