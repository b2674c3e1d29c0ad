"""A model's loss and metrics over all rows of a DataFrame, as one process would compute them, and the loss of each."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import keras
import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_keras.cluster import interpreter, jobs, slots
from spark_keras.cluster.arrow_udf import arrow_column
from spark_keras.columns import binding, mismatch, names, summable
from spark_keras.columns import expressions as columns
from spark_keras.columns.training_columns import training_columns
from spark_keras.evaluation.rows import LabelledTask, evaluate_partition, losses_of_rows
from spark_keras.executor.process import ProcessSettings
from spark_keras.keras_model import configurations, first_step, held
from spark_keras.keras_model import metrics as metric_states
from spark_keras.keras_model import state as states
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.row_losses import activity_regularized

_RESULT_SCHEMA = "rows long, states array<double>"


def evaluate(dataset: DataFrame, stage: Any, classifier: bool, metrics: Any = None) -> dict[str, Any]:
    """Loss, compiled metrics and the others asked for, in one pass over the DataFrame's partitions.

    Every partition gives the states of its metrics (such as a sum and a count), which are added up: a mean of results
    would weigh small partitions as much as large ones, and has no meaning for an AUC.

    Args:
        stage: a fitted model, whose Params name the columns.
        classifier: whether labels are class indices whatever the loss.
        metrics: as for `keras.Model.compile`, beside the compiled ones.
    """
    objects = {**stage.getCustomObjects(), **_own_code(metrics)}
    archive = with_metrics(stage._archive(), objects, metrics) if metrics else stage._archive()
    model = archive.load(objects)
    task, outputs = labelled_task(dataset, stage, model, archive, objects, classifier)
    with mismatch.metrics_explained(model, task.columns, outputs):
        first_step.build_symbolically(model, task.columns.sample())
    rows = binding.selected(dataset, task.columns)
    apart = summable.not_summable(model, task.columns, outputs)
    if apart:
        warnings.warn(
            f"The states of the metrics {sorted(apart)} are not known to add up over partitions, so all rows are "
            "evaluated in one task.",
            RuntimeWarning,
            stacklevel=3,
        )
        rows = rows.repartition(1)
    with jobs.described(dataset.sparkSession, f"{type(stage).__name__} evaluate"):
        found = rows.mapInArrow(functools.partial(evaluate_partition, task), _RESULT_SCHEMA).collect()
    if not sum(row.rows for row in found):
        raise ValueError("The DataFrame has no rows to evaluate. Expected: at least one.")
    return metric_states.metric_results(model, np.sum([row.states for row in found if row.rows], axis=0))


def labelled_task(
    dataset: DataFrame, stage: Any, model: keras.Model, archive: KerasArchive, objects: dict[str, Any], classifier: bool
) -> tuple[LabelledTask, Any]:
    """Task of executors to evaluate a model on a DataFrame, checked; and the model's outputs."""
    spark = dataset.sparkSession
    if not model.compiled:
        raise ValueError(
            f"The model {model.name!r} is not compiled, so it has no loss and no metrics. "
            "Expected: a model after model.compile(optimizer=…, loss=…)."
        )
    held.begin_anew(model)
    spec, outputs = training_columns(dataset, stage, model, classifier)
    interpreter.check(spark)
    task = LabelledTask(
        settings=ProcessSettings.of_driver(slots.task_cpus(spark), objects),
        archive=stage._travelling(spark, archive),
        digest=archive.digest,
        safe_mode=not archive.trusted,
        code=archive.code if archive.trusted else None,
        columns=spec._replace(validation=False),
        batch_size=stage.getBatchSize(),
    )
    return task, outputs


def with_metrics(archive: KerasArchive, objects: dict[str, Any], metrics: Any) -> KerasArchive:
    """The model, compiled with more metrics than it was."""
    model = archive.load(objects)
    with keras.saving.custom_object_scope(objects), configurations.complete(model):
        config = keras.saving.deserialize_keras_object(model.get_compile_config())
    names = list(getattr(model, "output_names", None) or [])
    compiled = config.get("metrics") or []
    if len(names) < 2:
        together: Any = [*keras.tree.flatten(compiled), *keras.tree.flatten(metrics)]
    elif isinstance(metrics, dict) and set(metrics) <= set(names):
        compiled = compiled if isinstance(compiled, dict) else dict(zip(names, compiled))
        parts = {name: (compiled.get(name), metrics.get(name)) for name in names}
        together = {
            name: [each for each in keras.tree.flatten(part) if each is not None] for name, part in parts.items()
        }
    else:
        raise ValueError(
            f"Invalid value for `metrics`. Received: {metrics!r}. Expected: a dict by output, such as "
            f"{ {name: ['mse'] for name in names} }, because the model has several outputs."
        )
    model.compile(**{**config, "optimizer": model.optimizer, "metrics": together})
    return KerasArchive.of(model)


def _own_code(metrics: Any) -> dict[str, Any]:
    """Metrics that executors cannot import with Keras."""
    own = {}
    for metric in keras.tree.flatten(metrics):
        code = type(metric) if isinstance(metric, keras.metrics.Metric) else metric
        if callable(code) and not code.__module__.startswith("keras."):
            own[code.__name__] = code
    return own


# --- the loss of each row ---


def score(dataset: DataFrame, stage: Any, classifier: bool, regularization: bool) -> float:
    """The mean loss over all rows, as compiled; or without what regularizers add to it."""
    if regularization:
        return evaluate(dataset, stage, classifier)["loss"]
    name = f"_{stage.uid}_loss"
    scored = score_examples(dataset, stage, classifier, name, regularization=False)
    ((mean,),) = scored.agg(F.avg(columns.reference(name))).collect()
    if mean is None:
        raise ValueError("The DataFrame has no rows to score. Expected: at least one.")
    return mean


def score_examples(dataset: DataFrame, stage: Any, classifier: bool, column: str, regularization: bool) -> DataFrame:
    """The DataFrame with a column of each row's loss."""
    names.check_new(dataset, [("lossCol", column)])
    archive, objects = stage._archive(), stage.getCustomObjects()
    model = archive.load(objects)
    task, _ = labelled_task(dataset, stage, model, archive, objects, classifier)
    first_step.build_symbolically(model, task.columns.sample())
    _check_losses(model)
    penalty = penalty_of(model) if regularization else 0.0
    expressions = [columns.expression(dataset, tensor) for tensor in task.columns.tensors.values()]
    invalid = stage.getHandleInvalid()
    losses = functools.partial(losses_of_rows, task, penalty, invalid)
    scored = dataset.withColumn(column, arrow_column(losses, "double", dataset, expressions))
    return scored.where(columns.reference(column).isNotNull()) if invalid == "skip" else scored


def penalty_of(model: keras.Model) -> float:
    """Sum that the regularizers of the weights add to the loss."""
    return float(sum(float(states.to_numpy(loss)) for loss in model.losses))


def _check_losses(model: keras.Model) -> None:
    if type(model).compute_loss is not keras.Model.compute_loss or type(model).test_step is not keras.Model.test_step:
        raise ValueError(
            f"{type(model).__name__} has a compute_loss or test_step of its own, which need not be a mean over rows. "
            "Expected: a model whose loss was given to compile()."
        )
    active = activity_regularized(model)
    if active:
        raise ValueError(
            f"Layers {active} have an activity regularizer, whose term depends on all rows of a batch. "
            "Expected: regularizers of weights only; evaluate(df) gives the loss with all its terms."
        )
