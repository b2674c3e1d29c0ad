"""Evaluation of a model over a DataFrame, by the same workers that evaluate between epochs."""

from __future__ import annotations

from typing import Any

import keras

from spark_keras import cluster, tensors
from spark_keras.executor import ProcessSettings
from spark_keras.training import kernel, wire
from spark_keras.training import state as states
from spark_keras.training.loop import total_metrics
from spark_keras.training.worker import WorkerTask
from spark_keras.training.workers import ResidentWorkers


def evaluate(dataset: Any, stage: Any, model: keras.Model, classifier: bool) -> dict[str, float]:
    """Loss and compiled metrics over all rows; metric states are summed over the workers.

    Args:
        stage: whose Params name the columns.
        model: compiled.
    """
    spark = cluster.session_of(dataset)
    spec, _ = tensors.training_columns(dataset, stage, model, classifier)
    spec = spec._replace(validation=True)
    states.build(model, spec.sample())
    count = cluster.slots(spark)
    task = WorkerTask(
        endpoint=wire.Endpoint(""),
        settings=ProcessSettings.of_driver(cluster.task_cpus(spark), stage.getCustomObjects()),
        architecture=states.architecture(model, spec.names_in_structures),
        safe_mode=not stage.getOrDefault("model").trusted,
        columns=spec,
        batch_size=stage.getBatchSize(),
        shuffle=False,
        seed=0,
        workers=count,
    )
    prepared = tensors.shard_dataset(dataset, stage, spec, count, hold_out_all=True)
    description = f"{type(stage).__name__} evaluate: {count} workers"
    with cluster.admit(spark, count), ResidentWorkers(prepared, task, count, 1, description) as workers:
        rows = sum(info.validation_rows for info in workers.infos)
        if rows == 0:
            raise ValueError("The DataFrame has no rows to evaluate.")
        workers.kernel = kernel.choose(model, -(-rows // task.batch_size), task.batch_size).kernel
        state = states.read(model, states.layout_of(model))
        return states.metric_results(model, total_metrics(workers.evaluate(state)))
