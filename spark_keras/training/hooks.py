"""Which hooks of Keras callbacks run during a fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import keras

# What Keras' own hooks call in their turn.
_OLDER_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def listens(callback: keras.callbacks.Callback, hook: str) -> bool:
    """Whether a callback does something in this hook, so that the model must hold the state there."""
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


def _overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
