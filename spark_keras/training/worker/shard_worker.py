"""A shard and a replica of the model: what a worker does with them, wherever it runs.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spark_keras.telemetry.phases import Phases
from spark_keras.training.requests import Apply, Evaluate, Fetch, Hold, Measure, Request, Train
from spark_keras.training.worker import shard as shards
from spark_keras.training.worker import stacks
from spark_keras.training.worker.ahead import TrainedAhead
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.worker.compressed_states import CompressedStates
from spark_keras.training.worker.features import Features
from spark_keras.training.worker.held_states import HeldStates
from spark_keras.training.worker.minibatches import Minibatches
from spark_keras.training.worker.replica import Replica
from spark_keras.training.worker.shard import Shard

# Of a kernel, when jitCompile="measure" asks for the fastest.
MEASURED_CALLS = 6


class Done(NamedTuple):
    """The result of a request.

    Args:
        rows: how many were trained or evaluated.
        state: after them; None for what trains none.
        metrics: metric states of these rows; None where there were none.
        kernel: how full minibatches were compiled in fact; None where there were none among others.
        warning: what the user should know.
        non_finite: a variable that has become NaN or infinite.
        kernels: seconds by kernel, where they were measured.
        lost: whether a state is not held here, or another worker has gone, so that nothing was done.
    """

    rows: int
    state: Any = None
    metrics: np.ndarray | None = None
    kernel: str | None = None
    warning: str | None = None
    non_finite: str | None = None
    kernels: dict[str, float] | None = None
    lost: bool = False


LOST = Done(0, lost=True)


def _nothing() -> None:
    pass


class ShardWorker:
    """One shard's worker.

    Args:
        task: what all workers of a fit share.
        index: of the shard.
        shard: its rows.
        replica: of the model.

    Attributes:
        shard: its index.
    """

    def __init__(self, task: WorkerTask, index: int, shard: Shard, replica: Replica):
        self.shard = index
        self._task, self._shard, self._replica = task, shard, replica
        self._features: Features | None = None
        if task.frozen_features is not None:
            self._features = Features(task, task.frozen_features, shard)
        self._minibatches = self._of_shard()
        self._ahead = TrainedAhead(replica, self._trained) if task.overlap else None
        self._held: HeldStates | None = None
        if task.among_workers is not None:
            self._held = HeldStates(index, replica, task.among_workers, task.settings)
        elif task.compressing is not None:
            self._held = CompressedStates(index, replica, task.compressing, task.settings)

    @property
    def frozen(self) -> str | None:
        """Digest of the frozen weights that it computes with; None: they have not come yet."""
        return self._replica.frozen

    def freeze(self, digest: str, values: np.ndarray) -> None:
        """Takes over the model's frozen weights."""
        self._replica.freeze(digest, values)
        if self._ahead is not None:
            self._ahead.begin_anew()

    def _keep_features(self, beat: Callable[[], None]) -> None:
        """Computes the features of the frozen weights that are now, where they are not those that are kept."""
        layers, frozen = self._replica.layers, self._replica.frozen
        if self._features is None or layers is None or self._features.digest == frozen:
            return
        self._minibatches.close()
        self._shard = self._features.compute(frozen, layers, beat)
        self._minibatches = self._of_shard()

    def _of_shard(self) -> Minibatches:
        return Minibatches(self._shard.training, self._task, self.shard, _prepare(self._task, training=True))

    def close(self) -> None:
        self._minibatches.close()
        if self._features is not None:
            self._features.close()

    def answer(
        self, request: Request, state: Any, phases: Phases | None = None, beat: Callable[[], None] = _nothing
    ) -> Done:
        """Does what is asked, from this state on.

        Args:
            phases: where the time is told.
            beat: called now and then while this takes long.
        """
        phases = phases or Phases()
        self._keep_features(beat)
        if isinstance(request, Train):
            return self._train(request, state, phases, beat)
        if isinstance(request, Evaluate):
            done, phase = self._evaluate(request, state, beat), "evaluating"
        elif isinstance(request, Hold):
            (self._ahead or self.held).hold(request, state)
            done, phase = Done(0), "wire"
        elif isinstance(request, Fetch):
            done, phase = self._fetch(request), "wire"
        elif isinstance(request, Apply):
            done, phase = Done(0) if self.held.apply(request, state) else LOST, "wire"
        elif isinstance(request, Measure):
            done, phase = self._measure(request, state), "compiling"
        else:
            raise TypeError(f"No worker answers {request!r}.")
        phases.lap(phase)
        return done

    @property
    def held(self) -> HeldStates:
        """The states that stay with the worker."""
        if self._held is None:
            raise RuntimeError("The workers of this fit hold no states.")
        return self._held

    @property
    def trains_ahead(self) -> bool:
        """Tells if `look_ahead` takes long."""
        return self._ahead is not None

    def look_ahead(self, request: Request, phases: Phases | None = None, beat: Callable[[], None] = _nothing) -> None:
        """Prepares what follows a request, or does it; called when the driver has its answer, and the worker would only
        wait.
        """
        if isinstance(request, Train):
            self._minibatches.look_ahead(request.frequency)
            if self._ahead is not None:
                self._ahead.go_on(request, phases or Phases(), beat)

    def _train(self, request: Train, state: Any, phases: Phases, beat: Callable[[], None]) -> Done:
        if self._ahead is not None:
            return self._ahead.answer(request, state, phases, beat) or LOST
        if request.version is None:
            return self._trained(request, state, phases, beat)
        state = self.held.begin(request.version)
        if state is None:
            return LOST
        done = self._trained(request, state, phases, beat)
        return done._replace(state=self.held.keep(done.state)) if done.rows else done

    def _trained(self, request: Train, state: Any, phases: Phases, beat: Callable[[], None]) -> Done:
        from spark_keras.backend.kernels import for_few_steps
        from spark_keras.keras_model.state import non_finite_variable

        start, rows, name, warnings = state, 0, None, []
        metrics: np.ndarray | float = 0.0
        minibatches, replica, epoch, frequency = self._minibatches, self._replica, request.epoch, request.frequency
        for stack in minibatches.of_round(epoch, request.start, request.stop, frequency):
            phases.lap("loading")
            seeds = minibatches.seeds(epoch, stack.start, replica.seeds)
            wanted = for_few_steps(request.kernel) if stack.short else request.kernel
            # Each size of stack is a program of its own.
            new = replica.is_new(wanted, stack.rows if stack.short else self._task.batch_size, frequency)
            result, ran, warning = replica.call(wanted, "train", state, seeds, stack.batches, stack.first, stack.steps)
            phases.lap("compiling" if new else "computing")
            state, metric_states = result
            # The short last minibatch has a program of its own, which tells nothing of the others.
            if not stack.short or self._shard.training.count < self._task.batch_size:
                name = ran
            metrics, rows = metrics + metric_states, rows + stack.rows
            warnings += [warning] if warning else []
            beat()
        if not rows:
            return Done(0)
        non_finite = non_finite_variable(replica.layout, start, state)
        phases.lap("computing")
        return Done(rows, state, np.asarray(metrics), name, " ".join(warnings) or None, non_finite)

    def _fetch(self, request: Fetch) -> Done:
        there, state = self.held.fetch(request)
        return Done(0, state, None if state is None else np.empty(0)) if there else LOST

    def _measure(self, request: Measure, state: Any) -> Done:
        """Times kernels on the first stack of the first epoch; what cannot be compiled is left out."""
        seconds, warnings = {}, []
        stack = next(self._minibatches.of_round(0, 0, request.frequency, request.frequency))
        for name in request.kernels:
            times = []
            for _ in range(MEASURED_CALLS):
                started = time.perf_counter()
                seeds = self._minibatches.seeds(0, stack.start, self._replica.seeds)
                arguments = state, seeds, stack.batches, stack.first, stack.steps
                _, ran, warning = self._replica.call(name, "train", *arguments)
                times.append(time.perf_counter() - started)
            if ran == name:
                seconds[name] = min(times[1:])  # the first one compiles
            warnings += [warning] if warning else []
        return Done(stack.rows, kernels=seconds, warning=" ".join(warnings) or None)

    def _evaluate(self, request: Evaluate, state: Any, beat: Callable[[], None]) -> Done:
        from spark_keras.backend.kernels import for_few_steps

        if request.version is not None:
            state = self.held.shared(request.version)
            if state is None:
                return LOST
        rows, warnings = self._shard.validation, []
        metrics: np.ndarray | float = 0.0
        if not rows.count:
            return Done(0)
        size = self._task.batch_size
        wanted = for_few_steps(request.kernel)
        order, last = shards.epoch_order(rows, 0, 0, 0, shuffle=False), -(-rows.count // size)
        prepare = _prepare(self._task, training=False)
        for stack in stacks.stacks(rows, order, 0, last, size, stacks.stack_count(rows, last, size)):
            batches = prepare(stack.batches)
            metric_states, _, warning = self._replica.call(wanted, "evaluate", state, batches, stack.steps)
            metrics = metrics + metric_states
            warnings += [warning] if warning else []
            beat()
        return Done(rows.count, metrics=np.asarray(metrics), warning=" ".join(warnings) or None)


def _prepare(task: WorkerTask, training: bool) -> Callable[[dict[str, np.ndarray]], Any]:
    """Gives the function from a stack's arrays to what the kernel takes.

    Of the task: a next one may find its replica, but names its columns itself.
    """
    from spark_keras.backend import arrays as backend_arrays

    columns, to_tensor = task.trained_columns, backend_arrays.to_tensor()
    finish, pack = columns.finish, columns.packer()
    return lambda arrays: pack({name: to_tensor(array) for name, array in finish(arrays, training).items()})
