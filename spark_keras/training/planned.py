"""The plan of a fit, as its estimator tells it before, and keeps it beside what was measured."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras
from pyspark.sql import DataFrame

from spark_keras.backend import base, choose, kernels
from spark_keras.cluster import session, statistics
from spark_keras.keras_model import cost
from spark_keras.keras_model import state as states
from spark_keras.params.mixins import HasTraining
from spark_keras.params.values import param_or_none
from spark_keras.reports.numbers import size
from spark_keras.training import plan as plans
from spark_keras.training.prepared import Prepared, prepare
from spark_keras.training.requests import Measure
from spark_keras.training.rules.change import Changes, trained_size
from spark_keras.training.settings import WHOLE_EPOCH, minibatches_of_round
from spark_keras.training.worker.closure import WorkerTask, max_memory
from spark_keras.training.workers.base import Question, ShardInfo, Workers

logger = logging.getLogger(__name__)


class Planned(HasTraining):
    """An estimator that tells its plan."""

    def explainPlan(self, dataset: DataFrame, extended: bool = False) -> None:
        """Prints what a fit on this DataFrame would do, and who decided it (a Param or a rule).

        Trains nothing and starts no Spark job, unless one row must be looked at for the shapes of arrays. A session of
        Spark Connect tells neither the slots nor the number of rows, and the plan says so.

        Args:
            extended: with the layers of the model, their parameters and FLOPs.

        Raises:
            ValueError: as `fit` does before it starts a job.
        """
        prepared = prepare(dataset, self)
        print(self._plan(prepared, _estimated_rows(dataset, prepared.task, self.getValidationSplit())))
        if extended:
            print("", plans.layer_table(cost.model_cost(prepared.model)), sep="\n")
        if session.is_connect(dataset.sparkSession):
            print("", "A fit needs a classic session. This one is of Spark Connect.", sep="\n")

    def trainingPlan(self, dataset: DataFrame) -> plans.Plan:
        """The plan that `explainPlan` prints, as an object."""
        prepared = prepare(dataset, self)
        return self._plan(prepared, _estimated_rows(dataset, prepared.task, self.getValidationSplit()))

    def _plan(
        self,
        prepared: Prepared,
        rows: plans.Rows | None,
        workers: Workers | None = None,
        kept_kernel: str | None = None,
    ) -> plans.Plan:
        """The plan of a fit; of one that has begun if there are workers; `kept_kernel` is that of its checkpoint."""
        task = prepared.task
        epochs = max(self.getEpochs() - self.getInitialEpoch(), 0)
        minibatches = None if rows is None else epochs * -(-rows.largest // task.batch_size)
        kept = kept_kernel and base.Choice(kept_kernel, "the checkpoint")
        chosen = kept or self._kernel(prepared, minibatches, workers)
        row_bytes, features = task.columns.row_bytes, task.frozen_features
        if features is not None:
            row_bytes += features.columns.row_bytes  # both are kept
        limit = max_memory(task)
        memory = "a quarter of a worker's memory, where executors are as this machine"
        decisions = {
            "numWorkers": prepared.workers,
            "threads": self._decided("cpusPerWorker", task.settings.threads, "spark.task.cpus"),
            "mode": self._decided("mode", self.getMode(), "the default"),
            "averagingFrequency": self._decided("averagingFrequency", self.getAveragingFrequency(), "the default"),
            "averaging": prepared.averaging,
            "combine": self._decided("combine", self.getCombine(), "the default"),
            "overlap": self._decided("overlap", self.getOverlap(), "the default"),
            "compression": self._decided("compression", param_or_none(self, "compression") or "none", "the default"),
            "batchSize": prepared.batch,
            "learningRateFactor": self._decided("learningRateScaling", task.rate_scaling.factor, "the default"),
            "kernel": plans.Decision(*chosen),
            "shardStorage": plans.storage(
                rows, row_bytes, limit, "Param maxShardMemory" if task.max_shard_memory else memory
            ),
        }
        if features is not None:
            place = decisions["shardStorage"]
            told = f"{place.reason}; {size(features.columns.row_bytes)} of a row with features of frozen layers"
            decisions["shardStorage"] = place._replace(reason=told)
        costs = cost.model_cost(prepared.trained)._replace(parameters=cost.model_cost(prepared.model).parameters)
        return plans.make(decisions, costs, row_bytes, rows, self._round_bytes(prepared.model, costs.state_bytes))

    def _round_bytes(self, model: keras.Model, state_bytes: int) -> int:
        """Bytes that travel to a worker and back in a round."""
        compression = param_or_none(self, "compression")
        if compression is None:
            return 2 * state_bytes
        layout = states.layout_of(model)
        trained = trained_size(layout, len(model.trainable_weights))
        return 2 * Changes(compression, layout, trained).usual_bytes

    def _decided(self, param: str, value: Any, rule: str) -> plans.Decision:
        by_param = self.isSet(param) and param_or_none(self, param) is not None
        return plans.Decision(value, f"Param {param}" if by_param else rule)

    def _kernel(self, prepared: Prepared, minibatches: int | None, workers: Workers | None) -> base.Choice:
        model, trained = prepared.model, prepared.trained
        measured = self.getJitCompile() == "measure"
        choice = choose.choose(
            trained, minibatches, prepared.task.batch_size, "auto" if measured else self.getJitCompile()
        )
        if not measured:
            return choice
        if workers is None:
            return choice._replace(reason=f"expected, because {choice.reason}; Param jitCompile has it measured")
        layout = states.layout_of(model)
        state = states.read(model, layout)
        workers.freeze(states.frozen_weights(model, layout))
        # One worker measures while the others wait; which one is a matter of the rows.
        largest = max(range(len(workers.shards)), key=lambda shard: workers.shards[shard].rows)
        frequency = minibatches_of_round(self.getAveragingFrequency())
        measure = Measure(tuple(kernels.candidates(trained)), frequency or WHOLE_EPOCH)
        (answer,) = workers.ask([Question(largest, measure, state)])
        seconds = answer.kernels or {}
        told = ", ".join(f"{name} {1e3 * each:.3g} ms" for name, each in seconds.items())
        logger.info("%s: a stack of minibatches takes %s", self.uid, told)
        return base.Choice(min(seconds, key=lambda name: seconds[name]), f"measured for Param jitCompile: {told}")


def _estimated_rows(dataset: DataFrame, task: WorkerTask, validation_split: float) -> plans.Rows | None:
    rows, size = statistics.row_statistics(dataset)
    # Nobody has looked yet which rows will be held out or skipped.
    exact = rows is not None and not task.columns.validation and not task.columns.skip_invalid
    if rows is None and size is not None:
        rows = size // max(1, task.columns.kept_bytes)
    return None if rows is None else plans.estimated_rows(rows, exact, task.workers, validation_split)


def counted_rows(shards: Sequence[ShardInfo]) -> plans.Rows:
    training = [shard.rows for shard in shards]
    held = max(shard.rows + shard.validation_rows for shard in shards)
    return plans.Rows(sum(training), max(training), held, exact=True)
