"""Workers in this process: all shards, one after the other, with one replica of the model and without Spark.

With them a training of any number of workers runs in milliseconds: in tests, and to measure what many workers do to the
accuracy of a model.
"""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from spark_keras.columns.row_spec import ShardColumns
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.process import ProcessSettings
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import first_step, own_code
from spark_keras.keras_model.rate_scaling import UNSCALED, RateScaling
from spark_keras.keras_model.state import FrozenWeights
from spark_keras.telemetry.phases import Phases
from spark_keras.training.requests import Average, Train
from spark_keras.training.wire.connections import Endpoint
from spark_keras.training.worker.closure import AmongWorkers, Compressing, WorkerTask
from spark_keras.training.worker.exchange import in_process
from spark_keras.training.worker.replica import Replica, of_process
from spark_keras.training.worker.shard import MemoryRows, Shard
from spark_keras.training.worker.shard_worker import ShardWorker
from spark_keras.training.workers.base import Answer, Question, ShardInfo


class InProcessWorkers:
    """Workers for shards that lie in this process' memory.

    Args:
        shards: the rows of each worker.
        task: as it travels to workers elsewhere.
        replica: of the model, from other workers; None: the one that this process keeps for the task.
        turns: how long each worker takes for a minibatch, by which posted questions are answered earlier or later;
            None: all take one turn. They are counted and not waited for.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        task: WorkerTask,
        replica: Replica | None = None,
        turns: Sequence[int] | None = None,
    ):
        self.task = task
        self._turns = turns or [1] * len(shards)
        self._now = 0
        # Posted questions: (turn in which it is answered, shard), and the question.
        self._posted: list[tuple[int, int, Question]] = []
        self._frozen: FrozenWeights | None = None
        self.replica = replica or of_process(
            *(task.architecture, task.settings, task.safe_mode, task.trained_columns, task.rate_scaling),
            task.frozen_features,
        )
        self._workers = [ShardWorker(task, index, shard, self.replica) for index, shard in enumerate(shards)]
        self.shards = [
            ShardInfo(each.training.count, each.validation.count, {}, each.storage, each.bytes, each.digest, {})
            for each in shards
        ]

    @classmethod
    def of_arrays(
        cls,
        model: keras.Model,
        data: tuple[Any, ...],
        workers: int | Sequence[int] = 1,
        batch_size: int = 32,
        validation: tuple[Any, ...] | None = None,
        seed: int = 0,
        shuffle: bool = False,
        rate_scaling: RateScaling = UNSCALED,
        turns: Sequence[int] | None = None,
        among_workers: AmongWorkers | None = None,
        compressing: Compressing | None = None,
        overlap: bool = False,
    ) -> InProcessWorkers:
        """Workers that have the rows of arrays, in their order.

        Builds the model, with the variables of its optimizer and metrics.

        Args:
            model: compiled.
            data: (x, y) or (x, y, sample_weight), nested as the model takes them; numpy arrays with a row each along
                the first axis.
            workers: their number, for shards of equal sizes, as far as that is possible; or the rows of each.
            batch_size: rows per minibatch and worker.
            validation: rows to validate on, of the same form; all workers together have them.
            shuffle: whether each epoch has an order of its own.
            rate_scaling: of the learning rates.
            turns: how long each worker takes for a minibatch.
            among_workers: how they average among themselves; None: they do not.
            compressing: how changes are compressed; None: they are not.
            overlap: whether workers train on while states are averaged.
        """
        columns, _ = _taken_apart(data)
        first_step.build(model, columns.sample())
        architecture = architectures.architecture(model, columns.names_in_structures)
        settings = ProcessSettings.of_driver(1, {})
        settings = settings._replace(
            custom_objects=settings.custom_objects + own_code.pickled(model, architecture),
        )
        count = workers if isinstance(workers, int) else len(workers)
        task = WorkerTask(
            Endpoint(""), settings, architecture, False, columns, batch_size, shuffle, seed, count, rate_scaling,
            prefetch=0, among_workers=among_workers, compressing=compressing, overlap=overlap,
        )  # fmt: skip
        return cls.dealt(task, data, workers, validation, turns=turns)

    @classmethod
    def dealt(
        cls,
        task: WorkerTask,
        data: tuple[Any, ...],
        workers: int | Sequence[int],
        validation: tuple[Any, ...] | None = None,
        replica: Replica | None = None,
        turns: Sequence[int] | None = None,
    ) -> InProcessWorkers:
        """Workers with the task of others, and rows as `of_arrays` takes them; with their replica nothing is compiled
        again.
        """
        arrays = _taken_apart(data)[1]
        held_out = _taken_apart(validation)[1] if validation else {name: each[:0] for name, each in arrays.items()}
        count = workers if isinstance(workers, int) else len(workers)
        ends = count if isinstance(workers, int) else np.cumsum(workers)[:-1]
        parts = {name: np.array_split(array, ends) for name, array in arrays.items()}
        others = {name: np.array_split(array, count) for name, array in held_out.items()}
        shards = [Shard(_rows(parts, index), _rows(others, index), {}, "") for index in range(count)]
        return cls(shards, task, replica, turns)

    def ask(self, questions: Iterable[Question]) -> Iterator[Answer]:
        asked = list(questions)
        if asked and isinstance(asked[0].request, Average):
            yield from self._average(asked[0].request)
        else:
            yield from map(self._answer, asked)

    def post(self, question: Question) -> None:
        shard, request = question.shard, question.request
        minibatches = 1
        if isinstance(request, Train):
            minibatches = min(request.stop, -(-self.shards[shard].rows // self.task.batch_size)) - request.start
        heapq.heappush(self._posted, (self._now + self._turns[shard] * minibatches, shard, question))

    def first_answer(self) -> Answer:
        self._now, _, question = heapq.heappop(self._posted)
        return self._answer(question)

    def _answer(self, question: Question) -> Answer:
        started, phases = time.perf_counter(), Phases()
        worker = self._workers[question.shard]
        if self._frozen is not None and worker.frozen != self._frozen.digest:
            worker.freeze(*self._frozen)
        done = worker.answer(question.request, question.state, phases)
        seconds = time.perf_counter() - started
        worker.look_ahead(question.request)
        return Answer(
            question.shard, done.state, done.metrics, done.rows, done.kernel, seconds, done.non_finite, phases.taken(),
            done.kernels, done.lost,
        )  # fmt: skip

    def _average(self, request: Average) -> Iterator[Answer]:
        exchanges = [worker.held.exchange(request) for worker in self._workers]
        there = [exchange for exchange in exchanges if exchange is not None]
        lost = len(there) < len(exchanges)
        if not lost:
            in_process(there)
            for worker, exchange in zip(self._workers, there):
                worker.held.averaged(request, exchange.mean)
        for shard in range(len(exchanges)):
            yield Answer(shard, None, None, 0, None, 0.0, lost=lost)

    def freeze(self, weights: FrozenWeights | None) -> None:
        self._frozen = weights

    def yielding_slots(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _rows(parts: dict[str, list[np.ndarray]], index: int) -> MemoryRows:
    return MemoryRows({name: arrays[index] for name, arrays in parts.items()})


def _taken_apart(data: tuple[Any, ...]) -> tuple[ShardColumns, dict[str, np.ndarray]]:
    """Takes nested arrays apart: the columns that workers load, and their arrays by name."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    arrays: dict[str, np.ndarray] = {}

    def taken(structure: Any, letter: str) -> tuple[tuple[TensorColumn, ...], Any]:
        flat = [np.ascontiguousarray(each) for each in keras.tree.flatten(structure)]
        arrays.update({f"{letter}{index}": array for index, array in enumerate(flat)})
        tensors = tuple(
            TensorColumn(f"{letter}{index}", letter, (letter,), array.shape[1:], array.dtype.name, array.ndim - 1)
            for index, array in enumerate(flat)
        )
        return tensors, keras.tree.pack_sequence_as(structure, list(range(len(flat))))

    features, feature_structure = taken(x, "x")
    labels, label_structure = taken(y, "y") if y is not None else ((), None)
    weights = taken(weight, "w")[0] if weight is not None else ()
    return ShardColumns(
        features, labels, None, feature_structure, label_structure, False, False, weights=weights
    ), arrays
