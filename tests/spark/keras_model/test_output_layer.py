"""Activations of inner layers, of models inside the model, too, by their path or name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from conftest import labelled_frame
from inner_layers import X, activations, backbone, dense, given

from spark_keras import KerasTransformer
from spark_keras.keras_model import signature
from spark_keras.keras_model.output_layer import with_output_layer


@pytest.mark.parametrize("functional", [True, False])
@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("name", ["backbone/embedding", "embedding"])
def test_a_layer_of_a_nested_model_by_its_path_or_its_name(functional, sequential, name):
    nested, before, last = backbone(functional=functional), dense(3, "before"), dense(1, "last")
    if sequential:
        model = keras.Sequential([keras.Input((3,)), before, nested, last])
    else:
        inputs = keras.Input((3,))
        model = keras.Model(inputs, last(nested(before(inputs))))
    expected = activations(X, before, nested.get_layer("hidden"), nested.get_layer("embedding"))
    np.testing.assert_allclose(given(model, name), expected, atol=1e-6)


def test_models_inside_models_inside_models():
    nested = backbone()
    middle = keras.Sequential([keras.Input((3,)), nested, dense(5, "wide")], name="middle")
    model = keras.Sequential([keras.Input((3,)), middle, dense(1, "last")])
    hidden, embedding = (nested.get_layer(name) for name in ("hidden", "embedding"))
    for name in ("middle/backbone/embedding", "backbone/embedding", "embedding"):
        np.testing.assert_allclose(given(model, name), activations(X, hidden, embedding), atol=1e-6)
    np.testing.assert_allclose(
        given(model, "wide"), activations(X, hidden, embedding, middle.get_layer("wide")), atol=1e-6
    )
    # A whole inner model is a layer, too.
    np.testing.assert_allclose(given(model, "backbone"), activations(X, hidden, embedding), atol=1e-6)


def test_a_layer_of_the_model_itself_comes_before_those_inside():
    model = keras.Sequential([keras.Input((3,)), backbone(), dense(2, "embedding")])
    nested, own = model.layers
    inside = activations(X, *nested.layers[1:])
    np.testing.assert_allclose(given(model, "embedding"), activations(inside, own), atol=1e-6)
    np.testing.assert_allclose(given(model, "backbone/embedding"), inside, atol=1e-6)


def siamese():
    shared = backbone()
    first, second = keras.Input((3,), name="first"), keras.Input((3,), name="second")
    difference = keras.layers.Subtract(name="difference")([shared(first), shared(second)])
    return shared, keras.Model({"first": first, "second": second}, dense(1, "last")(difference))


def test_a_shared_layer_has_a_number_for_each_of_its_calls():
    shared, model = siamese()
    x = {"first": X, "second": X[::-1].copy()}
    for number, name in enumerate(x):
        expected = activations(x[name], *shared.layers[1:])
        np.testing.assert_allclose(given(model, f"backbone[{number}]/embedding", x), expected, atol=1e-6)
        np.testing.assert_allclose(given(model, f"backbone[{number}]", x), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"Several.*'embedding'.*backbone\[0\]/embedding', 'backbone\[1\]/embedding'"):
        with_output_layer(model, "embedding")
    with pytest.raises(ValueError, match=r"Several.*\['backbone\[0\]', 'backbone\[1\]'\]"):
        with_output_layer(model, "backbone")
    # Inputs are named as before.
    cut = with_output_layer(model, "difference")
    assert [tensor.name for tensor in signature.inputs_of(cut)] == ["first", "second"]


@pytest.mark.oldest
def test_features_of_a_nested_layer_are_written(tmp_path):
    df = labelled_frame(X, np.zeros(8))
    nested = backbone()
    model = keras.Sequential([keras.Input((3,)), nested, dense(1, "last")])
    stage = KerasTransformer(model=model, outputLayer="backbone/embedding", outputFormat="vector")
    stage.save(str(tmp_path / "stage"))
    out = KerasTransformer.load(str(tmp_path / "stage")).transform(df)
    assert out.schema["prediction"].metadata["ml_attr"]["num_attrs"] == 2
    rows = np.array([row.prediction.toArray() for row in out.orderBy("id").collect()])
    np.testing.assert_allclose(rows, activations(X, *nested.layers[1:]), atol=1e-6)
    with pytest.raises(ValueError, match=r"outputLayer.*'backbone/last'.*'backbone', 'last', 'backbone/hidden'"):
        stage.copy().setOutputLayer("backbone/last").transform(df)
