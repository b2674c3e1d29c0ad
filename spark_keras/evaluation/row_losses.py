"""The loss of each row, on the executors.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from spark_keras.columns import arrow, row_spec
from spark_keras.evaluation.rows import LabelledTask, model_of


def of_batches(task: LabelledTask, penalty: float, invalid: str, batches: Iterator[Any]) -> Iterator[pa.Array]:
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
