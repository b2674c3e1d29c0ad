"""What a fit tells of its time adds up, and does not grow with the fit."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from browser import opened
from conftest import labelled_frame

from spark_keras import KerasRegressor, KerasTrainingSummary, WorkerThroughput
from spark_keras.telemetry.phases import PHASES


def model():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="second")]
    made = keras.Sequential(layers)
    made.compile("sgd", "mse")
    return made


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
