"""The state of Keras callbacks as plain data: what a checkpoint can hold without pickle.

Keras gives callbacks no serialised form. Their state is in those of their attributes that training changes: numbers,
strings, arrays and containers of these are kept, and functions of Keras and numpy by name. What else a callback holds
(what it was constructed with, open files, other objects) is as its constructor and `on_train_begin` leave it.
"""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

# Set by Keras for each fit.
_OF_THE_FIT = ("_model", "params", "validation_data")
_FUNCTIONS = ("keras.", "numpy")


class NotPlain(TypeError):
    """A value that is no plain data."""


def names(callbacks: Sequence[keras.callbacks.Callback]) -> list[str]:
    return [f"{type(callback).__module__}.{type(callback).__qualname__}" for callback in callbacks]


def baseline(callbacks: Sequence[keras.callbacks.Callback]) -> list[dict[str, Any]]:
    """The callbacks' attributes as they begin, to tell what training changes."""
    return [
        {name: _content(value) for name, value in vars(callback).items() if name not in _OF_THE_FIT}
        for callback in callbacks
    ]


def _content(value: Any) -> Any:
    arrays: Arrays = {}
    try:
        return json.dumps(encoded(value, arrays)), [(a.dtype.str, a.shape, a.tobytes()) for a in arrays.values()]
    except NotPlain:
        return NotPlain


def read(
    callbacks: Sequence[keras.callbacks.Callback], begun: list[dict[str, Any]], arrays: Arrays
) -> list[dict[str, Any]]:
    """Changes of the callbacks' attributes since `begun`, as JSON; numbers of arrays go to `arrays`."""
    return [_changed(callback, before, arrays) for callback, before in zip(callbacks, begun, strict=True)]


def write(callbacks: Sequence[keras.callbacks.Callback], states: list[dict[str, Any]], arrays: Arrays) -> None:
    """Gives the callbacks back what `read` read."""
    for callback, state in zip(callbacks, states, strict=True):
        for name, value in state.items():
            setattr(callback, name, decoded(value, arrays))


def _changed(callback: keras.callbacks.Callback, before: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    state = {}
    for name, value in vars(callback).items():
        if name in _OF_THE_FIT or (name in before and before[name] == _content(value)):
            continue
        kept = len(arrays)
        try:
            state[name] = encoded(value, arrays)
        except NotPlain:
            for key in list(arrays)[kept:]:
                del arrays[key]
            logger.debug("A checkpoint does not hold %s.%s (%s).", type(callback).__name__, name, type(value).__name__)
    return state


def encoded(value: Any, arrays: Arrays) -> Any:
    """JSON for plain data. Whatever JSON would not give back as it was is an object with the name of its type."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [encoded(item, arrays) for item in value]
    if type(value) in (tuple, set):
        return {type(value).__name__: [encoded(item, arrays) for item in value]}
    if type(value) is dict:
        return {"dict": [[encoded(key, arrays), encoded(item, arrays)] for key, item in value.items()]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufcSU":
        key = f"array {len(arrays)}"
        arrays[key] = np.asarray(value)
        return {"scalar" if isinstance(value, np.generic) else "array": key}
    if isinstance(value, (types.FunctionType, np.ufunc)):
        module = getattr(value, "__module__", None) or "numpy"
        name = {"function": [module, getattr(value, "__qualname__", value.__name__)]}
        if _function(*name["function"]) is value:
            return name
    raise NotPlain(type(value).__name__)


def decoded(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return [decoded(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {decoded(key, arrays): decoded(item, arrays) for key, item in content}
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "function":
        return _function(*content)
    return {"tuple": tuple, "set": set}[kind](decoded(item, arrays) for item in content)


def _function(module: str, name: str) -> Any:
    """A function that Keras or numpy brought along; nothing is imported for it."""
    if not module.startswith(_FUNCTIONS) or "<" in name:
        return None
    return getattr(sys.modules.get(module), name, None)
