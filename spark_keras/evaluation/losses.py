"""The loss of single rows, and of all rows of a DataFrame together."""

from __future__ import annotations

import functools
from typing import Any

import keras
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_keras.cluster import session
from spark_keras.cluster.arrow_udf import arrow_column
from spark_keras.columns import expressions as columns
from spark_keras.columns import names
from spark_keras.evaluation.metrics import evaluate, labelled_task
from spark_keras.evaluation.rows import losses_of_rows
from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states
from spark_keras.keras_model.row_losses import activity_regularized


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
    session.session_of(dataset)
    names.check_new(dataset, [("lossCol", column)])
    archive, objects = stage._archive(), stage.getCustomObjects()
    model = archive.load(objects)
    task, _ = labelled_task(dataset, stage, model, archive, objects, classifier)
    first_step.build_symbolically(model, task.columns.sample())
    _check(model)
    penalty = penalty_of(model) if regularization else 0.0
    expressions = [columns.expression(dataset, tensor) for tensor in task.columns.tensors.values()]
    invalid = stage.getHandleInvalid()
    losses = functools.partial(losses_of_rows, task, penalty, invalid)
    scored = dataset.withColumn(column, arrow_column(losses, "double", dataset, expressions))
    return scored.where(columns.reference(column).isNotNull()) if invalid == "skip" else scored


def penalty_of(model: keras.Model) -> float:
    """Sum that the regularizers of the weights add to the loss."""
    return float(sum(float(states.to_numpy(loss)) for loss in model.losses))


def _check(model: keras.Model) -> None:
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
