"""Compiled models of a layer."""

from __future__ import annotations

import keras
import numpy as np

FEATURES = np.random.default_rng(5).normal(size=(16, 3)).astype("float32")


def fitted_linear():
    """3 → 2, fitted to its first two inputs."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", keras.losses.MeanSquaredError())
    model.fit(FEATURES, FEATURES[:, :2], verbose=0)
    return model


def classifier_model(classes=3, features=2, loss="sparse_categorical_crossentropy"):
    model = keras.Sequential([keras.Input((features,)), keras.layers.Dense(classes, activation="softmax")])
    model.compile("sgd", loss)
    return model


def regression_model(features=2, outputs=1):
    model = keras.Sequential([keras.Input((features,)), keras.layers.Dense(outputs)])
    model.compile("sgd", "mse")
    return model
