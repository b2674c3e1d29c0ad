"""Params of a class with their getters and setters, which it declares for type checkers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pyspark.ml.param import Param, Params

P = TypeVar("P", bound="type[Params]")


def param(name: str, doc: str, converter: Callable[[Any], Any] | None) -> Any:
    """A Param for the class that is being made."""
    return Param(Params._dummy(), name, doc, converter)


def with_accessors(cls: P) -> P:
    """Class decorator: gives each Param of a class the getter and the setter that it lacks."""
    for name in [name for name in dir(cls) if isinstance(getattr(cls, name), Param)]:
        for kind, accessor in (("get", _getter(name)), ("set", _setter(name))):
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
