"""Records of a fit's time add up, and do not grow with the fit."""

from __future__ import annotations

import json
import time

import keras
import numpy as np
import pytest

from spark_keras import KerasTrainingSummary
from spark_keras.keras_model import state as states
from spark_keras.telemetry.phases import PHASES, Phases, checked
from spark_keras.telemetry.timeline import Timeline


def model():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="second")]
    made = keras.Sequential(layers)
    made.compile("sgd", "mse")
    return made


def timeline(workers=2):
    made = model()
    layout = states.layout_of(made)
    return Timeline(workers, layout), states.read(made, layout)


def test_every_second_of_a_worker_belongs_to_a_phase():
    before, phases, began = time.perf_counter(), Phases(), time.perf_counter()
    for phase in PHASES:
        time.sleep(0.01)
        ended = time.perf_counter()
        phases.lap(phase)
    told = phases.taken()
    # Sums of floats differ in their last bits.
    assert ended - began - 1e-9 <= sum(told) <= time.perf_counter() - before + 1e-9
    assert all(seconds >= 0.01 for seconds in told)
    assert sum(phases.taken()) == 0
    assert checked("nonsense") == checked([1, 2]) == checked(None) == (0.0,) * len(PHASES)


def test_records_of_a_long_fit_are_merged_and_lose_nothing():
    kept, state = timeline()
    kept.begin(state)
    rates = []
    for epoch in range(10):
        for _ in range(2000):
            kept.round(epoch, 0.002, 0.0015, [(worker, 10, (0.001, 0, 0, 0, 0.0005, 0)) for worker in range(2)])
        rates = kept.epoch(epoch, state)
    assert rates == pytest.approx([10 / 0.002] * 2)
    described = kept.described([{"load": 1.0, "build": 2.0}] * 2)
    assert len(described["records"]) < 4000 and len(json.dumps(described)) < 2_000_000
    assert sum(record["rounds"] for record in described["records"]) == 20_000
    assert np.sum([record["rows"] for record in described["records"]], axis=0).tolist() == [200_000] * 2
    assert sum(record["workers"][1][4] for record in described["records"]) == pytest.approx(10.0)
    assert sum(record["driver"][1] for record in described["records"]) == pytest.approx(10.0)
    assert len(described["slowest"]) == 10
    assert len(described["magnitudes"]["epochs"]) == 10


def test_what_follows_a_round_belongs_to_its_record():
    kept, state = timeline()
    kept.begin(state)
    for epoch in range(2):
        for _ in range(1500):
            kept.round(epoch, 0.002, 0.0015, [])
        kept.evaluation([(1, 0, (0, 0, 0, 0, 0, 0.25))])
        kept.driver("callbacks", 0.5)
        kept.epoch(epoch, state)
    records = kept.described([])["records"]
    assert [record["round"] for record in records if record["workers"][1][5]] == [1500, 3000]
    assert [record["driver"][3] for record in records if record["driver"][3]] == [0.5, 0.5]


def test_import_is_a_phase_of_its_own_beside_the_loading_of_rows():
    kept, state = timeline()
    kept.begin(state)
    kept.round(0, 0.01, 0.005, [(0, 10, (0, 0, 0.25, 0, 0, 0))])
    started = [{"load": 1.0, "awaitImport": 2.0, "build": 0.5, "import": 3.0}, {"load": 4.0, "import": 3.0}]
    summary = summary_of(kept.described(started))
    table = summary.toPandas()
    start = table[table["round"] == 0].set_index("worker")
    assert start[["loading", "importing", "building"]].to_numpy().tolist() == [[1, 2, 0.5], [4, 0, 0]]
    assert start.seconds.tolist() == [3.5, 4.0]
    # The first answer came when the round ended, and nothing is between.
    end = kept.described([])["records"][0]
    assert start.began.tolist() == pytest.approx(
        [end["began"] + end["seconds"] - 3.75, end["began"] + end["seconds"] - 4]
    )
    own = table[table.worker == 0]
    assert own[["loading", "importing", "building"]].sum().tolist() == [1.25, 2, 0.5]
    page = summary.toHTML()
    assert "worker 0, importing: 2 s" in page and "seconds of the longest import" in page
    bars = summary.plot().axes[1].containers
    assert [[bar.get_width() for bar in bar_of] for bar_of in bars if bar_of.get_label() == "importing"] == [[2.0, 0.0]]


def summary_of(described):
    return KerasTrainingSummary(
        history={"loss": [1.0]},
        epochs=1,
        numWorkers=2,
        averagingFrequency=1,
        batchSize=10,
        rows=[10, 0],
        validationRows=[0, 0],
        skippedRows={},
        rounds=1,
        kernel="xla",
        seconds={"start": 4.0, "train": 0.01, "total": 4.01},
        timeline=described,
    )


def test_magnitudes_are_root_mean_squares_of_each_layer():
    kept, state = timeline()
    kept.begin(state)
    kept.epoch(0, states.State(state.values + np.float32(0.5), state.integers))
    told = kept.described([])["magnitudes"]
    assert [layer.rpartition("/")[2] for layer in told["layers"]] == ["first", "second"]
    assert told["updates"] == [[pytest.approx(0.5)] * 2]
    first = np.concatenate([state.values[:12], state.values[12:15]]) + 0.5
    assert told["parameters"][0][0] == pytest.approx(np.sqrt(np.mean(first**2)), rel=1e-5)
