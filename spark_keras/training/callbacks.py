"""Keras callbacks in a fit: which of their hooks run, and whose they are."""

from __future__ import annotations

import contextlib
import copy
import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras

# What Keras' own hooks call in their turn.
_OLDER_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def listens(callback: keras.callbacks.Callback, hook: str) -> bool:
    """Tells whether a callback does something in this hook, so that the model must hold the state there."""
    names = {hook, _OLDER_NAMES.get(hook, hook)}
    return any(_overrides(callback, name) or name in vars(callback) for name in names)


def warn_of_hooks_that_never_run(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Nothing is left out silently: the minibatches of validations are on the executors, where callbacks are not."""
    for callback in callbacks:
        for hook in ("on_test_batch_begin", "on_test_batch_end"):
            if _overrides(callback, hook) and not type(callback).__module__.startswith("keras."):
                warnings.warn(
                    f"{type(callback).__name__}.{hook} will not run: the minibatches of a validation are on the "
                    "executors. Its results are in the logs of on_test_end and on_epoch_end.",
                    RuntimeWarning,
                    stacklevel=2,
                )


def look_after_non_finite(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Tells whether one of them ends a fit whose numbers are NaN."""
    return any(isinstance(callback, keras.callbacks.TerminateOnNaN) for callback in callbacks)


def _overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)


_callbacks_in_use: set[int] = set()
_callbacks_lock = threading.Lock()


@contextlib.contextmanager
def exclusive(callbacks: list[Any]) -> Iterator[list[Any]]:
    """Callbacks for one fit. One that another running fit uses (CrossValidator with parallelism) is copied."""
    with _callbacks_lock:
        own = [_copied(each) if id(each) in _callbacks_in_use else each for each in callbacks]
        _callbacks_in_use.update(map(id, own))
    try:
        yield own
    finally:
        with _callbacks_lock:
            _callbacks_in_use.difference_update(map(id, own))


def _copied(callback: Any) -> Any:
    duplicate = copy.copy(callback)
    for name, value in list(vars(callback).items()):
        # The other fit's model stays with the other fit.
        setattr(duplicate, name, None if name == "_model" else _copied_value(value))
    return duplicate


def _copied_value(value: Any) -> Any:
    """A copy; no file, because a callback opens its own when a fit begins; the thing itself, where it cannot be copied,
    such as locks and sessions.
    """
    while True:
        try:
            return copy.deepcopy(value)
        except TypeError:
            if isinstance(value, io.IOBase):
                return None
            if type(value) is dict:
                return {name: _copied_value(each) for name, each in list(value.items())}
            return type(value)(map(_copied_value, value)) if type(value) in (list, tuple, set) else value
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise
            # By the fit that has it, in its thread.
