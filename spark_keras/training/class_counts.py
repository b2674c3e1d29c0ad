"""Number of rows to train on of each class, counted by Spark."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from spark_keras.cluster import jobs
from spark_keras.columns import binding, row_spec
from spark_keras.columns.class_weights import ClassWeights, class_indices
from spark_keras.columns.row_spec import ShardColumns
from spark_keras.params.values import param_or_none
from spark_keras.training.prepared import Prepared

_SCHEMA = "class long, labels long"


def counted(dataset: DataFrame, stage: Any, prepared: Prepared) -> Prepared:
    """With the weights of the classes, where they are to be balanced: of the labels of the rows that are trained,
    without those that their loss ignores.
    """
    task = prepared.task
    if param_or_none(stage, "classWeight") != "balanced":
        return prepared
    columns = task.columns._replace(class_weights=_balanced(dataset, stage, task.columns))
    return prepared._replace(task=task._replace(columns=columns))


def _balanced(dataset: DataFrame, stage: Any, spec: ShardColumns) -> ClassWeights:
    rows = binding.loaded_rows(dataset, stage, spec)
    with jobs.described(dataset.sparkSession, f"{type(stage).__name__} classes"):
        found = rows.mapInArrow(functools.partial(_count, spec), _SCHEMA).collect()
    counts: dict[int, int] = {}
    for row in found:
        counts[row["class"]] = counts.get(row["class"], 0) + row["labels"]
    return ClassWeights.balanced(counts)


def _count(spec: ShardColumns, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    name, label = next((f"y{index}", label) for index, label in enumerate(spec.labels) if label is not None)
    for batch in batches:
        if spec.validation:
            # Null is refused when the rows are loaded.
            batch = batch.filter(pa.compute.invert(pa.compute.fill_null(batch.column("v"), True)))
        _, arrays = row_spec.tensors_of(batch, spec, {})
        classes, counts = np.unique(class_indices(arrays[name], label, 1), return_counts=True)
        kept = classes != label.ignored if label.ignored is not None else slice(None)
        yield pa.RecordBatch.from_pydict({"class": classes[kept], "labels": counts[kept].astype("int64")})
