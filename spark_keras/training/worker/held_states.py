"""States that a worker holds, as for averaging among the workers: it trains from them, and keeps what it has trained.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spark_keras.executor.process import ProcessSettings, enter_keras
from spark_keras.training.requests import Apply, Average, Fetch, Hold
from spark_keras.training.worker.closure import AmongWorkers
from spark_keras.training.worker.exchange import Exchange
from spark_keras.training.worker.replica import Replica

if TYPE_CHECKING:
    from spark_keras.keras_model.state import State


class HeldStates:
    """A version is held until the driver asks to train from the next one, so that its round can be repeated.

    Args:
        shard: the worker's.
        replica: of the model.
    """

    def __init__(self, shard: int, replica: Replica, rule: AmongWorkers, settings: ProcessSettings):
        self._shard, self._layout, self._rule = shard, replica.layout, rule
        self._versions: dict[int, dict[str, State]] = {}
        self._trained: State | None = None
        self._step = None if rule.outer is None else _outer_step(rule, replica, settings)

    def hold(self, request: Hold, state: State) -> None:
        from spark_keras.training.rules.parts import taken_apart

        self._versions, self._trained = {request.version: taken_apart(state, request.parts)}, None

    def begin(self, version: int) -> State | None:
        """Gives the state from which a round begins; None: it is not held."""
        from spark_keras.training.rules.mean import start_state

        parts = self._versions.get(version)
        if parts is None:
            return None
        # No other one is needed any more.
        self._versions, self._trained = {version: parts}, None
        own, initial = parts.get("own"), parts.get("initial")
        return start_state(parts["shared"], own, initial, self._layout, self._rule.optimizer_state)

    def shared(self, version: int) -> State | None:
        return self._versions.get(version, {}).get("shared")

    def keep(self, trained: State) -> State | None:
        """Keeps what the round has made of the state; what goes with the answer."""
        self._trained = trained
        return None

    def apply(self, request: Apply, message: State) -> bool:
        """Holds what a change makes of the version; False: what it needs is not held."""
        raise NotImplementedError

    def fetch(self, request: Fetch) -> tuple[bool, State | None]:
        """Tells whether the version is held, and gives what there is of it."""
        from spark_keras.training.rules.parts import put_together

        parts = self._versions.get(request.version)
        if parts is None:
            return False, None
        roles = [role for role in request.roles if role in parts]
        return True, put_together({role: parts[role] for role in roles})[0] if roles else None

    def exchange(self, request: Average) -> Exchange | None:
        """Begins an averaging; None: what it needs is not held."""
        parts = self._versions.get(request.version)
        if parts is None or (request.weights[self._shard] and self._trained is None):
            return None
        return Exchange(self._shard, request.weights, self._trained, self._layout)

    def averaged(self, request: Average, mean: State) -> None:
        """Holds the next version."""
        parts = dict(self._versions[request.version])
        if self._step is not None:
            self._step.assign(parts["outer"])
            mean = self._step(parts["shared"], mean)
            parts["outer"] = self._step.state()
        keeps_own = self._rule.optimizer_state == "local" or self._layout.local
        if keeps_own and request.weights[self._shard] and self._trained is not None:
            parts["own"] = self._trained
        self._versions[request.version + 1] = parts | {"shared": mean}


def _outer_step(rule: AmongWorkers, replica: Replica, settings: ProcessSettings) -> Any:
    custom_objects = enter_keras(settings)
    from spark_keras.params import outer_optimizer
    from spark_keras.training.rules.outer_step import OuterStep

    optimizer = outer_optimizer.optimizer(rule.outer, custom_objects)
    layout = replica.layout
    return OuterStep(optimizer, layout.entries[: len(replica.model.trainable_weights)], layout.dtype)
