"""The campaigns. Each gives its figures so far, and checks the bits of every fit against an undisturbed one."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from faults import fits
from faults.processes import Killer, Log, executors, wait_for_end
from spark_keras import temporary

Figures = dict[str, Any]


def kills(
    spark: Any, fits_count: int, kills_per_fit: int, executor_share: float, seed: int = 1, averaging: str = "driver"
) -> Iterator[Figures]:
    """Fits in which processes are killed at random moments.

    Args:
        averaging: Param of these; the one without kills averages on the driver.
    """
    log, draw = Log(), random.Random(seed)
    rows = fits.rows(spark)
    expected = fits.bits(fits.estimator().fit(rows))
    killed: list[dict[str, Any]] = []
    recoveries: list[float] = []
    same = 0
    for number in range(fits_count):
        with Killer(log, draw, kills_per_fit, executor_share=executor_share) as killer:
            fitted = fits.estimator(callbacks=[killer], maxFailures=20, averaging=averaging).fit(rows)
        killed += killer.done
        recoveries += killer.recoveries()
        same += fits.bits(fitted) == expected
        yield {
            "master": spark.sparkContext.master,
            "fits": number + 1,
            "same": same,
            "kills": len(killed),
            "executors": sum(kill["kind"] == "executor" for kill in killed),
            "atStart": sum(kill["during"] == "start" for kill in killed),
            **_recovery(recoveries),
        }


def soak(spark: Any, seconds: float, every: float, seed: int = 2) -> Iterator[Figures]:
    """Fits one after the other, and one kill every so many seconds."""
    log, draw = Log(), random.Random(seed)
    rows = fits.rows(spark)
    expected = fits.bits(fits.estimator(epochs=30).fit(rows))
    began, count, same, killed = time.monotonic(), 0, 0, 0
    recoveries: list[float] = []
    while time.monotonic() - began < seconds:
        share = 0.2 if executors() else 0.0
        with Killer(log, draw, 10**6, every, executor_share=share, until=began + seconds) as killer:
            fitted = fits.estimator(callbacks=[killer], epochs=30, maxFailures=1000).fit(rows)
        killed += len(killer.done)
        recoveries += killer.recoveries()
        count += 1
        same += fits.bits(fitted) == expected
        yield {
            "master": spark.sparkContext.master,
            "seconds": round(time.monotonic() - began),
            "every": every,
            "fits": count,
            "same": same,
            "kills": killed,
            **_recovery(recoveries),
        }


def _recovery(seconds: list[float]) -> Figures:
    if not seconds:
        return {"medianSeconds": None, "maxSeconds": None}
    return {"medianSeconds": round(statistics.median(seconds), 1), "maxSeconds": round(max(seconds), 1)}


# --- the driver ----------------------------------------------------------------------------------------------------


def driver_kills(kills_wanted: int, interval: str | int = 1, seed: int = 3) -> Iterator[Figures]:
    """A driver in a process of its own, killed with SIGKILL at random moments and started again until it ends."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="spark_keras_") as folder:
        expected = _run_driver(folder, None)["bits"]
        killed, fits_count, same, lost = 0, 0, 0, []
        while killed < kills_wanted:
            fits_count += 1
            checkpoints = f"{folder}/checkpoints {fits_count}"
            outcome, kills_of_fit = None, 0
            while outcome is None:
                again = killed < kills_wanted and kills_of_fit < 3
                outcome = _run_driver(folder, checkpoints, interval, draw.randint(2, 40) if again else None, draw)
                killed += outcome is None
                kills_of_fit += outcome is None
            same += outcome["bits"] == expected
            lost.append(outcome["resumedAt"])
            yield {"kills": killed, "fits": fits_count, "same": same, "interval": interval, "resumedAt": lost}


def _run_driver(
    folder: str,
    checkpoints: str | None,
    interval: str | int = 1,
    kill_after: int | None = None,
    draw: random.Random | None = None,
) -> Figures | None:
    """Runs `faults.driver`; its result, or None if it was killed.

    Args:
        kill_after: rounds after which, and soon, it is killed.
    """
    result = Path(folder) / "result.json"
    result.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "faults.driver",
        str(result),
        *([checkpoints, str(interval)] if checkpoints else []),
    ]
    paths = [str(Path(fits.ROOT) / "scripts"), fits.ROOT, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
        environment.pop(name, None)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        rounds = 0
        for line in driver.stdout:
            rounds += line.startswith("round")
            if kill_after is not None and rounds >= kill_after:
                time.sleep(draw.uniform(0.0, 0.3))
                family = psutil.Process(driver.pid).children(recursive=True)
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                left = wait_for_end(family)
                if left:
                    raise RuntimeError(f"A driver that was killed left the processes {left}.")
                return None
    if driver.returncode:
        raise RuntimeError(f"The driver ended with status {driver.returncode}.")
    return json.loads(result.read_text(encoding="utf-8"))


# --- what stays behind ---------------------------------------------------------------------------------------------


def cancelled(spark: Any, fits_count: int, cancelled_fits: int, seed: int = 4) -> Iterator[Figures]:
    """Fits of which some are interrupted, as by Ctrl-C, at random moments; what the process holds before and after."""
    draw, folders = random.Random(seed), _Folders()
    rows = fits.rows(spark)
    expected = fits.bits(fits.estimator().fit(rows))
    durations = []
    for _ in range(2):
        durations.append(_seconds_of_a_fit(rows))
        _interrupted_fit(rows, 0.5)
    chosen = set(draw.sample(range(fits_count), cancelled_fits))
    durations.append(_seconds_of_a_fit(rows))
    # A fit after an interrupted one may have to wait for new Python processes.
    usual = min(durations)
    before = held(folders)
    same, ends, interrupted = 0, [], 0
    for number in range(fits_count):
        if number in chosen:
            seconds = _interrupted_fit(rows, draw.uniform(0.0, usual))
            interrupted += seconds is not None
            ends.append(seconds or 0.0)
        else:
            same += fits.bits(fits.estimator().fit(rows)) == expected
    time.sleep(3)
    after = held(folders)
    folders.forget()
    yield {
        "master": spark.sparkContext.master,
        "fits": fits_count,
        "cancelled": interrupted,
        "same": same,
        "finished": fits_count - cancelled_fits,
        "maxEndSeconds": round(max(ends), 1),
        "before": before,
        "after": after,
        "jobs": len(list(spark.sparkContext.statusTracker().getActiveJobsIds())),
    }


def _seconds_of_a_fit(rows: Any) -> float:
    started = time.monotonic()
    fits.estimator().fit(rows)
    return time.monotonic() - started


def _interrupted_fit(rows: Any, seconds: float) -> float | None:
    """Interrupts a fit after so many seconds; how long it took to end, or None if it was over before."""
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, interrupt)
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        fits.estimator(epochs=8).fit(rows)
        timer.cancel()
        timer.join()
        return None
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
    finally:
        signal.signal(signal.SIGINT, kept)


def held(folders: _Folders) -> Figures:
    """What this process and its family hold: threads, descriptors, listening sockets, files, processes, memory."""
    gc.collect()
    own = psutil.Process()
    return {
        "threads": threading.active_count(),
        "descriptors": own.num_fds(),
        "listening": sum(c.status == psutil.CONN_LISTEN for c in own.net_connections("inet")),
        "folders": folders.left(),
        "processes": len(own.children(recursive=True)),
        "megabytes": round(own.memory_info().rss / 2**20),
    }


class _Folders:
    """Notes the product's temporary folders that this process makes, also in the memory that processes share.

    Keras makes one of its own while it saves a model, which an interrupt of just that moment leaves behind, empty.
    """

    def __init__(self) -> None:
        self._make, self._made = os.mkdir, set[str]()
        os.mkdir = self._noting

    def _noting(self, path: Any, *arguments: Any, **named: Any) -> None:
        if os.path.basename(os.fsdecode(path)).startswith(temporary.PREFIX):
            self._made.add(path)
        self._make(path, *arguments, **named)

    def left(self) -> int:
        return sum(map(os.path.exists, self._made))

    def forget(self) -> None:
        os.mkdir = self._make
