"""The end of a training before its time."""

from __future__ import annotations

import keras


class Interrupt(keras.callbacks.Callback):
    """Ends a training when an epoch begins, as Ctrl-C or the end of its driver does."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt
