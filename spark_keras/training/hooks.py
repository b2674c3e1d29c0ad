"""Which hooks of Keras callbacks run during a fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import keras


def overrides_batch_hooks(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback listens to batches, so that the model must hold the state after each round."""
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(_overrides(callback, hook) or hook in vars(callback) for hook in hooks)


def warn_of_hooks_that_never_run(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Nothing is left out silently: evaluations happen on the executors, where callbacks are not."""
    for callback in callbacks:
        for hook in ("on_test_batch_begin", "on_test_batch_end", "on_test_begin", "on_test_end"):
            if _overrides(callback, hook) and not type(callback).__module__.startswith("keras."):
                warnings.warn(
                    f"{type(callback).__name__}.{hook} will not run: validation happens on the executors. "
                    "Its results are in the logs of on_epoch_end.",
                    RuntimeWarning,
                    stacklevel=2,
                )


def _overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
