"""The text of an architecture, by which workers know what they have compiled; without Spark."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from spark_keras.keras_model import architecture, automatic_names, first_step, state


def branched():
    """Layers of one kind in two branches, a layer with the user's own name, losses by automatic output names."""
    x = keras.Input((4,))
    left = keras.layers.Dense(3, activation="relu")(x)
    right = keras.layers.Dense(3, activation="softmax", name="mine")(x)
    a = keras.layers.Dense(2)(keras.layers.Concatenate()([left, keras.layers.Softmax()(right)]))
    b = keras.layers.Dense(1)(left)
    model = keras.Model(x, [a, b])
    model.compile("adam", dict(zip(model.output_names, ["mse", "mae"])), loss_weights=[1.0, 2.0])
    return model


def test_a_model_built_again_is_the_same_text():
    branched()  # from now on no name is without a number
    first, second = branched(), branched()
    assert first.output_names != second.output_names
    assert architecture.architecture(first) == architecture.architecture(second)


def test_the_text_makes_the_same_model():
    branched()
    model = branched()
    x, y = np.random.default_rng(0).random((8, 4), "float32"), [np.ones((8, 2)), np.ones((8, 1))]
    copy = architecture.replica(architecture.architecture(model), {}, True, (x, y))
    first_step.build_symbolically(model, (x, y))
    layout = state.layout_of(model)
    state.write(copy, layout, state.read(model, layout))
    assert copy.get_layer("mine").activation is keras.activations.softmax
    assert copy.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-6)


def test_names_that_somebody_uses_stay():
    branched()
    model = branched()
    text = architecture.architecture(model, kept=model.output_names)
    assert architecture.replica(
        text, {}, True, (np.zeros((2, 4)), [np.zeros((2, 2)), np.zeros((2, 1))])
    ).output_names == (model.output_names)


def test_a_new_name_is_never_one_that_is_there():
    def dense(name):
        return {"class_name": "Dense", "config": {"name": name}}

    layers = [
        dense("dense_7"),
        dense("dense"),
        dense("dense_1"),
        {"class_name": "Conv2D", "config": {"name": "dense_2"}},
    ]
    names = [each["config"]["name"] for each in automatic_names.settled(layers, kept=["dense_1"])]
    assert names == ["dense_3", "dense", "dense_1", "dense_2"]


def test_layers_that_share_an_object_still_do():
    def shared():
        start = keras.initializers.RandomNormal(seed=3)
        x = keras.Input((4,))
        dense = keras.layers.Dense(3, kernel_initializer=start)
        y = keras.layers.Dense(3, kernel_initializer=start)(dense(keras.layers.Dense(4)(x)))
        return keras.Model(x, y)

    shared()
    first, second = shared(), shared()
    assert architecture.architecture(first) == architecture.architecture(second)
