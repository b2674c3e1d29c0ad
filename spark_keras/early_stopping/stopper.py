"""Early stopping within a fit: a Keras callback that scores epochs, keeps the best and ends the training."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from spark_keras.early_stopping.conditions import Condition, NonFiniteScore, Progress
from spark_keras.early_stopping.result import EarlyStoppingResult
from spark_keras.keras_model import state as states
from spark_keras.keras_model.improvement import Improvement
from spark_keras.telemetry.phases import Phases


class Score(Protocol):
    """Source of scores.

    Attributes:
        name: for the result.
        mode: "min", "max", or "auto" for Keras to infer.
    """

    name: str
    mode: str

    def check(self, model: keras.Model, held_out: Any) -> None:
        """Refuses what can be refused before a job starts; `held_out` are the rows that the fit validates on."""

    def __call__(self, logs: dict[str, Any], current: Callable[[], Any]) -> float:
        """The score of the model of this moment; `current` makes it a fitted one."""


class Store(Protocol):
    """Store of the best model until the end, if not in memory."""

    def save(self, model: keras.Model) -> str:
        """Keeps the model as it is now, instead of what was kept before; returns what tells it from any other."""

    def restore(self, model: keras.Model, kept: str) -> None:
        """Gives a model of the same architecture the state that was kept, by what `save` has returned."""


class Stopper(keras.callbacks.Callback):
    """Decides after each epoch and between rounds; at the end the driver's model is the best one.

    What counts as an improvement, and when patience is exhausted, is Keras' own arithmetic. All that must outlive the
    driver is plain data in attributes, which checkpoints hold.

    Args:
        score: of an epoch.
        conditions: that end the training, beside patience.
        store: where the best model is kept; None: in an attribute.
        keep_last: whether `last` will be the fitted model of the end.
        every: epochs from one score to the next.
        patience: epochs without improvement, None for any number.
    """

    def __init__(
        self,
        score: Score,
        conditions: Sequence[Condition],
        store: Store | None,
        keep_last: bool,
        every: int,
        patience: int | None,
        min_delta: float,
        baseline: float | None,
        start_from_epoch: int,
    ):
        super().__init__()
        self.score, self.conditions, self.store = score, list(conditions), store
        self.keep_last, self.every, self.patience = keep_last, every, patience
        # It counts scores, and patience is in epochs.
        scores_without = sys.maxsize if patience is None else math.ceil(patience / every)
        self._keras = keras.callbacks.EarlyStopping(
            monitor=score.name,
            mode=score.mode,
            patience=scores_without,
            min_delta=min_delta,
            baseline=baseline,
            start_from_epoch=start_from_epoch,
        )
        self._scores: dict[int, float] = {}
        self._best_epoch: int | None = None
        self._best: tuple[np.ndarray, ...] | None = None
        self._kept: str | None = None
        self._epoch = self._trained = 0
        self._cut = False
        self._seconds = 0.0
        self._watch = Phases(())
        self._end: tuple[str, str] | None = None
        self.last: Any = None

    # --- what a fit asks ---

    @property
    def validate_every(self) -> int:
        """Epochs from one validation to the next."""
        return self.every

    def begins(self, model: keras.Model, held_out: Any, current: Callable[[], Any]) -> None:
        """Before a job starts: the model that will be trained, the rows it will be validated on (None: on none), and
        what makes a fitted model of it as it is at the moment.
        """
        self._current = current
        self.set_model(model)
        self.score.check(model, held_out)
        self._improvement = Improvement(self._keras, model)

    def stop(self) -> bool:
        """Tells whether training ends between two rounds."""
        ended = self._ended([condition for condition in self.conditions if condition.everyRound])
        # Another callback may have ended it, too.
        self._cut = ended or bool(self.model.stop_training)
        return ended

    # --- hooks of Keras ---

    def on_train_begin(self, logs: Any = None) -> None:
        self._watch.lap("training")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._trained += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch + 1
        # An epoch that was cut short is the last one, too.
        if self._epoch % self.every == 0 or self._epoch == self.params["epochs"] or self._cut:
            self._scores[self._epoch] = self.score(dict(logs or {}), self._current)
            self._judge()
        if self._ended(self.conditions):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        if self.keep_last:
            self.last = self._current()
        if self._best_epoch is not None:
            self._restore()
        if self._end is None:
            limit = self.params["epochs"]
            self._end = ("maxEpochs", f"{self._trained} epochs were trained")
            if self._epoch < limit:
                self._end = ("callback", f"a callback ended the training after {self._epoch} of {limit} epochs")

    # --- decisions ---

    def _judge(self) -> None:
        best, exhausted = self._improvement.tell(self._scores)
        if best:
            self._best_epoch = self._epoch
            self._keep()
        if exhausted and self._end is None:
            self._end = ("patience", f"no improvement in {self.patience} epochs")

    def _keep(self) -> None:
        if self.store is not None:
            self._kept = self.store.save(self.model)
        else:
            self._best = tuple(states.read(self.model, states.layout_of(self.model, whole=True)))

    def _restore(self) -> None:
        if self.store is not None and self._kept is not None:
            self.store.restore(self.model, self._kept)
        elif self._best is not None:
            states.write(self.model, states.layout_of(self.model, whole=True), states.State(*self._best))

    def _ended(self, conditions: Sequence[Condition]) -> bool:
        for condition in conditions:
            if self._end is None:
                why = condition.check(self._progress())
                self._end = (condition.reason, why) if why else None
        return self._end is not None

    def _progress(self) -> Progress:
        self._seconds += self._watch.lap("training")
        larger = self._improvement.larger_is_better
        return Progress(self._epoch, self._seconds, self._scores, larger, self._best_epoch, self._best_score)

    @property
    def _best_score(self) -> float | None:
        return None if self._best_epoch is None else self._scores[self._best_epoch]

    # --- what is left ---

    def best_after(self, error: Exception) -> Any:
        """The best fitted model of a training that failed; None where there is none."""
        reason = NonFiniteScore().reason if isinstance(error, FloatingPointError) else "error"
        self._end = (reason, f"{type(error).__name__}: {error}")
        if self._best_epoch is None:
            return None
        self._restore()
        return self._current()

    def result(self) -> EarlyStoppingResult:
        self._seconds += self._watch.lap("training")
        reason, details = self._end or ("callback", "")
        return EarlyStoppingResult(
            reason=reason,
            details=details,
            monitor=self.score.name,
            scores=dict(self._scores),
            bestEpoch=self._best_epoch,
            bestScore=self._best_score,
            totalEpochs=self._trained,
            seconds=self._seconds,
        )
