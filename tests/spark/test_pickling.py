"""Stages as pickles and deep copies, and training that goes on from a fitted stage."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.ml import PipelineModel

from spark_keras import (
    KerasRegressor,
)

FEATURES = np.random.default_rng(5).normal(size=(16, 3)).astype("float32")
LABELS = FEATURES[:, 0].astype("float64")


def dense_model(units=1):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    return model


# --- warm starts ---------------------------------------------------------------------------------------------------

PARAMS = {"numWorkers": 1, "verbose": 0, "batchSize": 16}


@pytest.fixture(scope="module")
def df():
    return labelled_frame(FEATURES, LABELS)


@pytest.mark.slow
def test_training_goes_on_from_a_fitted_stage_as_keras_does(df):
    """Two epochs at once = one epoch and one more, with Adam's moments and step count."""
    expected = dense_model()
    expected.fit(FEATURES, LABELS, batch_size=16, epochs=3, shuffle=False, verbose=0)
    first = KerasRegressor(model=dense_model(), epochs=1, **PARAMS).fit(df)
    second = KerasRegressor(model=pickle.loads(pickle.dumps(first)), epochs=1, **PARAMS).fit(df)
    third = KerasRegressor(model=PipelineModel([second]), epochs=1, **PARAMS).fit(df).toKeras()
    assert int(third.optimizer.iterations) == 3
    for one, other in zip(expected.get_weights(), third.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
