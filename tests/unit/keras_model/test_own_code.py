"""A model's own functions and classes travel with it."""

from __future__ import annotations

import sys
import types

import keras
import pytest

from spark_keras import KerasTransformer
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import own_code
from spark_keras.keras_model.archive import KerasArchive


def times(factor):
    def multiply(t):
        return t * factor

    return multiply


def model_with(layer, loss="mse", metrics=()):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1, activation="relu")])
    model.compile(keras.optimizers.SGD(0.01), loss, metrics=list(metrics))
    return model


def test_ordinary_models_keep_nothing_beside_their_archive():
    archive = KerasArchive.of(
        model_with(keras.layers.Dense(2, activation=keras.activations.tanh), keras.losses.Huber())
    )
    assert archive.code is None


def test_other_code_makes_another_structure():
    models = [model_with(keras.layers.Lambda(times(factor))) for factor in (2.0, 2.0, 3.0)]
    first, same, other = map(architectures.architecture, models)
    assert first == same != other


def test_code_that_cannot_travel_is_named_when_the_param_is_set():
    import threading

    lock = threading.Lock()
    with pytest.raises(ValueError, match="The model uses .*<lambda>.*cannot be sent to the executors.*Expected"):
        KerasTransformer(model=model_with(keras.layers.Lambda(lambda t: (lock, t)[1])))


def test_modules_of_no_package_travel_with_what_uses_them(tmp_path, monkeypatch):
    (tmp_path / "travelling_inner.py").write_text("FACTOR = 3.0\n")
    (tmp_path / "travelling_outer.py").write_text(
        "import travelling_inner\n\ndef outer(t):\n    return t * travelling_inner.FACTOR\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import travelling_outer

    data = KerasArchive.of(model_with(keras.layers.Lambda(lambda t: travelling_outer.outer(t)))).code
    for name in ("travelling_outer", "travelling_inner"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.undo()
    (function,) = own_code.unpacked(data, {}).values()
    assert isinstance(function, types.FunctionType) and function(2.0) == 6.0
