"""Content of the closure that every worker gets."""

from __future__ import annotations

from typing import Any, NamedTuple

from spark_keras.columns.row_spec import ShardColumns
from spark_keras.executor import process as executor
from spark_keras.executor.memory import memory_share
from spark_keras.keras_model.rate_scaling import UNSCALED, RateScaling
from spark_keras.training.wire import connections


class AmongWorkers(NamedTuple):
    """The averaging that workers do among themselves.

    Args:
        optimizer_state: what becomes of the optimizers' variables, as of `Schedule`.
        outer: the outer optimizer, as Param `outerOptimizer` holds it; None for plain averaging.
        ports: on which a worker may listen for the others; an empty range lets the system choose.
    """

    optimizer_state: str
    outer: str | dict[str, Any] | None = None
    ports: tuple[int, int] = (0, 0)


class Compressing(NamedTuple):
    """The compression of what workers and driver send each other.

    Args:
        coding: Param `compression`.
        optimizer_state: what becomes of the optimizers' variables, as of `Schedule`.
    """

    coding: str
    optimizer_state: str


class FrozenFeatures(NamedTuple):
    """The features that frozen layers give for each row, which a worker computes once and trains on.

    Args:
        architecture: of the model that computes them, as JSON.
        inputs: which of the task's feature columns that model takes, in its order.
        passing: which of them are trained on beside the features.
        columns: what is trained on: the features, then these, with labels and weights as they are loaded.
        weights: where each weight of that model lies among the frozen weights, as (start, stop).
        further: likewise the frozen weights of the model that is trained.
    """

    architecture: str
    inputs: tuple[int, ...]
    passing: tuple[int, ...]
    columns: ShardColumns
    weights: tuple[tuple[int, int], ...]
    further: tuple[tuple[int, int], ...]


class WorkerTask(NamedTuple):
    """Content of the closure that every worker gets: the architecture, not the weights (they come with each round).

    Args:
        endpoint: where the driver listens.
        settings: of the Python process.
        architecture: the structure as JSON of the compiled model that is trained.
        safe_mode: Keras' safe mode for rebuilding it.
        columns: what to load.
        batch_size: rows per minibatch.
        shuffle: whether each epoch has an order of its own.
        seed: of the fit.
        workers: of the fit.
        rate_scaling: of the learning rates.
        submission: how often the fit's job was submitted before.
        max_shard_memory: shards of more bytes live in a file; None leaves it to the machine's memory.
        prefetch: stacks of minibatches prepared ahead; 0: none.
        inline_bytes: states up to this size travel with the message; larger ones in pieces, which each side asks for.
        shared_bytes: states up to this size are shared in memory, where the driver is on the same machine.
        piece: numbers in a message when a large state travels to the worker in pieces.
        among_workers: how the workers average among themselves; None: the driver averages.
        compressing: how changes are compressed; None: states travel.
        overlap: whether workers train on while states are averaged.
        frozen_features: what rows are turned into before they are trained on; None: they are not.
    """

    endpoint: connections.Endpoint
    settings: executor.ProcessSettings
    architecture: str
    safe_mode: bool
    columns: ShardColumns
    batch_size: int
    shuffle: bool
    seed: int
    workers: int
    rate_scaling: RateScaling = UNSCALED
    submission: int = 0
    max_shard_memory: int | None = None
    prefetch: int = 2
    inline_bytes: int = 2**20
    shared_bytes: int = 2**26
    piece: int = 2**21
    among_workers: AmongWorkers | None = None
    compressing: Compressing | None = None
    overlap: bool = False
    frozen_features: FrozenFeatures | None = None

    @property
    def trained_columns(self) -> ShardColumns:
        """The columns that the model that is trained takes."""
        return self.columns if self.frozen_features is None else self.frozen_features.columns


def max_memory(task: WorkerTask) -> int:
    """Bytes of rows that a worker keeps in memory; of more they live in a file.

    By default a quarter of the worker's share, because a shard takes twice its size while it is loaded.
    """
    return task.max_shard_memory or memory_share(task.workers, task.settings.threads) // 4
