"""A model's archive, in memory and in a file; without Spark."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil

import keras
import numpy as np
import pytest

from spark_keras import archive, temporary
from spark_keras.archive import KerasArchive


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


@pytest.fixture(params=[0, archive.MEMORY_BYTES], ids=["file", "memory"])
def place(request, monkeypatch):
    monkeypatch.setattr(archive, "MEMORY_BYTES", request.param)


def test_an_archive_gives_the_model_back_wherever_it_is_kept(place, model, tmp_path):
    x = np.ones((4, 3), "float32")
    model.save(tmp_path / "model.keras")
    of_model = KerasArchive.of(model)
    for kept in (of_model, KerasArchive.of(tmp_path / "model.keras"), KerasArchive.of(of_model.data)):
        (tmp_path / "model.keras").unlink(missing_ok=True)
        np.testing.assert_array_equal(kept.load().predict(x, verbose=0), model.predict(x, verbose=0))
        assert kept.size == len(kept.data)
    for same in (copy.copy(of_model), pickle.loads(pickle.dumps(of_model))):
        assert same == of_model and same.trusted and repr(same) == repr(of_model)


def test_the_file_of_a_large_archive_is_gone_with_it(model, monkeypatch):
    monkeypatch.setattr(archive, "MEMORY_BYTES", 0)
    kept = KerasArchive.of(model)
    with kept.file() as path:
        assert os.path.isfile(path)
    assert os.path.isfile(path)
    del kept
    gc.collect()
    assert not os.path.exists(os.path.dirname(path))


def test_an_interrupt_leaves_no_folder_behind(monkeypatch):
    remove, interrupts = shutil.rmtree, iter([True])

    def interrupted(*arguments, **named):
        if next(interrupts, False):
            raise KeyboardInterrupt
        remove(*arguments, **named)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), temporary.folder() as folder:
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)
