"""Values of Params."""

from __future__ import annotations

from typing import Any


def param_or_none(stage: Any, name: str) -> Any:
    """A Param's value; None where it is not set, empty, or not a Param of this stage."""
    if not stage.hasParam(name) or not stage.isDefined(name):
        return None
    value = stage.getOrDefault(name)
    return None if value == "" or value == [] or value == {} else value
