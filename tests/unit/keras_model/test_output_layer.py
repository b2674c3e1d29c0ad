"""Activations of inner layers, of models inside the model, too, by their path or name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from inner_layers import X, activations, backbone, dense, given

from spark_keras.keras_model.output_layer import with_output_layer


def test_a_layer_that_other_models_call_too_is_called_once_here():
    trunk = dense(4, "trunk")
    inputs = keras.Input((3,))
    keras.Model(inputs, dense(1, "other")(trunk(inputs)))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, dense(1, "last")(trunk(inputs)))
    np.testing.assert_allclose(given(model, "trunk"), activations(X, trunk), atol=1e-6)


def test_names_of_several_layers_are_refused_with_their_paths():
    model = keras.Sequential([keras.Input((3,)), backbone("a"), dense(3, "between"), backbone("b", functional=False)])
    with pytest.raises(ValueError, match=r"Several.*'embedding'.*\['a/embedding', 'b/embedding'\]"):
        with_output_layer(model, "embedding")
    with pytest.raises(ValueError, match=r"Unknown.*'nothing'.*\['a', 'between', 'b', 'a/hidden', 'a/embedding', 'b/"):
        with_output_layer(model, "nothing")


def test_layers_of_a_model_without_a_graph_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.inner = dense(2, "inner")

        def call(self, x):
            return self.inner(x)

    with pytest.raises(ValueError, match="outputLayer.*Sequential or functional.*Own"):
        with_output_layer(Own(), "inner")
    around = keras.Sequential([keras.Input((3,)), Own(), dense(1, "last")])
    with pytest.raises(ValueError, match=r"Unknown.*'inner'.*\['own', 'last'\]"):
        with_output_layer(around, "inner")
