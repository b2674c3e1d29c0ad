"""The states that workers begin with: the driver's, and what each worker has for itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.training.rules.mean import start_state
from spark_keras.training.workers.base import Answer


class Starts:
    """Makes the states that workers begin with.

    What a worker has for itself is kept here, not on the worker, so that a replacement finds it.

    Args:
        layout: of the states.
        optimizer_state: "average", "local" or "reset".
    """

    def __init__(self, layout: Layout, optimizer_state: str):
        self._layout, self._optimizer_state = layout, optimizer_state
        self._initial_state: State | None = None
        self._local_states: dict[int, State] = {}
        self._keeps_local_states = optimizer_state == "local" or bool(layout.local)

    def begin(self, state: State) -> None:
        """Before training, with the state of the driver's model."""
        # A state is as large as the model: kept only where rounds go back to it.
        self._initial_state = state if self._optimizer_state == "reset" else None

    def of(self, shared: State, shard: int) -> State:
        """The state with which a worker begins, where the driver's is `shared`."""
        own = self._local_states.get(shard)
        return start_state(shared, own, self._initial_state, self._layout, self._optimizer_state)

    def kept(self, answer: Answer) -> Answer:
        """The same answer, after what the worker has for itself was taken from it."""
        if not self._keeps_local_states or answer.state is None:
            return answer
        state = State(np.array(answer.state.values[:]), np.array(answer.state.integers))
        self._local_states[answer.shard] = state
        return answer._replace(state=state)

    def save(self) -> dict[str, np.ndarray]:
        """Gives what the workers have for themselves, for checkpoints."""
        arrays: dict[str, np.ndarray] = {}
        for shard, state in self._local_states.items():
            arrays |= {f"values {shard}": state.values, f"integers {shard}": state.integers}
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes up what `save` gave."""
        shards = [int(name.removeprefix("values ")) for name in arrays if name.startswith("values ")]
        self._local_states = {each: State(arrays[f"values {each}"], arrays[f"integers {each}"]) for each in shards}
