"""The story of a fit: columns are bound, rows dealt, workers started, a model trained and made."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import keras
from pyspark.sql import DataFrame, SparkSession

from spark_keras.cluster import interpreter, session, slots
from spark_keras.columns import binding
from spark_keras.executor.process import ONEDNN
from spark_keras.keras_model import held
from spark_keras.keras_model import state as states
from spark_keras.params.table import decisive
from spark_keras.params.values import param_or_none
from spark_keras.telemetry.progress import Progress, Starting
from spark_keras.telemetry.summary import KerasTrainingSummary
from spark_keras.training import callbacks as hooks
from spark_keras.training import class_counts, loop
from spark_keras.training.checkpoints import checkpoints as checkpoint
from spark_keras.training.checkpoints import in_use
from spark_keras.training.checkpoints.checkpoints import Checkpoints
from spark_keras.training.plan import Plan
from spark_keras.training.planned import counted_rows
from spark_keras.training.prepared import Prepared, prepare
from spark_keras.training.settings import Schedule, minibatches_of_round
from spark_keras.training.strategies.base import Strategy
from spark_keras.training.strategies.choose import strategy_of
from spark_keras.training.workers.attempts import Limits
from spark_keras.training.workers.base import ShardInfo, Workers
from spark_keras.training.workers.resident import ResidentWorkers


class StopCriterion(Protocol):
    """A Keras callback that ends a fit: the last of its callbacks, asked between rounds, too.

    Attributes:
        validate_every: epochs from one validation to the next.
    """

    validate_every: int

    def begins(self, model: keras.Model, held_out: Any, current: Callable[[], Any]) -> None:
        """Before a job starts, with the built model, the rows that it is validated on (None: on none), and what makes
        a fitted model of it as it is at the moment.
        """

    def stop(self) -> bool:
        """Tells whether the epoch ends after this round, and training with it; called often."""


class Trainer:
    """A fit of an estimator.

    Args:
        estimator: its Params say what is trained, and how; it makes the fitted model.
        watcher: a callback that ends the fit; none by itself.
    """

    def __init__(self, estimator: Any, watcher: StopCriterion | None = None):
        self._estimator, self._watcher = estimator, watcher

    def train(self, dataset: DataFrame) -> Any:
        """A fitted model."""
        spark = session.session_to_train_on(dataset)
        bound = self._bind_columns(dataset)
        interpreter.check(spark)
        rows = self._deal_rows(dataset, bound)
        started = time.perf_counter()
        with (
            self._checkpoints(spark, bound) as checkpoints,
            slots.admit(spark, bound.task.workers),
            hooks.exclusive(self._estimator.getCallbacks()) as callbacks,
            self._start_workers(rows, bound) as workers,
        ):
            seconds = {"start": time.perf_counter() - started}
            schedule, plan = self._settle(bound, workers, callbacks, checkpoints)
            strategy = strategy_of(bound.model, schedule, bound.outer, bound.averaging.value == "workers")
            outcome = self._train(bound.model, workers, strategy, schedule, callbacks, checkpoints)
            shards = workers.shards
        seconds |= outcome.seconds | {"total": time.perf_counter() - started}
        summary = self._summary(bound, schedule, plan, outcome, shards, seconds)
        return self._estimator._fitted(dataset, bound.model, summary, bound.outputs)

    # --- before the workers ---

    def _bind_columns(self, dataset: DataFrame) -> Prepared:
        """Settles what workers load, and checks it against the model."""
        bound = class_counts.counted(dataset, self._estimator, prepare(dataset, self._estimator))
        if self._watcher is not None:
            columns, held_out = bound.task.columns, None
            if columns.validation:
                held_out = binding.held_out_rows(dataset, self._estimator, columns)
            current = functools.partial(self._estimator._fitted, dataset, bound.model, None, bound.outputs)
            self._watcher.begins(bound.model, held_out, current)
        return bound

    def _deal_rows(self, dataset: DataFrame, bound: Prepared) -> Any:
        """The rows as they travel, one partition for each worker."""
        dealt = binding.shard_dataset(dataset, self._estimator, bound.task.columns, bound.task.workers)
        return self._estimator._kept_rows.of(self._estimator, dealt)

    @contextlib.contextmanager
    def _checkpoints(self, spark: SparkSession, prepared: Prepared) -> Iterator[Checkpoints | None]:
        """The folder of checkpoints, read; or None."""
        folder = param_or_none(self._estimator, "checkpointDir")
        if folder is None:
            yield None
            return
        model, task = prepared.model, prepared.task
        settings = decisive(self._estimator)
        process = task.settings
        settings |= {"numWorkers": task.workers, "threads": process.threads, "floatx": process.floatx}
        if task.batch_size != self._estimator.getBatchSize():
            # Left out where it is as in releases that had no other.
            settings["rows per minibatch and worker"] = task.batch_size
        settings |= {ONEDNN: process.onednn, "dtype_policy": process.dtype_policy}
        settings["columns"] = [[*t.tensor_shape, t.dtype, t.one_hot] for t in task.columns.tensors.values()]
        settings |= task.columns.decisive
        state = states.read(model, states.layout_of(model, whole=True))
        callbacks = [*self._estimator.getCallbacks(), *([self._watcher] if self._watcher else [])]
        identity = checkpoint.identity(model, state, callbacks, settings)
        with in_use.exclusive("checkpointDir", folder):
            checkpoints = Checkpoints(spark, folder, self._estimator.getCheckpointInterval(), identity)
            checkpoints.open()
            yield checkpoints

    # --- with the workers ---

    @contextlib.contextmanager
    def _start_workers(self, rows: Any, bound: Prepared) -> Iterator[Workers]:
        estimator, count = self._estimator, bound.task.workers
        limits = Limits(estimator.getMaxFailures(), estimator.getWorkerTimeout(), estimator.getJoinTimeout())
        description = f"{type(estimator).__name__} fit: {count} workers"
        starting = Starting(estimator.getVerbose(), count, self._shows_progress())
        with (
            contextlib.closing(starting),
            ResidentWorkers(rows, bound.task, count, description, limits, starting.show) as workers,
        ):
            starting.close()
            _check_rows(estimator, workers.shards, bound.task.columns.validation)
            _check_minibatches(bound.model, workers.shards)
            yield workers

    def _settle(
        self, bound: Prepared, workers: Workers, callbacks: Sequence[Any], checkpoints: Checkpoints | None
    ) -> tuple[Schedule, Plan]:
        """Settles what depends on the number of rows, or reads it from a checkpoint."""
        estimator, shards = self._estimator, workers.shards
        resumed = None if checkpoints is None else checkpoints.resume([shard.digest for shard in shards])
        kept_kernel = None if resumed is None else resumed.kernel
        plan = estimator._plan(bound, counted_rows(shards), workers, kept_kernel)
        schedule = Schedule(
            epochs=estimator.getEpochs(),
            rows=tuple(shard.rows for shard in shards),
            validation=bound.task.columns.validation,
            batch_size=bound.task.batch_size,
            frequency=minibatches_of_round(estimator.getAveragingFrequency()),
            optimizer_state=estimator.getOptimizerState(),
            validate_every=1 if self._watcher is None else self._watcher.validate_every,
            # Keras' own answer to the question goes before ours.
            non_finite="keep" if hooks.look_after_non_finite(callbacks) else estimator.getNonFinite(),
            initial_epoch=estimator.getInitialEpoch(),
            kernel=plan.kernel,
            mode=estimator.getMode(),
            combine=estimator.getCombine(),
            compression=param_or_none(estimator, "compression"),
            overlap=estimator.getOverlap(),
        )
        return schedule, plan

    def _train(
        self,
        model: keras.Model,
        workers: Workers,
        strategy: Strategy,
        schedule: Schedule,
        callbacks: Sequence[Any],
        checkpoints: Checkpoints | None,
    ) -> loop.Outcome:
        shown = self._shows_progress()
        progress = Progress(self._estimator.getVerbose(), schedule.epochs, sum(schedule.rows), shown)
        with contextlib.closing(progress):
            stop = None
            if self._watcher is not None:
                callbacks, stop = [*callbacks, self._watcher], self._watcher.stop
            return loop.train(model, workers, strategy, schedule, callbacks, progress, checkpoints, stop)

    def _shows_progress(self) -> bool:
        """False where a callback does."""
        return not any(isinstance(each, keras.callbacks.ProgbarLogger) for each in self._estimator.getCallbacks())

    def _summary(
        self,
        bound: Prepared,
        schedule: Schedule,
        plan: Plan,
        outcome: loop.Outcome,
        shards: Sequence[ShardInfo],
        seconds: dict[str, float],
    ) -> KerasTrainingSummary:
        return KerasTrainingSummary(
            history=outcome.history,
            epochs=outcome.epochs,
            initialEpoch=outcome.initial_epoch,
            numWorkers=bound.task.workers,
            averagingFrequency=self._estimator.getAveragingFrequency(),
            batchSize=schedule.batch_size,
            rows=list(schedule.rows),
            validationRows=[shard.validation_rows for shard in shards],
            skippedRows=_skipped(shards),
            nonFiniteUpdates=outcome.non_finite,
            rounds=outcome.rounds,
            kernel=outcome.kernel,
            seconds=seconds,
            shardStorage=[shard.storage for shard in shards],
            plan={"planned": dataclasses.asdict(plan), "measured": outcome.measured},
            stateBytes=plan.stateBytes,
            compressedBytes=outcome.compressed_bytes,
            timeline=outcome.timeline.described([shard.seconds for shard in shards]),
        )


def _check_minibatches(model: keras.Model, shards: Sequence[ShardInfo]) -> None:
    asked = held.asked_batch(model)
    counts = [count for shard in shards for count in (shard.rows, shard.validation_rows)]
    if asked is not None and any(count % asked[1] for count in counts):
        raise ValueError(
            f"A worker has rows for a last minibatch that is not full. Received: {[each.rows for each in shards]} "
            f"rows to train and {[each.validation_rows for each in shards]} to validate on the workers. Expected: "
            f"multiples of {asked[1]}, because layer {asked[0]!r} is stateful and takes minibatches of so many "
            "rows. Leave rows out, or set numWorkers=1 where all rows together are such a multiple."
        )


def _check_rows(estimator: Any, shards: Sequence[ShardInfo], validation: bool) -> None:
    skipped = _skipped(shards)
    left_out = f" {sum(skipped.values())} rows were skipped: {skipped}." if skipped else ""
    if sum(shard.rows for shard in shards) == 0:
        raise ValueError(f"The DataFrame has no rows to train on.{left_out} Expected: at least one.")
    if validation and sum(shard.validation_rows for shard in shards) == 0:
        raise ValueError(
            f"No row was held out for validation. Received: validationSplit={estimator.getValidationSplit()}, "
            f"validationIndicatorCol={param_or_none(estimator, 'validationIndicatorCol')!r}, "
            f"{sum(shard.rows for shard in shards)} rows.{left_out} Expected: at least one row to validate on."
        )


def _skipped(shards: Sequence[ShardInfo]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for shard in shards:
        total.update(shard.skipped)
    return dict(total)
