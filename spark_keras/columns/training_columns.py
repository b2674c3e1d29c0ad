"""Everything that a fit or an evaluation loads of a DataFrame, checked against the model before a job starts."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
from pyspark.sql import DataFrame

from spark_keras.columns import binding, expressions, labels
from spark_keras.columns.label_rules import settle_label
from spark_keras.columns.row_spec import ShardColumns
from spark_keras.keras_model import signature
from spark_keras.keras_model.signature import Tensor
from spark_keras.params.values import param_or_none


def training_columns(
    dataset: DataFrame, stage: Any, model: keras.Model, classifier: bool, seeding: Any = None
) -> tuple[ShardColumns, tuple[Tensor, ...]]:
    """Everything a worker loads, checked against the model; and the model's outputs. Builds the model's weights.

    Args:
        seeding: a context to build them in.
    """
    features = binding.require_model_inputs(dataset, stage, model)
    named = labels.label_columns(dataset, stage, model)
    weights = labels.weight_columns(dataset, stage, model)
    validation = _validates(dataset, stage)
    # A row may cost as much as all of them. None is looked at for flat arrays, which take the model's shape; workers
    # refuse those of another length.
    look_up = [free or t.depth > 1 for free, t in zip(binding.leaves_open(model, len(features)), features)]
    all_others = [*named.columns.values(), *weights.columns.values()]
    found = binding.found_shapes(dataset, [*features, *all_others], [*look_up, *[True] * len(all_others)])
    features = binding.settle_inputs(model, features, found[: len(features)])
    others = iter(found[len(features) :])
    label_shapes, weight_shapes = (dict(zip(each.columns, others)) for each in (named, weights))
    with seeding or contextlib.nullcontext():
        outputs, structure, form = binding.called(stage, model, features)
    settled = tuple(
        None
        if key is None
        else settle_label(
            named.columns[key], label_shapes[key], output, signature.loss_of(model, index, output.name), classifier
        )
        for index, (output, key) in enumerate(zip(outputs, labels.labels_by_output(stage, named, model, outputs)))
    )
    by_class = labels.class_weights(stage, settled)
    weight = labels.settle_weights(weights, weight_shapes, settled, model, outputs, by_class is not None)
    spec = ShardColumns(
        features=features,
        labels=settled if any(settled) else (),
        weight=weight.weight,
        feature_structure=form,
        label_structure=structure,
        validation=validation,
        skip_invalid=stage.getOrDefault("handleInvalid") != "error",
        weights=weight.weights,
        weight_axes=weight.axes,
        class_weights=by_class,
    )
    return spec, outputs


def _validates(dataset: DataFrame, stage: Any) -> bool:
    """Tells whether rows are held out for validation; checks the Params that say which."""
    indicator = param_or_none(stage, "validationIndicatorCol")
    if indicator:
        data_type = expressions.column_type(dataset, "validationIndicatorCol", indicator)
        if data_type.simpleString() != "boolean":
            raise ValueError(
                f"Column {indicator!r} in Param `validationIndicatorCol` is not boolean. "
                f"Received type: {data_type.simpleString()}. Expected: true for rows to validate on."
            )
    split = stage.getOrDefault("validationSplit") if stage.hasParam("validationSplit") else 0.0
    if indicator and split:
        raise ValueError(
            "Params `validationIndicatorCol` and `validationSplit` exclude each other. "
            f"Received: {indicator!r} and {split}. Expected: one of them."
        )
    return bool(indicator or split)
