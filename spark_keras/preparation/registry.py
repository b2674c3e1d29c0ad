"""Frozen dataclasses to and from JSON: fields of a schema, conditions, reductions and steps."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from typing_extensions import dataclass_transform

_classes: dict[str, type] = {}
# A datetime is a date, too.
_TIMES: dict[str, type[datetime.date]] = {"datetime": datetime.datetime, "date": datetime.date}

T = TypeVar("T", bound="type[Any]")


def choice(choices: Collection[Any], what: str = "", default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field of a step that holds one of several; refused when the step is added to a process.

    Args:
        what: what it is in messages, by default the field's name.
    """
    return dataclasses.field(default=default, metadata={"choices": choices, "what": what})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, choice))
def registered(name: str) -> Callable[[T], T]:
    """Decorator that makes a class a frozen dataclass, unless it is one, to be written to JSON under this name."""

    def register(cls: T) -> T:
        known = _classes.get(name)
        # The same class again is a notebook's cell run twice.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"Name of a part is taken. Received: {name!r} for {cls.__qualname__}. "
                f"Expected: another one; it is that of {known.__module__}.{known.__qualname__}."
            )
        if "__dataclass_params__" not in vars(cls):
            dataclasses.dataclass(frozen=True)(cls)
        cls.registered_name = name
        _classes[name] = cls
        return cls

    return register


def encode(value: Any) -> Any:
    """Gives what `plain_json.dumps` takes; a registered dataclass becomes a dict whose "is" tells its name."""
    name = getattr(type(value), "registered_name", None)
    if name is not None:
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"is": name, **{key: encode(part) for key, part in parts.items()}}
    if isinstance(value, (list, tuple)):
        return [encode(part) for part in value]
    for name, kind in _TIMES.items():
        if isinstance(value, kind):
            return {"is": name, "value": value.isoformat()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"No form in JSON. Received: {value!r} (of type {type(value)}).")


def decode(value: Any) -> Any:
    """The inverse of `encode`; lists become tuples."""
    if isinstance(value, list):
        return tuple(decode(part) for part in value)
    if not isinstance(value, dict):
        return value
    parts = {key: decode(part) for key, part in value.items() if key != "is"}
    name = value.get("is")
    if name in _TIMES:
        return _TIMES[name].fromisoformat(parts["value"])
    if name not in _classes:
        raise ValueError(
            f"Unknown part in the JSON. Received: {name!r}. Expected: one of {sorted(_classes)}; a step of "
            "one's own is known once the module that registers it is imported."
        )
    try:
        return _classes[name](**parts)
    except TypeError as error:
        raise ValueError(f"Wrong part {name!r} in the JSON. Received: {parts}. Expected: {error}.") from error
