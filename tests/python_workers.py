"""Spark's Python workers on this machine, and how those of a fit are killed."""

from __future__ import annotations

import os
import signal

import keras
import psutil
from faults.processes import Log


def python_workers():
    """Processes of Spark's Python workers: forked from a daemon."""
    found = []
    for process in psutil.Process().children(recursive=True):
        if process.parent() and any(word.endswith(".daemon") for word in process.parent().cmdline()):
            found.append(process)
    return found


class KillAWorker(keras.callbacks.Callback):
    """kill -9 of a worker of the fit, another one each time, after each of the first epochs.

    Args:
        times: at most as many as the fit has workers.
    """

    def __init__(self, times):
        super().__init__()
        self.times, self.log, self.victims = times, Log(), []

    def on_epoch_end(self, epoch, logs=None):
        if len(self.victims) < self.times:
            self.victims.append(self.log.workers[len(self.victims)])
            os.kill(self.victims[-1], signal.SIGKILL)

    @property
    def killed(self):
        """How many of the fit's workers another process has replaced since they were killed."""
        return sum(self.log.workers[shard] != pid for shard, pid in enumerate(self.victims))
