"""A live model's own functions and classes travel with it, wherever it is rebuilt; those of a file only where asked."""

from __future__ import annotations

import functools
import pickle

import keras
import numpy as np
import pytest
from conftest import labelled_frame
from keras.src.saving import serialization_lib
from pyspark.ml import PipelineModel

from spark_keras import KerasRegressor, KerasTransformer
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import own_code
from spark_keras.keras_model.archive import KerasArchive

FEATURES = np.linspace(-2, 2, 48).reshape(16, 3).astype("float32")
LABELS = FEATURES.sum(axis=1, keepdims=True)
SCALE = 2.0


def scaled(t):
    return keras.ops.abs(t) * SCALE


def relu(t):
    """Has the name of one of Keras' own functions."""
    return keras.ops.maximum(t, 0.5)


def times(factor):
    def multiply(t):
        return t * factor

    return multiply


class Shift:
    """A callable without a name and without a configuration."""

    def __init__(self, by):
        self.by = by

    def __call__(self, t):
        return t + self.by


class Applied(keras.layers.Layer):
    """An unregistered layer that has a function, and uses a global name."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x) * SCALE

    def get_config(self):
        return {**super().get_config(), "function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "function": keras.saving.deserialize_keras_object(config["function"])})


def absolute_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1) * SCALE


def twos(shape, dtype=None):
    return keras.ops.full(shape, SCALE, dtype)


LAYERS = {
    "a module in a lambda": lambda: keras.layers.Lambda(lambda t: keras.ops.abs(t)),
    "another function in a lambda": lambda: keras.layers.Lambda(lambda t: scaled(t), output_shape=lambda shape: shape),
    "a function": lambda: keras.layers.Lambda(scaled),
    "a function named as Keras' own": lambda: keras.layers.Lambda(relu),
    "a function of Keras": lambda: keras.layers.Lambda(keras.ops.abs),
    "two closures of one name": lambda: keras.Sequential(
        [keras.layers.Lambda(times(2.0)), keras.layers.Lambda(times(3.0))]
    ),
    "a partial function": lambda: keras.layers.Lambda(functools.partial(lambda t, by: t * by + SCALE, by=3.0)),
    "a callable object": lambda: keras.layers.Lambda(Shift(2.0)),
    "a bound method": lambda: keras.layers.Lambda(Shift(2.0).__call__),
    "an activation": lambda: keras.layers.Dense(
        2, activation=lambda t: scaled(t), kernel_initializer=lambda *a, **k: twos(*a, **k)
    ),
    "an unregistered layer": lambda: Applied(lambda t: scaled(t)),
}


def model_with(layer, loss="mse", metrics=()):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1, activation="relu")])
    model.compile(keras.optimizers.SGD(0.01), loss, metrics=list(metrics))
    return model


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_rebuilt_model_computes_with_the_same_code(layer):
    metrics = [lambda y, p: absolute_loss(y, p), absolute_loss, functools.partial(absolute_loss), "mae"]
    model = model_with(layer(), lambda y, p: absolute_loss(y, p), metrics)
    expected, figures = (
        model.predict(FEATURES, verbose=0),
        model.evaluate(FEATURES, LABELS, verbose=0, return_dict=True),
    )

    loaded = pickle.loads(pickle.dumps(KerasArchive.of(model))).load()
    np.testing.assert_array_equal(loaded.predict(FEATURES, verbose=0), expected)
    assert loaded.evaluate(FEATURES, LABELS, verbose=0, return_dict=True) == figures

    architecture = architectures.architecture(loaded)
    assert architecture == architectures.architecture(KerasArchive.of(loaded).load())
    code = {name: pickle.loads(data) for name, data in own_code.pickled(loaded, architecture)}
    replica = architectures.replica(architecture, code, True, (FEATURES, LABELS))
    replica.set_weights(model.get_weights())
    np.testing.assert_array_equal(replica.predict(FEATURES, verbose=0), expected)
    assert model.loss.__name__ == "<lambda>" and keras.saving.get_registered_name(scaled) == "scaled"


# --- with Spark ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def df():
    return labelled_frame(FEATURES, LABELS[:, 0])


def predictions(frame):
    return np.array([row.prediction for row in frame.orderBy("id").collect()])


@pytest.mark.slow
def test_fits_predictions_and_figures_are_those_of_keras(df):
    def build():
        return model_with(
            keras.Sequential([keras.layers.Lambda(lambda t: keras.ops.abs(t)), Applied(times(0.5))]),
            lambda y, p: absolute_loss(y, p),
            [absolute_loss],
        )

    params = {"batchSize": 16, "epochs": 2, "shuffle": False, "numWorkers": 1, "verbose": 0}
    expected = build()
    expected.fit(FEATURES, LABELS[:, 0], batch_size=16, epochs=2, shuffle=False, verbose=0)
    figures = expected.evaluate(FEATURES, LABELS[:, 0], verbose=0, return_dict=True)
    for origin in ({"model": build()}, {"modelFn": build}):
        fitted = KerasRegressor(**origin, **params).fit(df)
        if "model" in origin:  # a modelFn draws its weights from the fit's own seed
            np.testing.assert_allclose(
                predictions(fitted.transform(df)), expected.predict(FEATURES, verbose=0)[:, 0], 1e-5
            )
            assert fitted.evaluate(df) == pytest.approx(figures, rel=1e-5)
        else:
            own = fitted.toKeras().predict(FEATURES, verbose=0)[:, 0]
            np.testing.assert_allclose(predictions(fitted.transform(df)), own, 1e-5)


def test_code_of_a_saved_stage_runs_only_where_it_is_trusted(df, tmp_path):
    model = model_with(keras.layers.Lambda(lambda t: scaled(t)))
    expected = model.predict(FEATURES, verbose=0)
    path = str(tmp_path / "t")
    KerasTransformer(model=model).save(path)
    with pytest.raises(ValueError, match="(?i)lambda"):
        KerasTransformer.load(path).transform(df)
    trusting = KerasTransformer.read().safeMode(False).load(path)
    trusting.save(str(tmp_path / "again"))
    again = KerasTransformer.read().safeMode(False).load(str(tmp_path / "again"))
    for stage in (trusting, again):
        np.testing.assert_allclose(predictions(stage.transform(df)), expected, rtol=1e-6)


def test_keras_own_switch_holds_for_stages_of_a_pipeline(df, tmp_path):
    model = model_with(keras.layers.Lambda(lambda t: scaled(t)))
    path = str(tmp_path / "p")
    PipelineModel([KerasTransformer(model=model)]).save(path)
    with pytest.raises(ValueError, match="(?i)lambda"):
        PipelineModel.load(path).transform(df)
    before = serialization_lib.in_safe_mode()
    loaded = PipelineModel.load(path)
    try:
        keras.config.enable_unsafe_deserialization()
        result = predictions(loaded.transform(df))
        allowed = PipelineModel.load(path)
    finally:
        serialization_lib.global_state.set_global_attribute("safe_mode_saving", before)
    expected = model.predict(FEATURES, verbose=0)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    # Said when it was loaded, it holds in each thread.
    np.testing.assert_allclose(predictions(allowed.transform(df)), expected, rtol=1e-6)


def test_an_archive_that_keras_cannot_write_says_what_to_do(df, tmp_path):
    path = str(tmp_path / "t")
    KerasTransformer(model=model_with(keras.layers.Lambda(Shift(2.0)))).save(path)
    with pytest.raises(ValueError, match="safeMode"):
        KerasTransformer.load(path).transform(df)
    trusting = KerasTransformer.read().safeMode(False).load(path)
    assert len(predictions(trusting.transform(df))) == len(FEATURES)
