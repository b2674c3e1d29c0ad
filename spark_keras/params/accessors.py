"""Params of a class with their getters and setters, which it declares for type checkers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pyspark.ml.param import Param, Params

P = TypeVar("P", bound="type[Params]")


def param(name: str, doc: str, converter: Callable[[Any], Any] | None) -> Any:
    """A Param for the class that is being made."""
    return Param(Params._dummy(), name, doc, converter)


def with_accessors(cls: P, types: Mapping[str, tuple[str, str]] | None = None) -> P:
    """Class decorator: gives each Param of a class the getter and the setter that it lacks.

    Args:
        types: of a Param's value, and of what its setter takes, as source text. Of others the converter tells both.
    """
    for name in [name for name in dir(cls) if isinstance(getattr(cls, name), Param)]:
        of_converter = getattr(getattr(cls, name).typeConverter, "__annotations__", {}).get("return", "Any")
        value_type, accepted_type = (types or {}).get(name, (of_converter, of_converter))
        getter, setter = _getter(name), _setter(name)
        getter.__annotations__ = {"return": value_type}
        setter.__annotations__ = {"value": accepted_type, "return": "Self"}
        for kind, accessor in (("get", getter), ("set", setter)):
            method = f"{kind}{name[0].upper()}{name[1:]}"
            if not hasattr(cls, method):
                accessor.__module__, accessor.__name__ = cls.__module__, method
                accessor.__qualname__ = f"{cls.__qualname__}.{method}"
                setattr(cls, method, accessor)
    return cls


def _getter(name: str) -> Any:
    def get(self: Params) -> Any:
        return self.getOrDefault(getattr(self, name))

    get.__doc__ = f"Value of `{name}` or its default."
    return get


def _setter(name: str) -> Any:
    def set(self: Params, value: Any) -> Any:
        return self._set(**{name: value})

    set.__doc__ = f"Sets `{name}`."
    return set
