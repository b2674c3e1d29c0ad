"""States that a worker holds where changes of them travel, compressed.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spark_keras.executor.process import ProcessSettings
from spark_keras.training.requests import Apply
from spark_keras.training.worker.closure import AmongWorkers, Compressing
from spark_keras.training.worker.held_states import HeldStates
from spark_keras.training.worker.replica import Replica

if TYPE_CHECKING:
    from spark_keras.keras_model.state import State


class CompressedStates(HeldStates):
    """A version has the state of all workers, and of this one its own and what its last message has left over.

    Args:
        shard: the worker's.
        replica: of the model.
    """

    def __init__(self, shard: int, replica: Replica, rule: Compressing, settings: ProcessSettings):
        super().__init__(shard, replica, AmongWorkers(rule.optimizer_state), settings)
        from spark_keras.training.rules.change import Changes, trained_size

        self._trained_size = trained_size(self._layout, len(replica.model.trainable_weights))
        self._changes = Changes(rule.coding, self._layout, self._trained_size)
        self._left: np.ndarray = np.empty(0)

    def keep(self, trained: State) -> State | None:
        """Keeps what the round has made of the state; the message that tells its change."""
        (parts,) = self._versions.values()
        size = self._trained_size
        change = trained.values[:size] - parts["shared"].values[:size]
        if "left" in parts:
            change += parts["left"].values
        message, self._left = self._changes.encode(change, self._changes.beside_of(trained))
        self._trained = trained
        return message

    def apply(self, request: Apply, message: State) -> bool:
        """Holds the next version; False: what it needs is not held."""
        from spark_keras.keras_model.state import State

        parts = self._versions.get(request.version)
        counts = request.weights[self._shard] > 0
        if parts is None or (counts and self._trained is None):
            return False
        parts = parts | {"shared": self._changes.changed(parts["shared"], message)}
        if counts and self._trained is not None:
            parts |= {"own": self._trained, "left": State(self._left, np.empty(0, "int64"))}
        self._versions = {request.version + 1: parts}
        return True
