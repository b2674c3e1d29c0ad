"""Arrow columns in, the model's outputs out; one compiled model per Python process.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_keras.columns import arrow
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor import process
from spark_keras.executor.cache import RecentlyUsed
from spark_keras.executor.invalid_data import InvalidData


class ForwardTask(NamedTuple):
    """Content of the closure that the executors get.

    Args:
        settings: of the Python process.
        archive: the `.keras` archive's bytes, or what has them as its `value`.
        digest: of the archive; models are cached by it.
        safe_mode: Keras' safe mode for loading it.
        code: the model's own code, as in `KerasArchive`.
        inputs: the model's inputs.
        form: in which the model takes them (`input_forms`).
        output_layer: name of an inner layer whose activations are wanted, or None for the model's own outputs.
        batch_size: rows in one forward pass.
        invalid: "error", "skip" or "keep".
        head: turns the model's outputs, each (rows, …), into the fields of the result. A single field is the result
            itself; several make a struct, which takes Spark about as long as everything else on the way.
    """

    settings: process.ProcessSettings
    archive: Any
    digest: str
    safe_mode: bool
    code: bytes | None
    inputs: tuple[TensorColumn, ...]
    form: Any
    output_layer: str | None
    batch_size: int
    invalid: str
    head: Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]


def predict(task: ForwardTask, batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
    """One result for each row; a row with null or NaN gives null unless `invalid` is "error"."""
    process.prepare(task.settings)
    key = task.digest, task.safe_mode, task.output_layer, task.batch_size, task.settings, repr(task.form)
    model = _models_of_process.get(key, lambda: CompiledModel(task))
    for given in batches:
        # Spark hands a single column over without a tuple around it.
        batch = given if isinstance(given, (tuple, list)) else (given,)
        usable = np.ones(len(batch[0]), bool)
        for array, tensor in zip(batch, task.inputs):
            usable &= arrow.usable_rows(array)
            if task.invalid == "error" and not usable.all():
                raise InvalidData(
                    f"Null or NaN in {tensor.label}. Received: {np.count_nonzero(~usable)} such rows in a batch of "
                    f'{len(usable)}. Expected: complete rows, or handleInvalid="skip" to leave such rows out, or '
                    '"keep" to give them null predictions.'
                )
        complete = bool(usable.all())
        arrays = batch if complete else [array.filter(pa.array(usable)) for array in batch]
        inputs = [arrow.to_numpy(array, tensor) for array, tensor in zip(arrays, task.inputs)]
        fields = {name: arrow.to_arrow(values, nullable=False) for name, values in task.head(model(inputs)).items()}
        if len(fields) == 1:
            (result,) = fields.values()
        else:
            result = pa.StructArray.from_arrays(list(fields.values()), list(fields))
        if not complete:
            # A null index takes a null.
            index = np.cumsum(usable) - 1
            result = pc.take(result, pa.array(index, mask=~usable))
        yield result


class CompiledModel:
    """A model and its compiled forward pass for batches of one fixed size, so that nothing is compiled twice."""

    def __init__(self, task: ForwardTask):
        custom_objects = process.enter_keras(task.settings)
        import keras

        from spark_keras.backend import forward
        from spark_keras.keras_model import held, signature
        from spark_keras.keras_model.archive import KerasArchive
        from spark_keras.keras_model.output_layer import with_output_layer

        data = task.archive if isinstance(task.archive, bytes) else task.archive.value
        model = KerasArchive(data, trusted=not task.safe_mode, code=task.code).load(custom_objects, compile=False)
        self._model = with_output_layer(held.begin_anew(model), task.output_layer)
        self._batch_size = task.batch_size
        self._pack = lambda inputs: signature.pack_inputs(task.form, inputs)
        compiled = forward.compiled(self._model, self._batch_size)
        self._outputs = lambda x: keras.tree.flatten(compiled(x))

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """All rows through the model, `batch_size` at a time. The last batch is filled up with zeros."""
        rows = len(inputs[0])
        parts = []
        for start in range(0, max(rows, 1), self._batch_size):
            chunk = [_padded(array[start : start + self._batch_size], self._batch_size) for array in inputs]
            outputs = [_full_precision(np.asarray(y)) for y in self._outputs(self._pack(chunk))]
            parts.append([output[: min(self._batch_size, rows - start)] for output in outputs])
        return [np.concatenate(output) for output in zip(*parts)]


def _full_precision(output: np.ndarray) -> np.ndarray:
    """Half precision as float32: Spark has none, and numpy knows bfloat16 as an extension only."""
    return output.astype("float32") if output.dtype.itemsize == 2 and output.dtype.kind in "fV" else output


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    if len(array) == rows:
        return array
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


_models_of_process = RecentlyUsed(4)
