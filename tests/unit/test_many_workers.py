"""The page on many workers: it tells what the runs tell, and it is that of the runs that are kept."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from many_workers import page, run
from many_workers.ways import PLAIN, Run

DOCS = Path(__file__).resolve().parents[2] / "docs"


def alone(loss, auc=math.nan, seed=0):
    return Run("flights", "Adam", seed, 1, PLAIN, 1.0, 0.01, loss, auc)


def of_many(loss, auc=math.nan, seed=0, way="sqrt", workers=8):
    return Run("flights", "Adam", seed, workers, way, 1.0, 0.01, loss, auc)


def cells(text, way):
    """The cells of a way, in each of the tables that have it."""
    return [line.strip("| ").split(" | ")[1:] for line in text.splitlines() if line.startswith(f"| {way} |")]


def test_page_is_that_of_the_runs():
    runs = run.read(DOCS / "many-workers.csv")
    assert len(runs) > 100
    assert (DOCS / "many-workers.md").read_text(encoding="utf-8") == page.write(runs)


def test_runs_are_read_as_they_were_written(tmp_path):
    runs = [alone(0.4, 0.75), of_many(0.5, 0.7, workers=2), of_many(math.nan), of_many(math.inf, way=PLAIN)]
    run.write(tmp_path, runs)
    assert repr(sorted(runs, key=page.order)) == repr(run.read(tmp_path / "many-workers.csv"))


def test_a_run_is_compared_with_one_worker_of_its_seed():
    runs = [
        *(alone(loss, 0.5, seed) for seed, loss in enumerate([1.0, 2.0, 4.0])),
        *(of_many(loss, auc, seed) for seed, (loss, auc) in enumerate([(1.5, 0.4), (2.0, 0.6), (4.4, 0.45)])),
    ]
    losses, areas, *_ = cells(page.write(runs), "sqrt")
    # +50 %, 0 % and +10 %; -0.1, +0.1 and -0.05.
    assert losses == ["+10.0% / +50.0%"]
    assert areas == ["−0.0500 / −0.1000"]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_has_diverged(loss):
    runs = [alone(1.0), alone(1.0, seed=1), of_many(loss), of_many(1.0, seed=1)]
    assert cells(page.write(runs), "sqrt")[0] == ["diverged / diverged"]


def test_ways_without_runs_are_left_out():
    assert cells(page.write([alone(1.0), of_many(1.0)]), "linear") == []
