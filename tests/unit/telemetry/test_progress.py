"""What a fit shows of itself in a terminal, and that it is silent in jobs."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from spark_keras.telemetry import progress
from spark_keras.telemetry.progress import Progress, Starting


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    made = Terminal()
    # Not in all modules: pytest puts its own there when the test begins.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=made, modules={}))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(progress, "_REFRESH_SECONDS", 0.0)
    return made


def lines(terminal):
    return [line.strip() for line in terminal.getvalue().split("\r") if line.strip()]


def test_workers_are_told_until_they_are_ready(terminal):
    starting = Starting(1, 2)
    for state in ((0, 0, 0), (1, 0, 0), (2, 0, 0), (2, 1, 1200), (2, 2, 2500)):
        starting.show(*state)
    told = lines(terminal)[-5:]
    assert [line.split(" |")[0] for line in told] == [
        "starting workers (0 there)",
        "starting workers (1 there)",
        *["importing Keras, loading rows"] * 3,
    ]
    assert [re.search(r"(\d)/2 workers ready", line)[1] for line in told] == ["0", "0", "0", "1", "2"]
    assert "1,200 rows" in told[3] and "2,500 rows" in told[4]
    starting.close()
    # It leaves the line to the first epoch.
    assert terminal.getvalue().endswith("\r")
    starting.close()
    starting.show(2, 2, 2500)


def test_terminal_is_not_drawn_more_often_than_eyes_see(terminal, monkeypatch):
    monkeypatch.setattr(progress, "_REFRESH_SECONDS", 1000.0)
    starting = Starting(1, 2)
    for _ in range(100):
        starting.show(2, 0, 0)
    starting.show(2, 1, 7)
    assert sum("importing" in line for line in lines(terminal)) == 2


@pytest.mark.parametrize(
    "verbose, shown, watched", [(0, True, True), (2, True, True), (1, False, True), (1, True, False)]
)
def test_nothing_is_drawn_where_nobody_watches(terminal, monkeypatch, verbose, shown, watched):
    monkeypatch.setattr(terminal, "isatty", lambda: watched)
    starting, epochs = Starting(verbose, 2, shown), Progress(verbose, 1, 10, shown)
    starting.show(1, 0, 0)
    epochs.epoch_begins(0)
    epochs.round_ends(10)
    assert terminal.getvalue() == ""


IN_A_TERMINAL = """
from spark_keras.telemetry.progress import Progress, Starting

starting, epochs = Starting(1, 2), Progress(1, 3, 1000)
starting.show(2, 2, 1000)
starting.close()
epochs.epoch_begins(1)
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="There are terminals of this kind on Unix alone.")
def test_bars_are_drawn_in_a_terminal_that_does_not_know_its_size():
    driver, end = os.openpty()
    subprocess.run([sys.executable, "-c", IN_A_TERMINAL], stdin=end, stdout=end, stderr=end, check=True)
    drawn = os.read(driver, 2**16).decode()
    os.close(end)
    os.close(driver)
    assert "2/2 workers ready" in drawn and "Epoch 2/3" in drawn


def test_epoch_has_a_bar_of_its_rows(terminal):
    epochs = Progress(1, 3, 1000)
    epochs.epoch_begins(1)
    epochs.round_ends(1000)
    epochs.epoch_ends(1, {"loss": 0.5}, 1.0)
    assert lines(terminal)[-1].startswith("Epoch 2/3") and "loss: 0.5000" in terminal.getvalue()
