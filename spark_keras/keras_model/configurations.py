"""Configurations that tell every argument, so that the parts of a model are rebuilt on the executors as they are here.

Plain Keras trains the objects that it was given. Executors get them rebuilt from what `get_config` tells, and that is
not always all: Keras itself forgets the `delta` of `Huber`, and a loss or metric of the user's without a `get_config`
would come back with its defaults.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from spark_keras.keras_model import own_code
from spark_keras.keras_model.origin import of_keras

# The parts whose configuration for the moment is another one belong to the model that the user holds.
_completing = threading.RLock()

_KINDS = (
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.layers.Layer,
)
_MISSING = object()


@contextlib.contextmanager
def complete(model: keras.Model) -> Iterator[None]:
    """Inside, the `get_config` of the model's parts tells the arguments, too, that it leaves out by itself and that
    differ from their defaults.

    Where such an argument cannot be found in the part, a warning says so.
    """
    with _completing, contextlib.ExitStack() as undo:
        for part, _ in list(own_code.held(model)):
            if not isinstance(part, _KINDS) or not _may_forget(part):
                continue
            told, config = _configurations(part)
            if config != told:
                vars(part)["get_config"] = lambda config=config: dict(config)
                undo.callback(vars(part).pop, "get_config")
        yield


def _may_forget(part: Any) -> bool:
    """Of Keras' own parts only losses and metrics do, and none that wraps a function."""
    if not of_keras(type(part)):
        return True
    losses_and_metrics = isinstance(part, (keras.losses.Loss, keras.metrics.Metric))
    return losses_and_metrics and "fn" not in inspect.signature(type(part)).parameters


def _configurations(part: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments that a part's get_config tells, and those that its constructor is to be called with."""
    try:
        with warnings.catch_warnings():
            # Own code is serialised by name later.
            warnings.filterwarnings("ignore", ".*being serialized includes a `lambda`", UserWarning)
            told = part.get_config()
    except (NotImplementedError, TypeError):
        return {}, {}  # Keras refuses the part where it is serialised, and says why
    parameters = inspect.signature(type(part)).parameters
    config = dict(told)
    if of_keras(type(part).from_config) and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        # What Keras' base class tells, and this constructor does not take.
        config = {name: value for name, value in told.items() if name in parameters}
    for name, parameter in parameters.items():
        if name in told or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = _plain(_held(part, name))
        if value is not _MISSING:
            if value != parameter.default:
                config[name] = value
        elif parameter.default is not parameter.empty and not of_keras(type(part)):
            warnings.warn(
                f"get_config() of {type(part).__name__} does not tell its argument `{name}`, nor has it an attribute "
                f"of this name. The executors rebuild it with the default, {parameter.default!r}. Expected: a "
                "get_config() that returns all arguments of the constructor.",
                RuntimeWarning,
                stacklevel=2,
            )
    return told, config


def _held(part: Any, name: str) -> Any:
    """The value that a part keeps of an argument."""
    kept = vars(part)
    places = [kept, {name: kept.get(f"_{name}", _MISSING)}, kept.get("_fn_kwargs") or {}]
    return next((place[name] for place in places if place.get(name, _MISSING) is not _MISSING), _MISSING)


def _plain(value: Any) -> Any:
    """A value as JSON takes it; missing for any other, such as a variable that stands in the place of an argument."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        parts = [_plain(each) for each in value]
        return _MISSING if any(each is _MISSING for each in parts) else type(value)(parts)
    if isinstance(value, dict):
        items = {key: _plain(each) for key, each in value.items()}
        return _MISSING if any(each is _MISSING for each in items.values()) else items
    return _MISSING
