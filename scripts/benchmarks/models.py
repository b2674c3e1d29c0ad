"""The networks, and how every competitor is timed and judged."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.data import CLASSES, SHAPES, read


def _layers(network: str) -> list[Any]:
    if network == "mlp":
        return [layers.Dense(128, activation="relu"), layers.Dense(64, activation="relu")]
    if network == "wide":
        hidden = [[layers.Dense(1024, activation="relu"), layers.Dropout(0.2)] for _ in range(2)]
        return [layer for pair in hidden for layer in pair]
    if network == "frozen":
        return [layers.Dense(4096, activation="relu", trainable=False) for _ in range(2)]
    if network == "lenet":
        return [
            layers.Conv2D(20, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu"),
        ]
    return [layers.LSTM(64, return_sequences=True), layers.LSTM(64)]


def compiled(network: str, seed: int = 0, **options: Any) -> keras.Model:
    """A new network.

    Args:
        options: of `Model.compile`.
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(SHAPES[network]),
            *_layers(network),
            layers.Dense(CLASSES[network], activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    return model


def loss_of(weights: list[np.ndarray], network: str, data: str) -> float:
    """The loss of trained weights over all rows, computed in the same way for every competitor."""
    model = compiled(network)
    model.set_weights(weights)
    return float(model.evaluate(*read(data), batch_size=4096, verbose=0))


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)

    @property
    def warm(self) -> float:
        """Seconds of an epoch after the first, in which programs are compiled."""
        return statistics.median(self.seconds[1:])
