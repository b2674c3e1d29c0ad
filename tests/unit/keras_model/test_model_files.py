"""Param `model` takes what Keras can read, and tells at once what is wrong with anything else."""

from __future__ import annotations

import sys
import zipfile

import cloudpickle
import keras
import numpy as np
import pytest
from small_models import FEATURES, fitted_linear

from spark_keras import KerasClassifier, KerasRegressor, KerasTransformer
from spark_keras.keras_model.archive import KerasArchive

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def model():
    """A new one for each test, because Keras spoils a model when it saves it as HDF5."""
    return fitted_linear()


@pytest.fixture
def expected(model):
    return model.predict(FEATURES, verbose=0)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "any name", "folder"])
def test_what_keras_reads_is_read(model, expected, name, tmp_path):
    path = tmp_path / name
    if name == "folder":
        model.save(path, zipped=False)
    else:
        model.save(tmp_path / name.replace("any name", "any.keras"))
        if name == "any name":
            (tmp_path / "any.keras").rename(path)
    given = [path, str(path)] if name == "folder" else [path, str(path), path.read_bytes()]
    for each in given:
        loaded = KerasArchive.of(each).load()
        np.testing.assert_array_equal(loaded.predict(FEATURES, verbose=0), expected)
        assert loaded.compiled and int(loaded.optimizer.iterations) == 1


def spoiled(path, name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    file = path / name
    if name == "saved_model":
        file.mkdir()
        (file / "saved_model.pb").write_bytes(b"\x08\x01")
    elif name == "text.keras":
        file.write_text("no model")
    elif name == "empty.keras":
        file.write_bytes(b"")
    elif name == "only.weights.h5":
        model.save_weights(file)
    elif name == "other.keras":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("readme.txt", "no model")
    elif name == "stage":
        (file / "metadata").mkdir(parents=True)
    elif name == "photos":
        file.mkdir()
        (file / "cat.png").write_bytes(b"\x89PNG")
    else:
        model.save(path / f"whole{file.suffix}")
        data = bytearray((path / f"whole{file.suffix}").read_bytes())
        if name.startswith("flipped"):
            data[len(data) // 2] ^= 255
        else:
            data = data[: len(data) // 2]
        file.write_bytes(data)
    return file


WRONG = {
    "half.keras": "damaged or incomplete",
    "flipped.keras": "damaged: the checksum of|damaged or incomplete",
    "half.h5": "damaged or incomplete",
    "only.weights.h5": "weights and no model.*model.load_weights",
    "saved_model": "SavedModel.*TFSMLayer.*model.export",
    "text.keras": "begins with b'no model'",
    "empty.keras": "which is empty",
    "other.keras": r"without a model's config.json.*readme.txt",
    "stage": "folder of a saved stage.*load",
    "photos": r"a folder with \['cat.png'\]",
}


@pytest.mark.parametrize("name, message", WRONG.items(), ids=WRONG)
def test_what_holds_no_model_is_told_when_the_param_is_set(name, message, tmp_path):
    file = spoiled(tmp_path, name)
    pattern = f"(?s)Invalid value for Param `model`. Received: .*{name}.*({message})"
    for stage in (KerasClassifier, KerasRegressor, KerasTransformer):
        with pytest.raises(ValueError, match=pattern) as raised:
            stage(model=str(file))
        assert "Expected: " in str(raised.value)
    if file.is_file():
        with pytest.raises(ValueError, match=f"(?s)Received: {len(file.read_bytes()):,} bytes.*({message})"):
            KerasTransformer().setModel(file.read_bytes())


def test_code_in_an_old_file_is_not_run_unless_it_is_trusted(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x, output_shape=(3,))])
    model.save(tmp_path / "model.h5")
    with pytest.raises(Exception, match="(?i)lambda|unsafe"):
        KerasArchive.of(tmp_path / "model.h5").load()
    loaded = KerasArchive((tmp_path / "model.h5").read_bytes(), trusted=True).load()
    np.testing.assert_allclose(loaded.predict(FEATURES, verbose=0), 2 * FEATURES, rtol=1e-6)


def test_large_files_are_checked_and_kept_in_files(model, expected, tmp_path, monkeypatch):
    from spark_keras.keras_model import archive

    monkeypatch.setattr(archive, "MEMORY_BYTES", 0)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        kept = KerasArchive.of(tmp_path / name)
        (tmp_path / name).unlink()
        np.testing.assert_array_equal(kept.load().predict(FEATURES, verbose=0), expected)
