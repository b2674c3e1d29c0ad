"""A training by workers in this process, without Spark: all else of it is real."""

from __future__ import annotations

from spark_keras.backend import choose
from spark_keras.telemetry.progress import Progress
from spark_keras.training import loop
from spark_keras.training.checkpoints.snapshot import Snapshot
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.choose import strategy_of
from spark_keras.training.worker.closure import Compressing
from spark_keras.training.workers.in_process import InProcessWorkers


def train(
    model,
    data,
    *,
    workers=1,
    epochs=1,
    batch_size=32,
    frequency=10,
    validation=None,
    shuffle=False,
    seed=0,
    jit="auto",
    callbacks=(),
    outer=None,
    checkpoints=None,
    turns=None,
    among_workers=None,
    **settings,
):
    """What `loop.train` gives; the model is trained.

    Args:
        workers: an `InProcessWorkers`; or their number, or the rows of each, as of `InProcessWorkers.of_arrays`.
        outer: an outer optimizer.
        turns: how long each worker takes for a minibatch, as of `InProcessWorkers`.
        among_workers: how workers average among themselves; None: the driver does.
        settings: further fields of the schedule.
    """
    settings = {"optimizer_state": "average"} | settings
    if not isinstance(workers, InProcessWorkers):
        arguments = {"validation": validation, "seed": seed, "shuffle": shuffle, "turns": turns}
        arguments["among_workers"] = among_workers
        arguments["overlap"] = settings.get("overlap", False)
        if settings.get("compression") is not None:
            arguments["compressing"] = Compressing(settings["compression"], settings["optimizer_state"])
        workers = InProcessWorkers.of_arrays(model, data, workers, batch_size, **arguments)
    rows = tuple(shard.rows for shard in workers.shards)
    kernel = choose.choose(model, epochs * -(-max(rows) // batch_size), batch_size, jit).kernel
    settings = {"kernel": kernel} | settings
    validates = any(shard.validation_rows for shard in workers.shards)
    schedule = Schedule(epochs, rows, validates, batch_size, frequency, **settings)
    strategy = strategy_of(model, schedule, outer, workers.task.among_workers is not None)
    progress = Progress(0, epochs, sum(rows))
    return loop.train(model, workers, strategy, schedule, list(callbacks), progress, checkpoints)


class Kept:
    """Checkpoints in memory, of each period; the fit ends after one of them, as when the driver dies.

    Args:
        die_after: how many the fit writes before; None: it does not end.
        snapshot: the one that the fit goes on from; None: it begins.
    """

    def __init__(self, die_after=None, snapshot=None):
        self.snapshot, self._left = snapshot, die_after

    def due(self, position):
        return True

    def write(self, snapshot: Snapshot):
        copied = {name: array.copy() for name, array in snapshot.strategy.items()}
        self.snapshot = snapshot._replace(strategy=copied, metrics=snapshot.metrics.copy())
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
