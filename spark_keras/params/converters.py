"""Converters of Params: they take a value, and refuse another with what was received and expected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.ml.param import Params, TypeConverters

from spark_keras.similar_names import unknown


class NoneIsUnset(Params):
    """Lets `None`, by which documentation and wrappers say that a Param is not set, mean just that."""

    def _set(self, **kwargs: Any) -> Any:
        for name in kwargs:
            if not self.hasParam(name):
                raise TypeError(unknown(f"Unknown Param of {type(self).__name__}", name, [p.name for p in self.params]))
        for name in [name for name, value in kwargs.items() if value is None]:
            del kwargs[name]
            self.clear(getattr(self, name))
        return super()._set(**kwargs)


def refuse(name: str, value: Any, expected: str) -> TypeError:
    return TypeError(
        f"Invalid value for Param `{name}`. Received: {value!r} (of type {type(value)}). Expected: {expected}."
    )


def wrong(name: str, received: Any, expected: str) -> ValueError:
    return ValueError(f"Invalid value for Param `{name}`. Received: {received}. Expected: {expected}.")


def accepted(name: str, fits: Callable[[Any], bool], expected: str) -> Callable[[Any], Any]:
    """Takes a value as it is."""

    def convert(value: Any) -> Any:
        if not fits(value):
            raise refuse(name, value, expected)
        return value

    return convert


def by_name(name: str, expected: str) -> Callable[[Any], dict[str, Any]]:
    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise refuse(name, value, expected)
        return dict(value)

    return convert


def one_of(name: str, *choices: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in choices:
            raise wrong(name, repr(value), f"one of {list(choices)}")
        return str(value)

    return convert


def integer(name: str, least: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise refuse(name, value, f"an integer, {least} or more")
        if value < least:
            raise wrong(name, value, f"{least} or more")
        return int(value)

    return convert


def number(name: str, fits: Callable[[float], bool], expected: str) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        given = TypeConverters.toFloat(value)
        if not fits(given):
            raise wrong(name, value, expected)
        return given

    return convert


def seconds(name: str) -> Callable[[Any], float]:
    return number(name, lambda given: given > 0, "seconds, more than 0")


def checkpoint_interval(value: Any) -> int | str:
    if isinstance(value, str):
        interval_seconds(value)
        return value
    return integer("checkpointInterval", 1)(value)


def interval_seconds(value: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)", value.strip())
    if not match or float(match[1]) == 0:
        expected = 'a number of epochs, 1 or more, or a time with its unit such as "30s", "5m" or "1h"'
        raise wrong("checkpointInterval", repr(value), expected)
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2]]


def averaging_frequency(value: Any) -> int | str:
    if value == "epoch":
        return "epoch"
    if isinstance(value, str):
        raise wrong("averagingFrequency", repr(value), 'a number of minibatches, 1 or more, or "epoch"')
    return integer("averagingFrequency", 1)(value)


def max_shard_memory(value: Any) -> int:
    size = value
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s*(?:b|([kmgtp])b?)", value.strip().lower())
        if not match:
            expected = 'a number of bytes, or a number with its unit such as "512m" or "2g"'
            raise wrong("maxShardMemory", repr(value), expected)
        size = int(match[1]) * 1024 ** " kmgtp".index(match[2] or " ")
    elif isinstance(value, bool) or not hasattr(value, "__index__"):
        raise refuse("maxShardMemory", value, 'bytes as an integer, or a string such as "512m" or "2g"')
    if size < 2**20:
        raise wrong("maxShardMemory", repr(value), '"1m" or more')
    return int(size)


def thresholds(value: Any) -> list[float]:
    numbers = TypeConverters.toListFloat(value)
    if any(number < 0 for number in numbers) or numbers.count(0.0) > 1:
        raise wrong("thresholds", numbers, "positive numbers, of which at most one may be 0")
    return numbers


def check_thresholds(thresholds: list[float] | None, classes: int) -> None:
    """One number for each class, which is known when the model is."""
    if thresholds is not None and len(thresholds) != classes:
        raise wrong("thresholds", thresholds, f"{classes} numbers, one for each class")


def named_columns(name: str) -> Callable[[Any], dict[str, str] | list[str]]:
    def convert(value: Any) -> dict[str, str] | list[str]:
        if isinstance(value, Mapping) and all(isinstance(part, str) for item in value.items() for part in item):
            return dict(value)
        if isinstance(value, (list, tuple)) and all(isinstance(column, str) for column in value):
            return list(value)
        raise refuse(name, value, 'a dict {"tensor name": "column"}, or a list of columns in the model\'s order')

    return convert


def input_columns(value: Any) -> Any:
    """Columns in the form of a model's inputs: a list, a dict by name, or these inside each other."""
    nested = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    if not any(isinstance(each, (Mapping, list, tuple)) for each in nested):
        return named_columns("inputCols")(value)

    def plain(part: Any) -> Any:
        if isinstance(part, str):
            return part
        if isinstance(part, Mapping) and part and all(isinstance(name, str) for name in part):
            return {name: plain(each) for name, each in part.items()}
        if isinstance(part, (list, tuple)) and part:
            return [plain(each) for each in part]
        raise refuse("inputCols", value, "columns by name or in a list, which may be inside each other")

    return plain(value)


def class_weight(value: Any) -> dict[int, float] | str:
    expected = 'a dict {class index: weight} with weights of 0 or more, or "balanced"'
    if isinstance(value, str) and value == "balanced":
        return value
    if not isinstance(value, Mapping) or not value:
        raise refuse("classWeight", value, expected)
    weights = {}
    for key, weight in value.items():
        try:
            # JSON, as which Params are saved, has strings for keys.
            index, number = float(key), float(weight)
        except (TypeError, ValueError):
            raise refuse("classWeight", value, expected) from None
        if index != int(index) or not 0 <= number < float("inf"):
            raise refuse("classWeight", value, expected)
        weights[int(index)] = number
    return weights


def shapes(value: Any) -> dict[str, list[int]]:
    named = by_name("shapes", 'a dict {"column": [28, 28]}')(value)
    return {name: [int(length) for length in shape] for name, shape in named.items()}


def json_dict(value: Any) -> dict[str, Any]:
    arguments = by_name("modelParams", "a dict of keyword arguments for `modelFn`")(value)
    try:
        json.dumps(arguments)
    except TypeError as error:
        raise refuse("modelParams", value, f"values that JSON can hold ({error})") from error
    return arguments


def callbacks(value: Any) -> list[Any]:
    """Callbacks in one flat list, in whatever `Model.fit` takes them."""
    import keras

    found: list[Any] = []
    for callback in [value] if isinstance(value, keras.callbacks.Callback) else keras.tree.flatten(value):
        if isinstance(callback, keras.callbacks.CallbackList):
            found += callback.callbacks
        elif isinstance(callback, keras.callbacks.Callback):
            found.append(callback)
        else:
            raise refuse("callbacks", callback, "a list of keras.callbacks.Callback instances")
    return found


def verbose(value: Any) -> int:
    """A number, of whatever `Model.fit` takes."""
    if value == "auto" or isinstance(value, bool):
        return int(bool(value))
    return integer("verbose", 0)(value)
