"""Labelled rows through a compiled model, partition by partition: what evaluation and scoring share.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from spark_keras import executor
from spark_keras.training import shard as shards


class LabelledTask(NamedTuple):
    """What the closure carries to the executors.

    Args:
        settings: of the Python process.
        archive: the bytes of the compiled model's `.keras` archive, or a Spark broadcast of them.
        digest: of the archive; models are cached by it.
        safe_mode: Keras' safe mode for loading it.
        code: the model's own code, as in `KerasArchive`.
        columns: features, labels and weight.
        batch_size: rows in one forward pass.
    """

    settings: executor.ProcessSettings
    archive: Any
    digest: str
    safe_mode: bool
    code: bytes | None
    columns: shards.ShardColumns
    batch_size: int


_models_of_process = executor.RecentlyUsed(4)


def model_of(task: LabelledTask) -> Any:
    """The compiled model, with every variable that it will have; one for each process."""
    executor.prepare(task.settings)
    shapes = tuple((name, t.tensor_shape, t.dtype) for name, t in task.columns.tensors.items())
    return _models_of_process.get((task.digest, task.safe_mode, task.settings, shapes), lambda: _load(task))


def _load(task: LabelledTask) -> Any:
    custom_objects = executor.enter_keras(task.settings)
    import keras

    from spark_keras.archive import KerasArchive
    from spark_keras.training import state

    data = task.archive if isinstance(task.archive, bytes) else task.archive.value
    model = KerasArchive(data, trusted=not task.safe_mode, code=task.code).load(custom_objects)
    if keras.backend.backend() == "tensorflow":
        # XLA would compile for seconds, and again for a partition's last, short batch.
        model.jit_compile = False
    state.build(model, task.columns.sample())
    return model


def evaluate_partition(task: LabelledTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row: how many rows the partition has, and the states of its metrics as one array."""
    model = model_of(task)  # before Keras is imported here, which it prepares
    import keras

    from spark_keras.training import state

    # "rows" and, by column, the rows that were left out.
    counts: dict[str, int] = {"rows": 0}
    model.reset_metrics()
    # Keras begins each evaluation with metrics at zero; these go on from batch to batch.
    vars(model)["reset_metrics"] = lambda: None
    try:
        for batch in batches:
            _, arrays = shards.tensors_of(batch, task.columns, counts)
            rows = len(next(iter(arrays.values())))
            if rows:
                # Keras' own loop, so that whatever the model overrides is called. Fed by a generator, it would count
                # the losses of several outputs once too often.
                x, y, weight = keras.utils.unpack_x_y_sample_weight(task.columns.pack(arrays))
                model.evaluate(x, y, sample_weight=weight, batch_size=task.batch_size, verbose=0)
                counts["rows"] += rows
    finally:
        del vars(model)["reset_metrics"]
    result = state.read_metrics(model).tolist() if counts["rows"] else []
    yield pa.RecordBatch.from_pydict(
        {"rows": pa.array([counts["rows"]], pa.int64()), "states": pa.array([result], pa.list_(pa.float64()))}
    )
