"""Models inside models, and the activations of their layers computed with numpy."""

from __future__ import annotations

import keras
import numpy as np

from spark_keras.keras_model.output_layer import with_output_layer

X = np.random.default_rng(3).normal(size=(8, 3)).astype("float32")


def dense(units, name, activation="tanh"):
    return keras.layers.Dense(units, activation, name=name)


def backbone(name="backbone", functional=True):
    """3 → hidden (4) → embedding (2)."""
    if not functional:
        return keras.Sequential([keras.Input((3,)), dense(4, "hidden"), dense(2, "embedding")], name=name)
    inputs = keras.Input((3,))
    return keras.Model(inputs, dense(2, "embedding")(dense(4, "hidden")(inputs)), name=name)


def activations(x, *layers):
    for kernel, bias in (layer.get_weights() for layer in layers):
        x = np.tanh(x @ kernel + bias)
    return x


def given(model, name, x=X):
    return with_output_layer(model, name).predict(x, verbose=0)
