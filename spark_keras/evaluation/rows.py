"""Labelled rows through a compiled model on the executors: its metrics, partition by partition, and losses of rows.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras.columns import arrow, row_spec
from spark_keras.executor import process
from spark_keras.executor.cache import RecentlyUsed

if TYPE_CHECKING:
    import keras


class LabelledTask(NamedTuple):
    """The task that the closure carries to the executors.

    Args:
        settings: of the Python process.
        archive: the bytes of the compiled model's `.keras` archive, or what has them as its `value`.
        digest: of the archive; models are cached by it.
        safe_mode: Keras' safe mode for loading it.
        code: the model's own code, as in `KerasArchive`.
        columns: features, labels and weight.
        batch_size: rows in one forward pass.
    """

    settings: process.ProcessSettings
    archive: Any
    digest: str
    safe_mode: bool
    code: bytes | None
    columns: row_spec.ShardColumns
    batch_size: int


_models_of_process = RecentlyUsed(4)


def model_of(task: LabelledTask) -> Any:
    """The compiled model, with every variable that it will have; one for each process."""
    process.prepare(task.settings)
    shapes = tuple((name, t.tensor_shape, t.dtype) for name, t in task.columns.tensors.items())
    key = task.digest, task.safe_mode, task.settings, shapes, task.columns.weight_axes
    return _models_of_process.get(key, lambda: _load(task))


def _load(task: LabelledTask) -> Any:
    custom_objects = process.enter_keras(task.settings)
    import keras

    from spark_keras.keras_model import first_step, held
    from spark_keras.keras_model.archive import KerasArchive

    data = task.archive if isinstance(task.archive, bytes) else task.archive.value
    model = held.begin_anew(KerasArchive(data, trusted=not task.safe_mode, code=task.code).load(custom_objects))
    if keras.backend.backend() == "tensorflow":
        # XLA would compile for seconds, and again for a partition's last, short batch.
        model.jit_compile = False
    first_step.build_symbolically(model, task.columns.sample())
    return model


def _evaluate_batches(model: keras.Model, task: LabelledTask, arrays: dict[str, np.ndarray]) -> None:
    """As `Model.evaluate` does, which not every version of Keras can with an output that has no label."""
    for start in range(0, len(arrays["x0"]), task.batch_size):
        batch = {name: array[start : start + task.batch_size] for name, array in arrays.items()}
        model.test_on_batch(*task.columns.pack(batch))


# What the finished rows that are evaluated in one call may take: thousands of classes make them much larger than what
# has travelled.
PIECE_BYTES = 64 * 2**20


def in_pieces(task: LabelledTask, arrays: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The rows in pieces of whole batches, as few as there may be."""
    rows, batches = len(arrays["x0"]), PIECE_BYTES // (task.columns.row_bytes * task.batch_size)
    size = task.batch_size * max(1, batches)
    for start in range(0, rows, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def evaluate_partition(task: LabelledTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row: how many rows the partition has, and the states of its metrics as one array."""
    model = model_of(task)  # before Keras is imported here, which it prepares
    import keras

    from spark_keras.keras_model import metrics

    # "rows" and, by column, the rows that were left out.
    counts: dict[str, int] = {"rows": 0}
    model.reset_metrics()
    # Keras begins each evaluation with metrics at zero; these go on from batch to batch.
    vars(model)["reset_metrics"] = lambda: None
    try:
        for batch in batches:
            _, arrays = row_spec.tensors_of(batch, task.columns, counts)
            for part in in_pieces(task, arrays):
                # Keras' own loop, so that whatever the model overrides is called. Fed by a generator, it would count
                # the losses of several outputs once too often.
                if None in (*task.columns.labels, *task.columns.weights):
                    _evaluate_batches(model, task, part)
                else:
                    x, y, weight = keras.utils.unpack_x_y_sample_weight(task.columns.pack(part))
                    model.evaluate(x, y, sample_weight=weight, batch_size=task.batch_size, verbose=0)
                counts["rows"] += len(part["x0"])
    finally:
        del vars(model)["reset_metrics"]
    result = metrics.read_metrics(model).tolist() if counts["rows"] else []
    yield pa.RecordBatch.from_pydict(
        {"rows": pa.array([counts["rows"]], pa.int64()), "states": pa.array([result], pa.list_(pa.float64()))}
    )


def losses_of_rows(task: LabelledTask, penalty: float, invalid: str, batches: Iterator[Any]) -> Iterator[pa.Array]:
    """One loss for each row; null for a row with null or NaN, unless those are refused."""
    model = model_of(task)  # before Keras is imported here, which it prepares
    import keras

    from spark_keras.keras_model.row_losses import of_rows

    names = list(task.columns.tensors)
    for given in batches:
        # Spark hands a single column over without a tuple around it.
        arrays = list(given) if isinstance(given, (tuple, list)) else [given]
        usable = np.ones(len(arrays[0]), bool)
        if invalid != "error":
            for array in arrays:
                usable &= arrow.usable_rows(array)
        batch = pa.RecordBatch.from_arrays(arrays, names)
        _, tensors = row_spec.tensors_of(batch, task.columns, {})
        values = np.full(len(usable), np.nan)
        for start in range(0, int(np.count_nonzero(usable)), task.batch_size):
            where = np.flatnonzero(usable)[start : start + task.batch_size]
            chunk = {name: array[start : start + task.batch_size] for name, array in tensors.items()}
            values[where] = of_rows(model, *keras.utils.unpack_x_y_sample_weight(task.columns.pack(chunk))) + penalty
        yield pa.array(values, mask=~usable)
