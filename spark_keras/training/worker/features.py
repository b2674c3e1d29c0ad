"""The features of a worker's rows, computed by the frozen layers of a model once and kept instead of the rows.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from spark_keras.columns.row_spec import Arrays, stored_zeros
from spark_keras.training.worker import shard as shards
from spark_keras.training.worker import shard_file
from spark_keras.training.worker.closure import FrozenFeatures, WorkerTask, max_memory
from spark_keras.training.worker.shard import MemoryRows, Rows, Shard
from spark_keras.training.worker.stacks import gather

# Of the rows that are computed at once. How many these are follows from their size alone, so that a row's features have
# the same bits wherever it is computed.
PIECE_BYTES, PIECE_ROWS = 16 * 2**20, 256


Forward = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class FrozenLayers:
    """The frozen layers at the beginning of a model.

    Args:
        frozen: what they are.
        custom_objects: for building them.
        safe_mode: of Keras, likewise.
    """

    def __init__(self, frozen: FrozenFeatures, custom_objects: dict[str, Any], safe_mode: bool):
        from spark_keras.keras_model import architecture

        self._frozen = frozen
        self._model = architecture.rebuilt(frozen.architecture, custom_objects, safe_mode)

    def freeze(self, values: np.ndarray) -> np.ndarray:
        """Takes over their weights; those of the model that is trained, which are frozen, too.

        Args:
            values: the frozen weights of all.
        """
        import keras

        from spark_keras.keras_model import state as states

        for weight, (start, stop) in zip(self._model.weights, self._frozen.weights, strict=True):
            dtype = keras.backend.standardize_dtype(weight.dtype)
            states.assign(weight, values[start:stop].reshape(weight.shape), dtype)
        states.weights_have_changed(self._model)
        return np.concatenate([values[:0], *(values[start:stop] for start, stop in self._frozen.further)])

    def forward(self, rows: int) -> Forward:
        """Their function of arrays of so many rows, with the weights that they have now."""
        import keras

        from spark_keras.backend import arrays, forward
        from spark_keras.keras_model import state as states

        to_tensor, compute = arrays.to_tensor(), forward.compiled(self._model, rows)

        def of_arrays(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            tensors = [to_tensor(each) for each in inputs]
            outputs = compute(tensors if len(tensors) > 1 else tensors[0])
            return [states.to_numpy(each) for each in keras.tree.flatten(outputs)]

        return of_arrays


class Features:
    """A shard's rows as they are trained, with features in place of what these are computed from.

    Args:
        task: what all workers of the fit share.
        frozen: how its rows are turned into features.
        loaded: the rows, which stay: weights may come that are frozen, too, and others.

    Attributes:
        digest: of the frozen weights that they were computed with; None before.
    """

    def __init__(self, task: WorkerTask, frozen: FrozenFeatures, loaded: Shard):
        self._task, self._frozen, self._loaded = task, frozen, loaded
        self._computed: Shard | None = None
        self.digest: str | None = None

    def compute(self, digest: str | None, layers: FrozenLayers, beat: Callable[[], None]) -> Shard:
        """The shard with features.

        Args:
            digest: of the frozen weights.
            layers: with these.
            beat: called now and then.
        """
        self.close()
        forward = layers.forward(self._piece)
        loaded, row_bytes = self._loaded, self._frozen.columns.row_bytes
        limit = max_memory(self._task)
        in_file = (loaded.training.count + loaded.validation.count) * row_bytes > limit
        training, validation = (
            self._rows(rows, forward, in_file, beat) for rows in (loaded.training, loaded.validation)
        )
        self._computed = loaded._replace(training=training, validation=validation)
        self.digest = digest
        return self._computed

    def close(self) -> None:
        if self._computed is not None:
            self._computed.close()
            self._computed = None

    @property
    def _piece(self) -> int:
        """Rows that are computed at once."""
        each = self._task.columns.row_bytes + self._frozen.columns.row_bytes
        return max(1, min(PIECE_ROWS, PIECE_BYTES // max(1, each)))

    def _rows(
        self,
        rows: Rows,
        forward: Forward,
        in_file: bool,
        beat: Callable[[], None],
    ) -> Rows:
        columns = self._frozen.columns
        like = {name: stored_zeros(tensor, 0) for name, tensor in columns.tensors.items()}
        pieces = self._pieces(rows, forward, beat)
        if in_file:
            return shard_file.write(pieces, like, columns.row_bytes)
        whole = {name: np.empty((rows.count, *none.shape[1:]), none.dtype) for name, none in like.items()}
        stop = 0
        for piece in pieces:
            start, stop = stop, stop + len(piece["x0"])
            for name, array in piece.items():
                whole[name][start:stop] = array
        return MemoryRows(whole, columns.row_bytes)

    def _pieces(self, rows: Rows, forward: Forward, beat: Callable[[], None]) -> Iterator[Arrays]:
        order, size = shards.epoch_order(rows, 0, 0, 0, shuffle=False), self._piece
        tensors = self._frozen.columns.tensors
        for start in range(0, rows.count, size):
            taken = min(size, rows.count - start)
            # Of one size, filled up with zeros: one program.
            arrays = {name: each[0] for name, each in gather(rows, order, start, taken, (1, size)).items()}
            inputs = [arrays[f"x{index}"] for index in self._frozen.inputs]
            made = [*forward(inputs), *(arrays[f"x{index}"] for index in self._frozen.passing)]
            beside = {name: each for name, each in arrays.items() if not name.startswith("x")}
            piece = {f"x{index}": each for index, each in enumerate(made)} | beside
            yield {name: each[:taken].astype(tensors[name].dtype, copy=False) for name, each in piece.items()}
            beat()
