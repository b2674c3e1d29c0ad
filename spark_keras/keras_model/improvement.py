"""Keras' arithmetic of early stopping, asked without a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras


class Improvement:
    """Keras' own early stopping, told the scores: which one is the best, and whether patience is exhausted.

    It holds no score that it cannot be told again, so that a resumed training makes a new one.
    """

    def __init__(self, callback: keras.callbacks.EarlyStopping, model: keras.Model):
        self._callback, self._told = callback, 0
        callback.set_model(model)
        callback.on_train_begin()
        callback._set_monitor_op()  # Keras does so after the first epoch, when an error comes late

    @property
    def larger_is_better(self) -> bool:
        return self._callback.monitor_op is keras.ops.greater

    def tell(self, scores: Mapping[int, float]) -> tuple[bool, bool]:
        """Tells whether the newest score is the best one, and whether training ends for want of a better one."""
        callback = self._callback
        for epoch, score in list(scores.items())[self._told :]:
            callback.best_epoch, callback.stopped_epoch = None, 0
            # Keras would take a first NaN for the best score, which nothing improves.
            if math.isfinite(score):
                callback.on_epoch_end(epoch - 1, {callback.monitor: score})
        self._told = len(scores)
        return callback.best_epoch is not None, callback.stopped_epoch > 0
