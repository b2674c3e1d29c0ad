"""Training of a worker while the average of what it has sent is under way.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from spark_keras.training.requests import Hold, Train
from spark_keras.training.worker.replica import Replica

if TYPE_CHECKING:
    from spark_keras.keras_model.state import State


class _Begun(NamedTuple):
    """A round trained ahead: its number, its span, and the result."""

    version: int
    span: tuple[int, ...]
    result: Any


class TrainedAhead:
    """The state that this worker has sent last, and what it has made of it since.

    Args:
        replica: of the model.
        train: trains a request's minibatches from a state on.
    """

    def __init__(self, replica: Replica, train: Callable[..., Any]):
        from spark_keras.training.rules.change import trained_size

        self._layout, self._train = replica.layout, train
        self._size = trained_size(self._layout, len(replica.model.trainable_weights))
        self._sent: tuple[int, State] | None = None
        self._begun: _Begun | None = None

    def hold(self, request: Hold, state: State) -> None:
        from spark_keras.training.rules.parts import taken_apart

        self._sent, self._begun = (request.version, taken_apart(state, request.parts)["own"]), None

    def answer(self, request: Train, average: State, *told: Any) -> Any:
        """Trains what it has not trained yet, and corrects it; None: what it has sent last is not known here."""
        from spark_keras.training.rules.ahead import corrected, unchanged

        if self._sent is None or self._sent[0] != request.version:
            return None
        _, sent = self._sent
        begun, span = self._begun, (request.epoch, request.start, request.stop)
        if begun is not None and begun[:2] == (request.version, span):
            done = begun.result
        else:
            done = self._train(request, sent, *told)
        if done.rows:
            state = corrected(done.state, sent, average, self._layout, self._size)
            done = done._replace(state=state)
        else:
            state = unchanged(sent, average, self._layout, self._size)
        self._sent, self._begun = (request.version + 1, state), None
        return done

    def begin_anew(self) -> None:
        """Forgets what was trained with other frozen weights, as a worker in its place would have trained nothing."""
        self._begun = None

    def go_on(self, request: Train, *told: Any) -> None:
        """Trains what comes next, from what was sent with the last answer."""
        if request.following is not None and self._sent is not None:
            version, sent = self._sent
            epoch, start, stop = request.following
            following = Train(epoch, start, stop, request.frequency, request.kernel, version)
            self._begun = _Begun(version, request.following, self._train(following, sent, *told))
