"""The measurement of what many workers do to accuracy, compared with plain Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from many_workers import measure, run, tasks
from many_workers.ways import PLAIN, WAYS, Way

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def laboratory(monkeypatch):
    random = np.random.default_rng(0)
    x = random.normal(size=(96, 4)).astype("float32")
    y = (x.sum(1, keepdims=True) > 0).astype("float32")

    def network():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])

    task = tasks.Task(lambda: ((x[:64], y[:64]), (x[64:], y[64:])), network, "binary_crossentropy", 3, 64, auc=True)
    monkeypatch.setitem(measure.TASKS, "small", task)
    return measure.Laboratory("small", "SGD with momentum")


def by_keras(laboratory, rate, seed):
    # A minibatch of all rows: their order does not matter.
    model = laboratory.network(seed)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")]
    )
    model.fit(*laboratory.training, batch_size=64, epochs=3, verbose=0)
    return model.evaluate(*laboratory.held_out, verbose=0)


def test_figures_are_those_of_keras_whatever_ran_before(laboratory):
    for seed, rate in [(0, 0.1), (1, 0.5), (0, 0.1)]:
        found = laboratory.losses(WAYS[PLAIN], 1, rate, seed)
        np.testing.assert_allclose(found, by_keras(laboratory, rate, seed), rtol=1e-5)


@pytest.mark.parametrize("scaling, times", [("linear", 4.0), ("sqrt", 2.0)])
def test_four_workers_that_share_a_batch_train_with_the_scaled_rate(laboratory, scaling, times):
    found = laboratory.losses(Way(scaling, shared=1.0), 4, 0.1, 0)
    np.testing.assert_allclose(found, by_keras(laboratory, 0.1 * times, 0), rtol=1e-5)


def test_a_series_is_measured_once(tmp_path):
    command = [sys.executable, "-m", "many_workers.run", "--tasks", "digits", "--optimizers", "Adam", "--seeds", "0"]
    command += ["--ways", PLAIN, "--workers", "2", "--times", "1", "--jobs", "1", "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    kept = []
    for _ in range(2):
        subprocess.run(command, cwd=ROOT / "scripts", env=environment, check=True)
        kept.append((tmp_path / "many-workers.csv").read_text(encoding="utf-8"))
    runs = run.read(tmp_path / "many-workers.csv")
    assert [(each.workers, each.way) for each in runs] == [(1, PLAIN), (2, PLAIN)]
    assert 0 < runs[0].loss < 0.3
    assert kept[0] == kept[1]
