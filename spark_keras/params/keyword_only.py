"""Constructors that take Params by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import pyspark

from spark_keras.similar_names import unknown

F = TypeVar("F", bound=Callable[..., None])


def keyword_only(init: F) -> F:
    """Decorator, as pyspark's of this name; of a name that is no Param it tells the one that may be meant."""
    names = [name for name in inspect.signature(init).parameters if name != "self"]
    by_name = pyspark.keyword_only(init)

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in names:
                raise TypeError(unknown(f"Unknown Param of {type(self).__name__}", name, names))
        by_name(self, *args, **kwargs)

    return checked  # type: ignore[return-value]  # has the signature of what it wraps
