"""A network of a task, trained by workers in this process."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import numpy as np

from many_workers.tasks import TASKS
from many_workers.ways import PLAIN, RATES, WAYS, Run, Way
from spark_keras.keras_model import held, rate_scaling
from spark_keras.keras_model import state as states
from spark_keras.keras_model.rate_scaling import UNSCALED, RateScaling
from spark_keras.keras_model.state import State
from spark_keras.telemetry.progress import Progress
from spark_keras.training import loop
from spark_keras.training.loop import Outcome
from spark_keras.training.settings import Schedule, shared_rows
from spark_keras.training.strategies.choose import strategy_of
from spark_keras.training.worker.closure import Compressing
from spark_keras.training.workers.in_process import InProcessWorkers

_OPTIMIZERS = {
    "Adam": keras.optimizers.Adam,
    "AdamW": keras.optimizers.AdamW,
    "RMSprop": keras.optimizers.RMSprop,
    "SGD with momentum": lambda: keras.optimizers.SGD(momentum=0.9),
}


class Laboratory:
    """A task and an optimizer: what is compiled serves all of its runs."""

    def __init__(self, task: str, optimizer: str):
        self.names = task, optimizer
        self.task = TASKS[task]
        self.training, self.held_out = self.task.rows()
        self.model = self.network(0)
        metrics = [keras.metrics.AUC(name="auc")] if self.task.auc else []
        self.model.compile(_OPTIMIZERS[optimizer](), self.task.loss, metrics=metrics)
        # Builds the model's variables, too.
        workers = InProcessWorkers.of_arrays(self.model, self.training, 1, validation=self.held_out, shuffle=True)
        self.worker_task, self.replica = workers.task, workers.replica
        self.layout = states.layout_of(self.model)
        self._before = states.read(self.model, self.layout)
        self._initial: dict[int, list[np.ndarray]] = {}

    def network(self, seed: int) -> keras.Model:
        """The task's network with initial weights of its own; not compiled."""
        keras.utils.set_random_seed(seed)
        return self.task.network()

    def _begin(self, seed: int, rate: float) -> None:
        """Puts the model into the state from which a fit begins."""
        if seed not in self._initial:
            self._initial[seed] = self.network(seed).get_weights()
        states.write(self.model, self.layout, State(self._before.values.copy(), self._before.integers.copy()))
        self.model.set_weights(self._initial[seed])
        self.model.optimizer.learning_rate.assign(rate)

    def losses(self, way: Way, workers: int, rate: float, seed: int) -> tuple[float, float]:
        """(loss, area under the ROC curve) on the rows held out, after a training."""
        history = self.train(way, workers, rate, seed).history
        return history["val_loss"][-1], history["val_auc"][-1] if self.task.auc else float("nan")

    def train(self, way: Way, workers: int, rate: float, seed: int) -> Outcome:
        """A training from initial weights of its own."""
        task = self.task
        if way.auto:
            size = shared_rows(task.batch_size, workers, held.batch_statistics(self.model))
        else:
            size = max(min(way.least, task.batch_size), round(task.batch_size * way.batch / workers**way.shared))
        factor = rate_scaling.factor(way.scaling, workers)
        steps = task.epochs * math.ceil(len(self.training[1]) / workers / size)
        warm_up = round(steps * way.warm_up) if factor != 1 else 0
        # A rate is a number of the state; only a warm-up is a program of its own.
        scaling = RateScaling(factor, warm_up) if warm_up else UNSCALED
        self._begin(seed, rate if warm_up else rate * factor)
        worker_task = self.worker_task._replace(
            batch_size=size, seed=seed, workers=workers, rate_scaling=scaling, overlap=way.overlap
        )
        if way.compression is not None:
            worker_task = worker_task._replace(compressing=Compressing(way.compression, way.optimizer_state))
        replica = None if warm_up else self.replica
        trained_by = InProcessWorkers.dealt(worker_task, self.training, workers, self.held_out, replica)
        rows = tuple(shard.rows for shard in trained_by.shards)
        schedule = Schedule(
            task.epochs, rows, True, size, way.frequency, way.optimizer_state, "keep", validate_every=task.epochs,
            kernel="graph", combine=way.combine, compression=way.compression, overlap=way.overlap,
        )  # fmt: skip
        outer = None
        if way.momentum is not None and workers > 1:
            outer = keras.optimizers.SGD(way.outer_rate, momentum=way.momentum, nesterov=True)
        strategy = strategy_of(self.model, schedule, outer)
        return loop.train(self.model, trained_by, strategy, schedule, [], Progress(0, task.epochs, sum(rows)))


def runs(
    task: str, optimizer: str, seed: int, kept: list[Run], times: list[float], wanted: list[tuple[int, str]]
) -> Iterator[Run]:
    """The runs of a series that are not kept yet.

    Args:
        kept: runs of this task and optimizer.
        times: of the best learning rate for one worker.
        wanted: numbers of workers, and ways.
    """
    done = {(run.times, run.workers, run.way) for run in kept if run.seed == seed}
    missing = [(each, *case) for each in times for case in wanted if (each, *case) not in done]
    if not missing:
        return
    laboratory = Laboratory(task, optimizer)
    best = next((run.rate / run.times for run in kept), None) or _best(laboratory, RATES[optimizer])
    for each, workers, way in missing:
        rate = best * each
        yield Run(task, optimizer, seed, workers, way, each, rate, *laboratory.losses(WAYS[way], workers, rate, seed))


def _best(laboratory: Laboratory, rates: list[float]) -> float:
    """The learning rate with which one worker comes to the lowest loss."""
    losses = {rate: laboratory.losses(WAYS[PLAIN], 1, rate, 0)[0] for rate in rates}
    return min((rate for rate in losses if math.isfinite(losses[rate])), key=lambda rate: losses[rate])
