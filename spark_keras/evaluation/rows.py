"""Labelled rows through a compiled model, partition by partition: what evaluation and scoring share.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

import itertools
import warnings
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
        columns: features, labels and weight.
        batch_size: rows in one forward pass.
    """

    settings: executor.ProcessSettings
    archive: Any
    digest: str
    safe_mode: bool
    columns: shards.ShardColumns
    batch_size: int


_models_of_process = executor.RecentlyUsed(4)


def model_of(task: LabelledTask) -> Any:
    """The compiled model, with every variable that it will have; one for each process."""
    executor.prepare(task.settings)
    shapes = tuple((name, t.tensor_shape, t.dtype) for name, t in task.columns.tensors.items())
    return _models_of_process.get((task.digest, task.safe_mode, task.settings, shapes), lambda: _load(task))


def _load(task: LabelledTask) -> Any:
    import keras

    from spark_keras.archive import KerasArchive
    from spark_keras.training import state

    custom_objects = executor.enter_keras(task.settings)
    data = task.archive if isinstance(task.archive, bytes) else task.archive.value
    model = KerasArchive(data, trusted=not task.safe_mode).load(custom_objects)
    if keras.backend.backend() == "tensorflow":
        # XLA would compile for seconds, and again for a partition's last, short batch.
        model.jit_compile = False
    state.build(model, task.columns.sample())
    return model


def minibatches(task: LabelledTask, batches: Iterator[pa.RecordBatch], counts: dict[str, int]) -> Iterator[Any]:
    """(x, y) or (x, y, sample_weight) of at most `batch_size` rows, as `Model.evaluate` takes them.

    Args:
        counts: "rows" and, by column, the rows that were left out are added up here.
    """
    for batch in batches:
        _, arrays = shards.tensors_of(batch, task.columns, counts)
        rows = len(next(iter(arrays.values())))
        counts["rows"] = counts.get("rows", 0) + rows
        for start in range(0, rows, task.batch_size):
            yield task.columns.pack({name: a[start : start + task.batch_size] for name, a in arrays.items()})


def evaluate_partition(task: LabelledTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row: how many rows the partition has, and the states of its metrics as one array."""
    from spark_keras.training import state

    counts: dict[str, int] = {"rows": 0}
    model = model_of(task)
    rows = minibatches(task, batches, counts)
    first = next(rows, None)
    result: list[float] = []
    if first is not None:
        # Keras' own loop, so that whatever the model overrides is called; it knows generators, not iterators.
        with warnings.catch_warnings():
            # Keras warns of each generator that ends.
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
            model.evaluate((each for each in itertools.chain([first], rows)), verbose=0)
        result = state.read_metrics(model).tolist()
    yield pa.RecordBatch.from_pydict(
        {"rows": pa.array([counts["rows"]], pa.int64()), "states": pa.array([result], pa.list_(pa.float64()))}
    )
