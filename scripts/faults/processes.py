"""Processes of a Spark application, as the system knows them, and their ends."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from typing import Any

import keras
import psutil


class Log(logging.Handler):
    """Which process works on which shard, as the fit's own log tells."""

    STARTS = re.compile(r"worker (\d+) starts as process (\d+) on")

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.workers: dict[int, int] = {}
        logger = logging.getLogger("spark_keras")
        # One of them at a time: it would be there for the rest of the process.
        logger.handlers = [each for each in logger.handlers if not isinstance(each, Log)] + [self]
        logger.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        started = self.STARTS.search(record.getMessage())
        if started:
            self.workers[int(started[1])] = int(started[2])


def executors() -> list[psutil.Process]:
    """The JVMs of the executors of a local-cluster."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "CoarseGrainedExecutorBackend" in " ".join(process.cmdline()):
                found.append(process)
    return found


class Killer(keras.callbacks.Callback):
    """Kills worker processes, and executors where there are any, while a fit goes on; it rests between fits.

    The callback notes the rounds, by which the time of a recovery is known.

    Args:
        log: knows the processes.
        draw: decides when and whom.
        kills: how many in a fit; before each round of the last epoch, those that are left are waited for, one by one.
        every: seconds between two kills; None: a random time, half of them soon after a random round and the others
            soon after the last kill, while the replacement starts, imports and loads.
        executor_share: of the kills hit an executor, with all that is in it.
        until: time of `time.monotonic` after which it kills no more.
    """

    def __init__(
        self,
        log: Log,
        draw: random.Random,
        kills: int,
        every: float | None = None,
        executor_share: float = 0.0,
        epochs: int = 4,
        until: float = float("inf"),
    ):
        super().__init__()
        self.log, self.draw, self.kills, self.every = log, draw, kills, every
        # How often the others are drawn is a matter of time: what the kills hit must not be.
        self._kinds = random.Random(draw.random())
        self.executor_share, self.last_epoch, self.until = executor_share, epochs - 1, until
        self.done: list[dict[str, Any]] = []
        self.rounds: list[float] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_last_epoch = self._waits = False

    def __enter__(self) -> Killer:
        self.log.workers.clear()
        self._thread = threading.Thread(target=self._kill_all, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._over.set()
        self._thread.join()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.rounds.append(time.monotonic())
        time.sleep(0.02)
        if self._in_last_epoch and self.every is None:
            killed, self._waits = len(self.done), True
            while killed == len(self.done) < self.kills and not self._over.is_set():
                time.sleep(0.01)
            self._waits = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._in_last_epoch = epoch == self.last_epoch

    def recoveries(self) -> list[float]:
        """Seconds from each kill to the end of the round that was waiting for it, or else of the second round after it:
        the first may have been all but over.
        """
        found = []
        for kill in self.done:
            after = [end for end in self.rounds if end > kill["time"]][0 if kill["between"] else 1 :]
            found += [end - kill["time"] for end in after[:1]]
        return found

    def _kill_all(self) -> None:
        while len(self.done) < self.kills:
            kind, killed = self._kind(), len(self.done)
            while killed == len(self.done):
                if self._over.wait(self._pause()) or time.monotonic() > self.until:
                    return
                self._kill(kind)

    def _pause(self) -> float:
        if self.every is not None:
            return self.every
        if self.draw.random() < 0.5:
            return self.draw.uniform(0.0, 8.0)
        before, wanted = len(self.rounds), self.draw.randint(1, 10)
        deadline = time.monotonic() + 30
        while len(self.rounds) < before + wanted and time.monotonic() < deadline and not self._over.wait(0.01):
            if self._waits:
                break
        return self.draw.uniform(0.0, 0.5)

    def _kind(self) -> str:
        """The kind of process that the next kill hits."""
        return "executor" if self._kinds.random() < self.executor_share else "worker"

    def _kill(self, kind: str) -> None:
        """Kills one process of the kind, unless there is none at the moment."""
        pids = [process.pid for process in executors()] if kind == "executor" else list(self.log.workers.values())
        if not pids:
            return
        pid = self.draw.choice(pids)
        with contextlib.suppress(psutil.Error):
            victim = psutil.Process(pid)
            between = self._waits
            victim.kill()
            during = "training" if self.rounds else "start"
            self.done.append({"time": time.monotonic(), "kind": kind, "during": during, "between": between})


def wait_for_end(processes: list[psutil.Process], seconds: float = 30.0) -> list[int]:
    """Process ids that are still there after that time."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process.pid for process in alive if process.status() != psutil.STATUS_ZOMBIE]
