"""Param `model` takes what Keras and Spark can read, and tells at once what is wrong with anything else."""

from __future__ import annotations

import json
import sys

import cloudpickle
import numpy as np
import pytest
from conftest import LOCAL, labelled_frame, session_for
from small_models import FEATURES, fitted_linear

from spark_keras import KerasRegressor, KerasTransformer
from spark_keras.keras_model.archive import KerasArchive

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def model():
    """A new one for each test, because Keras spoils a model when it saves it as HDF5."""
    return fitted_linear()


@pytest.fixture
def expected(model):
    return model.predict(FEATURES, verbose=0)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "folder"])
@pytest.mark.parametrize("uri", ["file:{}", "file://{}", "local"])
def test_uris_are_read_through_sparks_file_systems(spark, model, expected, name, uri, tmp_path):
    path = tmp_path / name
    model.save(path, zipped=name != "folder")
    given = str(path) if uri == "local" else uri.format(path)
    np.testing.assert_array_equal(KerasArchive.of(given).load().predict(FEATURES, verbose=0), expected)


def test_an_old_file_trains_transforms_and_is_saved_again(spark, model, expected, tmp_path):
    model.save(tmp_path / "model.h5")
    frame = labelled_frame(FEATURES, FEATURES[:, 0])
    KerasTransformer(model=str(tmp_path / "model.h5")).save(str(tmp_path / "stage"))
    assert (tmp_path / "stage" / "model.h5").exists()
    loaded = KerasTransformer.load(str(tmp_path / "stage"))
    given = [row.prediction for row in loaded.transform(frame).orderBy("id").collect()]
    np.testing.assert_allclose(given, expected, rtol=1e-6)


@pytest.mark.parametrize("path", ["nowhere.keras", "file:/nowhere.keras", "nothing://host/model.keras"])
def test_paths_that_lead_nowhere_are_told(spark, path):
    with pytest.raises(ValueError, match=f"Received: '{path}', w.*Expected: "):
        KerasRegressor(model=path)


def test_metadata_names_no_file(model, tmp_path):
    session_for(LOCAL)
    model.save(tmp_path / "model.keras")
    KerasTransformer(model=str(tmp_path / "model.keras")).save(str(tmp_path / "stage"))
    assert "model" not in json.loads(next((tmp_path / "stage" / "metadata").glob("part-*")).read_text())["paramMap"]
