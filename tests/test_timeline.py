"""What a fit tells of its time adds up, and does not grow with the fit."""

from __future__ import annotations

import json
import time

import keras
import numpy as np
import pytest
from browser import opened
from conftest import labelled_frame

from spark_keras import KerasRegressor, KerasTrainingSummary, WorkerThroughput
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


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(0)
    df = labelled_frame(random.normal(size=(200, 4)), random.normal(size=200))
    logs = []
    log = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, values: logs.append(dict(values)), on_train_batch_end=lambda batch, logs: None
    )
    estimator = KerasRegressor(
        model=model(),
        epochs=3,
        numWorkers=2,
        batchSize=10,
        averagingFrequency=2,
        validationSplit=0.2,
        verbose=0,
        callbacks=[WorkerThroughput(), log],
    )
    return estimator.fit(df), logs


def test_table_has_every_row_and_the_time_of_every_phase(spark, fitted):
    summary = fitted[0].summary
    table = summary.toPandas()
    workers = table[table.worker >= 0]
    assert workers.rows.sum() == 3 * sum(summary.rows)
    assert workers.groupby("worker").rows.sum().tolist() == [3 * rows for rows in summary.rows]
    assert table[table.worker == 0].rounds.sum() == summary.rounds
    assert (workers[list(PHASES)].to_numpy() >= 0).all()
    start = workers[workers["round"] == 0]
    assert start.worker.tolist() == [0, 1] and (start.loading > 0).all() and (start.building > 0).all()
    assert (start.importing >= 0).all() and (start.began + start.seconds < summary.seconds["train"]).all()
    for told in summary.timeline["start"]:
        # The import began with the loading of the rows.
        assert 0 < told["import"] <= told["load"] + told["awaitImport"]
    # A worker has never more seconds than the fit.
    assert (workers.groupby("worker")[list(PHASES)].sum().sum(axis=1) < summary.seconds["total"]).all()
    assert workers.computing.sum() > 0 and workers.evaluating.sum() > 0
    weights = sum(weight.size for weight in fitted[0].toKeras().get_weights())
    assert (workers.bytes >= 2 * 4 * weights * workers.rounds).all()
    driver = table[table.worker < 0]
    rounds = driver.waiting.sum() + driver.averaging.sum()
    # The callback with a hook for each round does not count the rounds as its own.
    assert 0.5 * summary.seconds["train"] < rounds <= summary.seconds["train"]
    assert summary.seconds["callbacks"] < summary.seconds["total"] - rounds
    # Records are rounded to microseconds.
    assert driver.callbacks.sum() <= summary.seconds["callbacks"] + 1e-6 * len(driver)


def test_summary_keeps_its_timeline_when_it_is_saved(spark, fitted):
    summary = fitted[0].summary
    assert KerasTrainingSummary.fromJSON(summary.toJSON()) == summary
    titles = [axis.get_title() for axis in summary.plot().axes]
    assert titles == ["Learning curves", "Where the time went", "Rows per second"]


def test_throughput_of_each_worker_is_among_the_logs_on_request(spark, fitted):
    summary, logs = fitted[0].summary, fitted[1]
    assert len(logs) == 3
    for worker in range(2):
        assert all(values[f"worker_{worker}_rows_per_second"] > 0 for values in logs)
    assert summary.history["worker_1_rows_per_second"] == [values["worker_1_rows_per_second"] for values in logs]


# Runs in the page, after its own script, and tells what it saw.
PROBE = """
<script>
addEventListener("load", () => {
  seen.drawings = [...document.querySelectorAll("svg.drawing")].map((svg) => ({
    label: svg.getAttribute("aria-label"), width: svg.getBoundingClientRect().width,
    lines: [...svg.querySelectorAll("polyline")].map((line) => line.getTotalLength()),
    blocks: svg.querySelectorAll("rect").length}));
  seen.histograms = [...document.querySelectorAll("svg.chart")].map((svg) => [...svg.querySelectorAll("rect")].length);
  seen.headings = [...document.querySelectorAll("h2")].map((heading) => heading.textContent);
  seen.smallest = Math.min(...[...document.querySelectorAll("td, dd, p")].filter((part) => part.getClientRects().length)
    .map((part) => parseFloat(getComputedStyle(part).fontSize)));
});
</script>
"""


@pytest.mark.parametrize("width", [360, 1280], ids=["phone", "desktop"])
def test_page_opens_offline_with_all_its_drawings(spark, fitted, tmp_path, width):
    page = fitted[0].summary.toHTML(title="Three epochs <b>")
    assert "Three epochs &lt;b&gt;" in page
    seen = opened(page, PROBE, width, tmp_path)
    assert seen["smallest"] >= 11
    headings = ["Learning curves", "Timeline", "Phases", "Slowest rounds", "Parameters and updates", "Plan"]
    assert seen["headings"] == headings
    drawings = {drawing["label"]: drawing for drawing in seen["drawings"]}
    assert len(drawings["loss by epoch"]["lines"]) == 2  # with val_loss
    # Two layers, three epochs.
    assert [length > 10 for length in drawings["Parameters by epoch"]["lines"]] == [True] * 2
    assert len(drawings["Updates by epoch, as a share of the parameters"]["lines"]) == 2
    assert drawings["Timeline of driver and workers"]["blocks"] > 20
    assert all(drawing["width"] > 200 for drawing in seen["drawings"])
    assert len(seen["histograms"]) >= 4 and set(seen["histograms"]) == {12}
    assert (fitted[0].summary.toHTML(tmp_path / "again.html") == (tmp_path / "again.html").read_text()) is True
