"""The driver's story of a fit: epochs, periods, callbacks, stop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras.keras_model import held, metrics, optimizers
from spark_keras.keras_model import state as states
from spark_keras.telemetry.phases import Phases
from spark_keras.telemetry.progress import Progress
from spark_keras.telemetry.timeline import Timeline, WorkerReport
from spark_keras.training import callbacks as hooks
from spark_keras.training.checkpoints import callback_state
from spark_keras.training.checkpoints.checkpoints import Checkpoints
from spark_keras.training.checkpoints.snapshot import Position, Snapshot
from spark_keras.training.requests import Evaluate
from spark_keras.training.settings import Schedule
from spark_keras.training.strategies.base import Span, Strategy
from spark_keras.training.workers.base import Workers


class Outcome(NamedTuple):
    """Results of a training, beside the trained model itself.

    Args:
        measured: of the last epoch, which has no compiling unless it is the only one: median "stepMilliseconds" (a
            minibatch on the slowest worker) and "roundMilliseconds", and "epochSeconds" of all rounds.
        initial_epoch: the epoch that training began with, from 0 on.
        epochs: how many were trained.
        non_finite: updates left out, for each worker.
        compressed_bytes: that travelled to a worker and back in a round, in the mean; 0: states did.
    """

    history: dict[str, list[float]]
    initial_epoch: int
    epochs: int
    rounds: int
    kernel: str
    seconds: dict[str, float]
    measured: dict[str, float]
    non_finite: list[int]
    timeline: Timeline
    compressed_bytes: int = 0


def train(
    model: keras.Model,
    workers: Workers,
    strategy: Strategy,
    schedule: Schedule,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Trains the driver's model: at each epoch's end, and when this returns, it holds the strategy's state.

    Goes on from the last of the checkpoints, if there is one.

    Keras callbacks run on the driver. `on_train_batch_end` runs after each period, as Keras itself does when
    `steps_per_execution` is above 1.

    Args:
        stop: asked after each period; when it says so, the epoch ends there, and training with it.
    """
    hooks.warn_of_hooks_that_never_run(callbacks)
    driver = _Driver(model, workers, strategy, schedule, callbacks, progress, stop)
    history = keras.callbacks.History()
    handlers = keras.callbacks.CallbackList(
        [*callbacks, history],
        model=model,
        epochs=schedule.epochs,
        verbose=progress.verbose,
        steps=schedule.minibatches,
    )
    model.stop_training = False
    driver.run_callback(handlers.on_train_begin)
    keeper = _Keeper(driver, checkpoints, [*callbacks, history])
    first = states.restored_epoch(model) or schedule.initial_epoch
    here = keeper.restore() or Position(first, 0, finished=first >= schedule.epochs)
    first = history.epoch[0] if history.epoch else first
    driver.timeline.begin(strategy.state)
    results: dict[str, Any] = {}
    while not here.finished:
        epoch = here.epoch
        if here.minibatch == 0:
            driver.run_callback(handlers.on_epoch_begin, epoch)
        progress.epoch_begins(epoch)
        trained = driver.clock.seconds["train"]
        results = driver.train_epoch(epoch, handlers, here.minibatch, keeper.keep)
        driver.clock.lap("train")
        # The last epoch has a validation, also where it was cut short.
        if schedule.validates(epoch) or (schedule.validation and model.stop_training):
            results |= driver.validate(handlers)
        progress.epoch_ends(epoch, results, driver.clock.seconds["train"] - trained)
        # Callbacks find it among the numbers that Keras gives them.
        handlers.params["rows_per_second"] = driver.timeline.epoch(epoch, strategy.state)
        driver.run_callback(handlers.on_epoch_end, epoch, dict(results))
        here = Position(epoch + 1, 0, finished=epoch + 1 == schedule.epochs or model.stop_training)
        keeper.keep(here)
    results = results or {name: values[-1] for name, values in history.history.items()}
    driver.finalize()
    driver.run_callback(handlers.on_train_end, dict(results), last=True)
    driver.hold()
    model.reset_metrics()
    # Keras sorts the names; results have the loss first, as the model gives them.
    names = [*results, *(name for name in history.history if name not in results)]
    in_order = {name: [_plain(value) for value in history.history[name]] for name in names if name in history.history}
    return Outcome(
        history=in_order,
        initial_epoch=first,
        epochs=len(history.epoch),
        rounds=driver.rounds,
        kernel=driver.kernel,
        seconds=driver.clock.seconds,
        measured=driver.measured(),
        non_finite=driver.non_finite,
        timeline=driver.timeline,
        compressed_bytes=round(driver.bytes / max(1, driver.periods) / len(schedule.rows)),
    )


class _Driver:
    """The driver's model, and the steps of the story that read or change it."""

    def __init__(
        self,
        model: keras.Model,
        workers: Workers,
        strategy: Strategy,
        schedule: Schedule,
        callbacks: Sequence[Any],
        progress: Progress,
        stop: Callable[[], bool] | None,
    ):
        self.model, self.workers, self.strategy = model, workers, strategy
        self.schedule, self.progress = schedule, progress
        self.layout, self.variables = states.layout_of(model), states.all_variables(model)
        self.trained = len(model.trainable_weights)
        strategy.begin(states.read(model, self.layout), workers)
        # With those that it begins with a checkpoint need not hold any.
        self.frozen = self.initial_frozen = states.frozen_weights(model, self.layout)
        workers.freeze(self.frozen)
        # Whether the model holds the strategy's state.
        self.model_is_current = True
        self.timeline = Timeline(len(schedule.rows), self.layout)
        self.non_finite = [0] * len(schedule.rows)
        self.clock = Phases(("train", "evaluate", "callbacks"))
        self.rounds = 0
        # That travelled in compressed changes, in the rounds since this fit was begun or taken up.
        self.bytes, self.periods = 0, 0
        self.kernel = "none"
        self.metrics: np.ndarray = np.zeros(0)
        # Seconds of each of an epoch's periods, and of a minibatch on its slowest worker.
        self.round_seconds: list[float] = []
        self.step_seconds: list[float] = []
        self.callbacks, self.stop = callbacks, stop
        self.batch_hooks = self._listened("on_train_batch_begin") or self._listened("on_train_batch_end")

    def hold(self) -> None:
        """Lets the model hold the state."""
        if not self.model_is_current:
            states.write(self.model, self.layout, self.strategy.state)
            self.model_is_current = True

    def settle(self) -> None:
        """Ends what the workers have begun."""
        before = self.strategy.state
        self.strategy.settle()
        self.model_is_current &= self.strategy.state is before

    def run_callback(self, hook: Any, *arguments: Any, last: bool = False) -> None:
        """Runs a hook with the model holding the state, and takes over whatever the hook changes in the model; after
        the last one the model itself is what is left.
        """
        if not self._listened(hook.__name__):  # but for the history
            hook(*arguments)
            return
        self.hold()
        with self.workers.yielding_slots():
            hook(*arguments)
        states.weights_have_changed(self.model)
        if not last:
            self._check_variables()
            self.strategy.assign(states.read(self.model, self.layout))
            self.freeze()
        self.timeline.driver("callbacks", self.clock.lap("callbacks"))

    def freeze(self) -> None:
        """Lets the workers have the model's frozen weights."""
        self.frozen = states.frozen_weights(self.model, self.layout, self.frozen)
        self.workers.freeze(self.frozen)

    def changed_frozen(self) -> np.ndarray | None:
        """The frozen weights, where a callback has changed them."""
        return None if self.frozen is None or self.frozen is self.initial_frozen else self.frozen.values

    def _listened(self, hook: str) -> bool:
        return any(hooks.listens(callback, hook) for callback in self.callbacks)

    def _check_variables(self) -> None:
        """Refuses what would let the workers' numbers come into other variables than theirs."""
        if any(held.of(self.model)):
            held.look(self.model)
        now, trained = states.all_variables(self.model), len(self.model.trainable_weights)
        same = len(now) == len(self.variables) and all(one is other for one, other in zip(now, self.variables))
        if not same or trained != self.trained:
            raise RuntimeError(
                "A callback has changed which variables are trained, or an optimizer. Expected: `trainable` of "
                "layers, the optimizers and the kind of its learning rate stay as they are while a fit runs; a number "
                "may be assigned to the learning rate. Unfreeze layers between two fits."
            )

    def finalize(self) -> None:
        """As Keras at the end of a fit: an optimizer that keeps averages of the weights (`use_ema`) puts them in."""
        self.settle()
        counter = self.layout.iterations
        # Before the first step they are zeros.
        if optimizers.keeps_averages(self.model.optimizer) and (
            counter is None or self.strategy.state.integers[counter]
        ):
            self.hold()
            self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
            self.strategy.assign(states.read(self.model, self.layout))

    def train_epoch(
        self, epoch: int, handlers: Any, begin: int, after_round: Callable[[Position], None]
    ) -> dict[str, float]:
        """Trains an epoch from minibatch `begin` on."""
        shown = time.monotonic()
        self.round_seconds, self.step_seconds = [], []
        if begin == 0:
            self.metrics = np.zeros_like(metrics.read_metrics(self.model))
        for start, stop in self.schedule.rounds():
            if start < begin:
                continue
            if self.batch_hooks:
                self.run_callback(handlers.on_train_batch_begin, start)
            began = time.perf_counter()
            period = self.strategy.period(Span(epoch, start, stop, self.rounds + 1))
            self.model_is_current = False
            self.round_seconds.append(time.perf_counter() - began)
            self.timeline.round(epoch, self.round_seconds[-1], period.waited, period.reports)
            self.step_seconds.append(period.seconds / (stop - start))
            self.rounds += 1
            self.bytes, self.periods = self.bytes + period.bytes, self.periods + 1
            for shard in period.skipped:
                self.non_finite[shard] += 1
            if period.metrics is not None:
                self.metrics = self.metrics + period.metrics
            self.kernel = period.kernel or self.kernel
            self.progress.round_ends(period.rows)
            self.clock.lap("train")
            if self.batch_hooks:
                self.run_callback(handlers.on_train_batch_end, stop - 1, self._results())
            if self.stop is not None and self.stop():
                self.model.stop_training = True
            if self.model.stop_training:
                break
            if stop < self.schedule.minibatches:
                after_round(Position(epoch, stop))
            if time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                self.progress.show(self._results())
        return self._results()

    def _results(self) -> dict[str, float]:
        """Of the epoch so far; NaN where all updates were left out."""
        results = metrics.metric_results(self.model, self.metrics)
        return results if self.metrics.any() else dict.fromkeys(results, float("nan"))

    def validate(self, handlers: Any) -> dict[str, float]:
        """Results on the rows held out, of the state that callbacks leave for it: some swap weights in and out."""
        self.settle()
        self.run_callback(handlers.on_test_begin)
        results = self._evaluate()
        self.timeline.driver("evaluating", self.clock.lap("evaluate"))
        self.run_callback(handlers.on_test_end, dict(results))
        return {f"val_{name}": value for name, value in results.items()}

    def _evaluate(self) -> dict[str, float]:
        shards = [index for index, shard in enumerate(self.workers.shards) if shard.validation_rows]
        sums: Any = np.zeros(0)
        reports: list[WorkerReport] = []
        for answer in self.strategy.evaluate(Evaluate(self.schedule.kernel), shards):
            sums = answer.metrics if not reports else sums + answer.metrics
            reports.append((answer.shard, 0, answer.phases))
        self.timeline.evaluation(reports)
        return metrics.metric_results(self.model, sums)

    def measured(self) -> dict[str, float]:
        if not self.round_seconds:
            return {}
        return {
            "stepMilliseconds": 1e3 * statistics.median(self.step_seconds),
            "roundMilliseconds": 1e3 * statistics.median(self.round_seconds),
            "epochSeconds": sum(self.round_seconds),
        }


class _Keeper:
    """Writes the fit into checkpoints, and puts it back into what the last one tells."""

    def __init__(self, driver: _Driver, checkpoints: Checkpoints | None, callbacks: Sequence[Any]):
        self._driver, self._checkpoints, self._callbacks = driver, checkpoints, callbacks
        self._begun = callback_state.baseline(callbacks) if checkpoints is not None else []

    def keep(self, position: Position) -> None:
        if self._checkpoints is None or not self._checkpoints.due(position):
            return
        driver = self._driver
        driver.settle()
        arrays: callback_state.Arrays = {}
        self._checkpoints.write(
            Snapshot(
                position=position,
                state=driver.strategy.state,
                frozen=driver.changed_frozen(),
                strategy=driver.strategy.save(),
                metrics=driver.metrics,
                rounds=driver.rounds,
                non_finite=driver.non_finite,
                kernel=driver.schedule.kernel,
                ran=driver.kernel,
                callbacks=callback_state.read(self._callbacks, self._begun, arrays),
                arrays=arrays,
            )
        )
        driver.timeline.driver("checkpoints", driver.clock.lap("checkpoint"))

    def restore(self) -> Position | None:
        if self._checkpoints is None or self._checkpoints.snapshot is None:
            return None
        snapshot = self._checkpoints.snapshot
        driver = self._driver
        if len(snapshot.state.values) != driver.layout.sizes[0]:
            snapshot = snapshot.without_frozen(lambda values: states.taken_apart(driver.model, values))
        if snapshot.frozen is not None:
            states.write_frozen(driver.model, snapshot.frozen)
            driver.freeze()
        driver.strategy.assign(snapshot.state)
        driver.strategy.load(snapshot.strategy)
        driver.model_is_current, driver.metrics = False, snapshot.metrics
        driver.rounds, driver.non_finite, driver.kernel = snapshot.rounds, snapshot.non_finite, snapshot.ran
        callback_state.write(self._callbacks, snapshot.callbacks, snapshot.arrays)
        return snapshot.position


def _plain(value: Any) -> Any:
    """Logs after the callbacks, which may have put anything into them, as numbers that can be saved."""

    def plain(number: Any) -> Any:
        if isinstance(number, (int, float, str, type(None))):
            return number
        array = states.to_numpy(number)
        return array.item() if array.ndim == 0 else array.tolist()

    return keras.tree.map_structure(plain, value)
