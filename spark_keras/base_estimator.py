"""The story of a fit: from Params and a DataFrame to a fitted model, by way of the workers."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import keras

from spark_keras.cluster import interpreter, session, slots
from spark_keras.columns import binding, labels, mismatch, names, summable
from spark_keras.columns.training_columns import training_columns
from spark_keras.executor.process import ONEDNN, ProcessSettings
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import first_step, held, own_code, signature
from spark_keras.keras_model import optimizers as optimizer_parts
from spark_keras.keras_model import state as states
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.seeding import Seeding
from spark_keras.params.table import decisive
from spark_keras.params.values import param_or_none
from spark_keras.persistence import KerasReadable, KerasWritable
from spark_keras.telemetry.progress import Progress
from spark_keras.telemetry.summary import KerasTrainingSummary
from spark_keras.training import class_counts, loop
from spark_keras.training.cached_shards import KeptRows
from spark_keras.training.callbacks import exclusive, look_after_non_finite
from spark_keras.training.checkpoints import checkpoints as checkpoint
from spark_keras.training.checkpoints import in_use
from spark_keras.training.checkpoints.checkpoints import Checkpoints
from spark_keras.training.planned import Planned, Prepared, counted_rows
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.averaging import Averaging
from spark_keras.training.wire import connections
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.workers.attempts import Limits
from spark_keras.training.workers.base import ShardInfo
from spark_keras.training.workers.resident import ResidentWorkers


class Watcher(Protocol):
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
        """Whether the epoch ends after this round, and training with it; called often."""


class Trained(Planned, KerasWritable, KerasReadable):
    """What all estimators share: the story of a fit."""

    _classifies = False

    # A fit by itself keeps nothing.
    _kept_rows = KeptRows([])

    def fitMultiple(self, dataset: Any, paramMaps: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """One fit for each map of Params, as `CrossValidator` and `TrainValidationSplit` ask for.

        Spark keeps the rows of fits that train on the same ones, from one fit to the next, as `DataFrame.persist` does:
        in memory, or on disk where that is full. When the last of them has ended they are let go.

        Args:
            paramMaps: for each fit the values of Params, by Param.

        Returns:
            an iterator over (index of the map, fitted model), which several threads may share.
        """
        return super(Trained, self._keeping_rows(paramMaps)).fitMultiple(dataset, paramMaps)

    def _keeping_rows(self, param_maps: Sequence[Any]) -> Any:
        """A copy whose copies have their rows kept for each other: one for each map."""
        keeping = self.copy()
        keeping._kept_rows = KeptRows(self.copy(each) for each in param_maps)
        return keeping

    def _set(self, **kwargs: Any) -> Any:
        model = kwargs.get("model")
        if isinstance(model, keras.Model) and optimizer_parts.excludes_from_weight_decay(
            getattr(model, "optimizer", None)
        ):
            raise ValueError(
                "The optimizer of the model in Param `model` was told to exclude_from_weight_decay(…), which no .keras "
                "archive keeps. Expected: Param `modelFn`, a function that builds the model and says so."
            )
        return super()._set(**kwargs)

    def _prepared(self, dataset: Any) -> Prepared:
        spark = session.session_of(dataset)
        if self.getInitialEpoch() >= self.getEpochs():
            warnings.warn(
                f"Param `initialEpoch` leaves nothing to do. Received: {self.getInitialEpoch()}, where `epochs` is "
                f"{self.getEpochs()}, so that no epoch is trained. Expected: less than `epochs`, as with Keras' "
                "initial_epoch.",
                RuntimeWarning,
                stacklevel=2,
            )
        names.check_new(dataset, self._new_columns())
        count = self._workers(spark)
        seeding = Seeding(self.getSeed())
        with seeding:
            model, trusted = self._new_model()
        known = signature.outputs_of_graph(model)
        if known is not None:
            self._check_outputs(dataset, model, known)
        # Between these, Spark may have to look at a row, for which nobody else should wait.
        spec, outputs = training_columns(dataset, self, model, self._classifies, seeding)
        if known is None:
            self._check_outputs(dataset, model, outputs)
        mismatch.warn_of_losses(model, outputs)
        spec = self._batch_checked(model, spec)
        with seeding:
            with mismatch.metrics_explained(model, spec, outputs):
                first_step.build(model, spec.sample())
            labels.refuse_without_loss(model, spec)
        summable.refuse_not_summable(model, spec, outputs)
        self._check_optimizer(model)
        architecture = architectures.architecture(model, spec.names_in_structures)
        settings = ProcessSettings.of_driver(self._threads(spark), self.getCustomObjects())
        code = own_code.pickled(model, architecture)
        task = WorkerTask(
            endpoint=connections.Endpoint(""),  # known when the fit's own socket is open
            settings=settings._replace(custom_objects=settings.custom_objects + code),
            architecture=architecture,
            safe_mode=not trusted,
            columns=spec,
            batch_size=self.getBatchSize(),
            shuffle=self.getShuffle(),
            seed=self.getSeed(),
            workers=count,
            max_shard_memory=param_or_none(self, "maxShardMemory"),
            prefetch=self.getPrefetch(),
        )
        return Prepared(model, outputs, task)

    def _fit(self, dataset: Any) -> Any:
        with self._kept_rows.during_fit(self):
            return self._trained(dataset, None)

    def _trained(self, dataset: Any, watcher: Watcher | None) -> Any:
        prepared = class_counts.counted(dataset, self, self._prepared(dataset))
        model, outputs, task = prepared
        if watcher is not None:
            held_out = None
            if task.columns.validation:
                held_out = binding.held_out_rows(dataset, self, task.columns)
            watcher.begins(model, held_out, lambda: self._fitted(dataset, model, None, outputs))
        count, spec, frequency = task.workers, task.columns, self.getAveragingFrequency()
        interpreter.check(dataset.sparkSession)
        rows = self._kept_rows.of(self, binding.shard_dataset(dataset, self, spec, count))
        description = f"{type(self).__name__} fit: {count} workers"
        started = time.perf_counter()
        with (
            self._checkpoints(dataset.sparkSession, prepared, watcher) as checkpoints,
            slots.admit(dataset.sparkSession, count),
            exclusive(self.getCallbacks()) as callbacks,
            ResidentWorkers(rows, task, count, description, self._limits()) as workers,
        ):
            shards = workers.shards
            self._check_rows(shards, spec.validation)
            self._check_minibatches(model, shards)
            seconds = {"start": time.perf_counter() - started}
            schedule = Schedule(
                epochs=self.getEpochs(),
                rows=tuple(shard.rows for shard in shards),
                validation=spec.validation,
                batch_size=self.getBatchSize(),
                frequency=None if frequency == "epoch" else int(frequency),
                optimizer_state=self.getOptimizerState(),
                validate_every=1 if watcher is None else watcher.validate_every,
                # Keras' own answer to the question goes before ours.
                non_finite="keep" if look_after_non_finite(callbacks) else self.getNonFinite(),
                initial_epoch=self.getInitialEpoch(),
            )
            resumed = checkpoints and checkpoints.resume([shard.digest for shard in shards])
            plan = self._plan(prepared, counted_rows(shards), workers, resumed and resumed.kernel)
            schedule = schedule._replace(kernel=plan.kernel)
            strategy = Averaging(states.layout_of(model), schedule)
            shown = not any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks)
            progress = Progress(self.getVerbose(), schedule.epochs, sum(schedule.rows), shown)
            with contextlib.closing(progress):
                if watcher is not None:
                    callbacks = [*callbacks, watcher]
                stop = None if watcher is None else watcher.stop
                outcome = loop.train(model, workers, strategy, schedule, callbacks, progress, checkpoints, stop)
        seconds |= outcome.seconds | {"total": time.perf_counter() - started}
        summary = KerasTrainingSummary(
            history=outcome.history,
            epochs=outcome.epochs,
            initialEpoch=outcome.initial_epoch,
            numWorkers=count,
            averagingFrequency=frequency,
            batchSize=self.getBatchSize(),
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
            timeline=outcome.timeline.described([shard.seconds for shard in shards]),
        )
        return self._fitted(dataset, model, summary, outputs)

    @contextlib.contextmanager
    def _checkpoints(self, spark: Any, prepared: Prepared, watcher: Watcher | None) -> Iterator[Checkpoints | None]:
        """The folder of checkpoints, read; or None."""
        folder = param_or_none(self, "checkpointDir")
        if folder is None:
            yield None
            return
        model, task = prepared.model, prepared.task
        settings = decisive(self)
        process = task.settings
        settings |= {"numWorkers": task.workers, "threads": process.threads, "floatx": process.floatx}
        settings |= {ONEDNN: process.onednn, "dtype_policy": process.dtype_policy}
        settings["columns"] = [[*t.tensor_shape, t.dtype, t.one_hot] for t in task.columns.tensors.values()]
        settings |= task.columns.decisive
        state = states.read(model, states.layout_of(model))
        callbacks = [*self.getCallbacks(), *([watcher] if watcher else [])]
        identity = checkpoint.identity(model, state, callbacks, settings)
        with in_use.exclusive("checkpointDir", folder):
            checkpoints = Checkpoints(spark, folder, self.getCheckpointInterval(), identity)
            checkpoints.open()
            yield checkpoints

    # --- the model ---

    def _new_model(self) -> tuple[keras.Model, bool]:
        """(a compiled model of this fit's own, whether it comes from this process)."""
        if self.isSet("model"):
            archive = self.getOrDefault("model")
            model, trusted, origin = archive.load(self.getCustomObjects()), archive.trusted, "model"
        elif self.isSet("modelFn"):
            model, trusted, origin = self.getModelFn()(**self.getModelParams()), True, "modelFn"
            if not isinstance(model, keras.Model):
                raise TypeError(
                    f"Param `modelFn` did not return a model. Received: {model!r} from "
                    f"modelFn(**{self.getModelParams()}). Expected: a compiled keras.Model."
                )
        else:
            raise ValueError("Neither Param `model` nor `modelFn` is set. Expected: one of them.")
        if not getattr(model, "compiled", False):
            raise ValueError(
                f"The model of Param `{origin}` is not compiled. Received: {model.name!r} without optimizer and loss. "
                "Expected: a model after model.compile(optimizer=…, loss=…)."
            )
        return model, trusted

    def _fitted(self, dataset: Any, model: keras.Model, summary: KerasTrainingSummary | None, outputs: Any) -> Any:
        fitted = self._make_model(dataset, KerasArchive.of(model), outputs)
        # batchSize means a minibatch here and a forward pass there.
        own = {self.getParam("batchSize"), self.getParam("model")}
        shared = {param: value for param, value in self._paramMap.items() if param not in own}
        for param, value in shared.items():
            if fitted.hasParam(param.name):
                fitted._set(**{param.name: value})
        fitted._resetUid(self.uid)
        fitted._summary = summary
        return fitted

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> Any:
        raise NotImplementedError

    # --- the workers ---

    def _threads(self, spark: Any) -> int:
        return int(param_or_none(self, "cpusPerWorker") or slots.task_cpus(spark))

    def _workers(self, spark: Any) -> int:
        cpus = slots.task_cpus(spark)
        capacity = max(1, slots.slots(spark) * cpus // max(cpus, self._threads(spark)))
        wanted = param_or_none(self, "numWorkers")
        if wanted is None:
            return capacity
        if wanted > capacity and not slots.slots_can_grow(spark):
            of_threads = "tasks at the same time (cores / spark.task.cpus)"
            if self._threads(spark) > cpus:
                of_threads = "workers of so many threads (cores / cpusPerWorker)"
            raise ValueError(
                f"More workers than slots. Received: numWorkers={wanted}. Expected: at most {capacity}, because the "
                f"session can run so many {of_threads} now. Leave numWorkers unset to take what there is, or give the "
                "session more cores."
            )
        return wanted

    def _limits(self) -> Limits:
        return Limits(self.getMaxFailures(), self.getWorkerTimeout(), self.getJoinTimeout())

    # --- checks ---

    def _output_params(self) -> list[str]:
        return ["predictionCol"]

    def _new_columns(self) -> list[tuple[str, str]]:
        """(Param, name) of each column that the fitted model will write, as far as the Params tell."""
        named = [(name, param_or_none(self, name)) for name in self._output_params()]
        return [(name, column) for name, column in named if column]

    def _check_outputs(self, dataset: Any, model: keras.Model, outputs: Any) -> None:
        """Refuses a model whose outputs do not fit the kind of estimator."""

    def _check_optimizer(self, model: keras.Model) -> None:
        optimizers = [model.optimizer, *held.of(model).optimizers.values()]
        if self.getOptimizerState() == "reset" and any(map(optimizer_parts.keeps_averages, optimizers)):
            raise ValueError(
                'Param `optimizerState` does not go with the optimizer. Received: "reset" and use_ema=True, whose '
                'averages would begin anew with each round. Expected: "average" or "local", or an optimizer without '
                "them."
            )
        # Those of `model.optimizer` travel by the index of the variable.
        innermost = optimizer_parts.innermost(model.optimizer)
        if any(
            optimizer_parts.excludes_from_weight_decay(each)
            for each in optimizers
            if optimizer_parts.innermost(each) is not innermost
        ):
            raise ValueError(
                "An optimizer that is not `model.optimizer`, or is inside of a MultiOptimizer, was told to "
                "exclude_from_weight_decay(…), which does not reach the workers. Expected: an optimizer without weight "
                "decay for those variables."
            )

    def _batch_checked(self, model: keras.Model, spec: Any) -> Any:
        """Refuses a batch that a stateful layer does not take; lets samples have the one that it takes."""
        asked = held.asked_batch(model)
        if asked is None:
            return spec
        name, rows = asked
        if rows != self.getBatchSize():
            raise ValueError(
                f"Param `batchSize` does not fit the model. Received: {self.getBatchSize()}. Expected: {rows}, "
                f"because its layer {name!r} is stateful and takes minibatches of so many rows."
            )
        return spec._replace(sample_rows=rows)

    def _check_minibatches(self, model: keras.Model, shards: list[ShardInfo]) -> None:
        asked = held.asked_batch(model)
        counts = [count for shard in shards for count in (shard.rows, shard.validation_rows)]
        if asked is not None and any(count % asked[1] for count in counts):
            raise ValueError(
                f"A worker has rows for a last minibatch that is not full. Received: {[each.rows for each in shards]} "
                f"rows to train and {[each.validation_rows for each in shards]} to validate on the workers. Expected: "
                f"multiples of {asked[1]}, because layer {asked[0]!r} is stateful and takes minibatches of so many "
                "rows. Leave rows out, or set numWorkers=1 where all rows together are such a multiple."
            )

    def _check_rows(self, shards: list[ShardInfo], validation: bool) -> None:
        skipped = _skipped(shards)
        left_out = f" {sum(skipped.values())} rows were skipped: {skipped}." if skipped else ""
        if sum(shard.rows for shard in shards) == 0:
            raise ValueError(f"The DataFrame has no rows to train on.{left_out} Expected: at least one.")
        if validation and sum(shard.validation_rows for shard in shards) == 0:
            raise ValueError(
                f"No row was held out for validation. Received: validationSplit={self.getValidationSplit()}, "
                f"validationIndicatorCol={param_or_none(self, 'validationIndicatorCol')!r}, "
                f"{sum(shard.rows for shard in shards)} rows.{left_out} Expected: at least one row to validate on."
            )


def _skipped(shards: list[ShardInfo]) -> dict[str, int]:
    total: dict[str, int] = {}
    for shard in shards:
        for column, count in shard.skipped.items():
            total[column] = total.get(column, 0) + count
    return total
