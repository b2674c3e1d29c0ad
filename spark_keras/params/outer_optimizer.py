"""Param `outerOptimizer`: an optimizer, its name or its configuration, held as one of the latter two."""

from __future__ import annotations

import json
from typing import Any

import keras


def held(value: Any) -> str | dict[str, Any]:
    """Gives what the Param holds: a name, or a configuration as JSON.

    Raises:
        TypeError, ValueError: for what is no optimizer of Keras.
    """
    if isinstance(value, keras.optimizers.Optimizer):
        value = keras.saving.serialize_keras_object(value)
    if not isinstance(value, str) and not (isinstance(value, dict) and "class_name" in value):
        raise _refusal(value)
    try:
        if isinstance(value, str):
            keras.optimizers.get(value)
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise _refusal(value) from error


def optimizer(value: str | dict[str, Any] | None, custom_objects: dict[str, Any]) -> keras.optimizers.Optimizer | None:
    """A new optimizer of what the Param holds; None where it is not set."""
    if value is None:
        return None
    with keras.saving.custom_object_scope(custom_objects):
        try:
            return keras.optimizers.get(value)
        except (TypeError, ValueError) as error:
            raise _refusal(value) from error


def _refusal(value: Any) -> ValueError:
    return ValueError(
        f"Invalid value for Param `outerOptimizer`. Received: {value!r}. Expected: a Keras optimizer, its name such as "
        '"sgd", or its configuration as keras.optimizers.serialize gives it; a class of your own also goes into Param '
        "`customObjects`."
    )
