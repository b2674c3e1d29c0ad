"""A model's archive, in memory and in a file; without Spark."""

from __future__ import annotations

import copy
import gc
import itertools
import os
import pickle
import random
import shutil
import tempfile
import threading

import keras
import numpy as np
import pytest

from spark_keras import temporary
from spark_keras.keras_model import archive
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.seeding import Seeding


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


class Attention(keras.Model):
    """Its layers draw their initial weights when they are built: by a sublayer's initializer, and by their own."""

    def __init__(self):
        super().__init__()
        self.attention = keras.layers.MultiHeadAttention(1, 2)
        self.out = keras.layers.Dense(1)

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal")

    def call(self, x):
        x = x[:, None] * self.scale
        return self.out(self.attention(x, x)[:, 0])


def test_initial_weights_are_those_of_the_seed_wherever_they_are_drawn():
    def weights(seed, disturbed):
        seeding = Seeding(seed)
        with seeding:
            model = Attention()
        if disturbed:
            random.random()
        with seeding:
            model(np.ones((1, 3), "float32"))
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    state = random.getstate()
    np.testing.assert_array_equal(weights(1, False), weights(1, True))
    assert not np.array_equal(weights(1, False), weights(2, False))
    random.setstate(state)
    weights(1, False)
    assert random.getstate() == state


def test_no_model_is_loaded_while_another_thread_draws(model):
    kept, loaded = KerasArchive.of(model), []
    loading = threading.Thread(target=lambda: loaded.append(kept.load()))
    with Seeding(1):
        before = random.getstate()
        loading.start()
        loading.join(0.5)
        assert loading.is_alive() and random.getstate() == before
    loading.join(30)
    assert loaded


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


def _interrupted(monkeypatch, module, name: str, at: int) -> None:
    """Raises KeyboardInterrupt once, as Ctrl-C does, when a function has returned for this time."""
    function, calls = getattr(module, name), itertools.count(1)

    def interrupted(*arguments, **named):
        function(*arguments, **named)
        if next(calls) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupted)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("module, name", [(os, "mkdir"), (os, "unlink"), (shutil, "rmtree")])
def test_an_interrupt_leaves_no_folder_behind(module, name, model, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(archive, "MEMORY_BYTES", 0)
    for at in itertools.count(1):
        with monkeypatch.context() as patched:
            _interrupted(patched, module, name, at)
            try:
                with KerasArchive.of(model).file():
                    pass
                break
            except (KeyboardInterrupt, UnboundLocalError):
                pass  # Keras' own clean-up fails where it is interrupted early
        gc.collect()
        # Keras' own folder is its own matter.
        assert not [name for name in os.listdir(tmp_path) if name.startswith(temporary.PREFIX)], at
    assert at > 1


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "bfloat16"])
def test_factors_of_lora_are_loaded_as_they_were_saved(dtype):
    layers = keras.layers.Dense(5, dtype=dtype), keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.layers[0].enable_lora(2)
    model.compile("sgd", "mse")
    model.layers[0].lora_kernel_b.assign(np.full((2, 5), 0.25))
    loaded = KerasArchive.of(model).load()
    assert len(loaded.get_weights()) == 6
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
