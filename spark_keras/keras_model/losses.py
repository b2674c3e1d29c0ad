"""Compiled losses: the functions that compute them, and the shapes of what these give."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from spark_keras.keras_model.origin import of_keras


def computed_by(loss: Any) -> tuple[Any, dict[str, Any]]:
    """The function that computes a loss, in whatever form `compile` got it, and the settings that it gets; no function
    where a class of the user's does.
    """
    loss = _resolved(loss)
    if isinstance(loss, functools.partial):
        function, settings = computed_by(loss.func)
        return function, {**settings, **loss.keywords}
    if not isinstance(loss, keras.losses.Loss):
        return loss, {}
    # A class of the user's may keep what Keras computes, and a class of Keras' what the user computes.
    if of_keras(type(loss).call) and hasattr(loss, "fn"):
        function, settings = computed_by(loss.fn)
        return function, {**settings, **getattr(loss, "_fn_kwargs", {})}
    return None, loss.get_config()


def _resolved(loss: Any) -> Any:
    """A loss as `compile` finds it by its name or class."""
    if not isinstance(loss, str):
        return loss() if isinstance(loss, type) else loss
    own = keras.saving.get_custom_objects()
    try:
        return own[loss] if loss in own else keras.losses.get(loss)
    except ValueError:  # one of the user's, which is known where the model is loaded
        return None


def unreduced_shape(loss: Any, y: keras.KerasTensor, prediction: keras.KerasTensor) -> tuple[int, ...]:
    """The shape of what a loss computes of so many rows before it is reduced.

    Raises:
        Exception: whatever the loss raises at labels and outputs of these shapes.
    """
    return tuple(_Call(_computed_as_keras_does(loss)).compute_output_spec(y, prediction).shape)


def _computed_as_keras_does(loss: Any) -> Callable[[Any, Any], Any]:
    """Losses of a batch before they are reduced, as Keras calls it: with floats, and ranks that agree."""
    loss = _resolved(loss)
    if not isinstance(loss, keras.losses.Loss):
        wrapper = keras.losses.MeanSquaredError()
        wrapper.fn, wrapper._fn_kwargs = loss, {}
        loss = wrapper
    return lambda y, prediction: loss.call(keras.ops.cast(y, loss.dtype), keras.ops.cast(prediction, loss.dtype))


class _Call(keras.Operation):
    """A function of tensors that can be called with symbols."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self._function = function

    def call(self, *arguments: Any) -> Any:
        return self._function(*arguments)
