"""What runs in the executor: a long-lived Spark task that holds a shard and a replica of the model.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import zmq

from spark_keras import executor
from spark_keras.columns import InvalidData
from spark_keras.training import shard as shards
from spark_keras.training import wire


class WorkerTask(NamedTuple):
    """What the closure carries to every worker: the architecture, not the weights (they come with each round).

    Args:
        endpoint: where the driver listens.
        settings: of the Python process.
        architecture: the compiled model's structure as JSON.
        safe_mode: Keras' safe mode for rebuilding it.
        columns: what to load.
        batch_size: rows per minibatch.
        shuffle: whether each epoch has an order of its own.
        seed: of the fit.
        inline_bytes: states up to this size are sent at once; larger ones wait until the driver asks for them, so
            that it never holds more than one.
    """

    endpoint: wire.Endpoint
    settings: executor.ProcessSettings
    architecture: str
    safe_mode: bool
    columns: shards.ShardColumns
    batch_size: int
    shuffle: bool
    seed: int
    inline_bytes: int = 2**20


RESULT_SCHEMA = "shard int, rounds long"


def run(task: WorkerTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The body of the task: load the shard, join, answer the driver until it says stop."""
    from pyspark import TaskContext

    spark_task = TaskContext.get()
    shard_index = spark_task.partitionId()
    warning = executor.prepare(task.settings)
    # Rows load while TensorFlow imports, which takes some ten seconds in a new process.
    importing = threading.Thread(target=__import__, args=("keras",), daemon=True)
    importing.start()
    context, socket = wire.connect(task.endpoint)
    try:
        started = time.perf_counter()
        shard = shards.load(batches, task.columns)
        loaded = time.perf_counter()
        importing.join()
        replica = _replicas_of_process.get(_replica_key(task), lambda: Replica(task))
        built = time.perf_counter()
        join = {
            "type": "join",
            "shard": shard_index,
            "attempt": spark_task.taskAttemptId(),
            "rows": shard.training.count,
            "validation_rows": shard.validation.count,
            "skipped": shard.skipped,
            "seconds": {"load": loaded - started, "build": built - loaded},
            "warning": warning,
        }
        socket.send_multipart(wire.encode(join))
        rounds = _answer(socket, replica, task, shard, shard_index)
        yield pa.RecordBatch.from_pydict(
            {"shard": pa.array([shard_index], pa.int32()), "rounds": pa.array([rounds], pa.int64())}
        )
    except BaseException as error:
        failure = {
            "type": "error",
            "shard": shard_index,
            "invalid_data": isinstance(error, InvalidData),
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
        if not isinstance(error, GeneratorExit):
            socket.send_multipart(wire.encode(failure))
        raise
    finally:
        socket.close()
        context.term()


class Replica:
    """The worker's model and its compiled rounds; kept in the process, so that a next fit finds them."""

    def __init__(self, task: WorkerTask):
        from spark_keras.training import kernel, state

        custom_objects = executor.enter_keras(task.settings)
        self.model = state.replica(task.architecture, custom_objects, task.safe_mode, task.columns.sample())
        self.layout = state.layout_of(self.model)
        self.seeds = len(state.seed_variables(self.model))
        self._make = lambda name: kernel.make(name, self.model, self.layout)
        self._kernels: dict[str, Any] = {}

    def call(self, kernel: str, method: str, *arguments: Any) -> tuple[Any, str, str | None]:
        """Runs a kernel; one that cannot be compiled gives way to a simpler one.

        Returns:
            the result, the name of the kernel that ran, and a warning that says why, if it is not the one asked for.
        """
        if kernel not in self._kernels:
            self._kernels[kernel] = self._make(kernel)
        chosen = self._kernels[kernel]
        try:
            return getattr(chosen, method)(*arguments), chosen.name, None
        except OverflowError:
            raise  # a simpler kernel would compute with the integers that are too large
        except Exception as error:
            simpler = {"xla": "graph", "graph": "steps", "scan": "steps", "jit": "steps"}.get(chosen.name)
            if simpler is None:
                raise
            result, name, _ = self.call(simpler, method, *arguments)
            self._kernels[kernel] = self._kernels[name]
            cause = str(error).strip().splitlines()
            warning = (
                f"The round cannot be compiled as {chosen.name!r} and runs as {name!r}: "
                f"{type(error).__name__}: {cause[0] if cause else ''}"
            )
            return result, name, warning


_replicas_of_process = executor.RecentlyUsed(2)


def _replica_key(task: WorkerTask) -> tuple[Any, ...]:
    shapes = tuple((name, t.tensor_shape, t.dtype) for name, t in task.columns.tensors.items())
    return task.architecture, task.settings, shapes


def _answer(socket: zmq.Socket, replica: Replica, task: WorkerTask, shard: shards.Shard, index: int) -> int:
    """Answers requests until the driver says stop; returns the number of rounds."""
    parent = os.getppid()
    rounds = 0
    order_of: tuple[int, Any] = (-1, None)
    held: list[np.ndarray] = []
    while True:
        # Spark's daemon, this process's parent, ends with the executor: then nobody will ever write again.
        while not socket.poll(5000):
            if os.getppid() != parent:
                raise RuntimeError("The executor has ended.")
        header, arrays = wire.decode(socket.recv_multipart(copy=False))
        kind = header["type"]
        if kind == "stop":
            return rounds
        if kind == "fetch":
            socket.send_multipart(wire.encode({"type": "payload", "ticket": header["ticket"]}, held), copy=False)
            held = []
            continue
        started = time.perf_counter()
        if kind == "train":
            rounds += 1
            if order_of[0] != header["epoch"]:
                order = shards.epoch_order(shard.training.count, task.seed, index, header["epoch"], task.shuffle)
                order_of = (header["epoch"], order)
            answer, held = _train(replica, task, shard, index, order_of[1], header, arrays)
        else:
            answer, held = _evaluate(replica, task, shard, header, arrays)
        answer |= {"type": "done", "ticket": header["ticket"], "seconds": time.perf_counter() - started}
        if sum(array.nbytes for array in held) <= task.inline_bytes:
            socket.send_multipart(wire.encode(answer, held), copy=False)
            held = []
        else:
            socket.send_multipart(wire.encode(answer))


def _train(
    replica: Replica, task: WorkerTask, shard: shards.Shard, index: int, order: Any, header: Any, arrays: list[Any]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    from spark_keras.training import kernel
    from spark_keras.training.state import State

    state, metrics, rows, name, warnings = State(*arrays), 0.0, 0, None, []
    count = shards.stack_count(shard.training, header["frequency"], task.batch_size)
    for stack in shards.stacks(shard.training, order, header["start"], header["stop"], task.batch_size, count):
        random = np.random.default_rng([task.seed % 2**64, index, header["epoch"], stack.start])
        seeds = random.integers(0, 2**31, (replica.seeds, 2), dtype="int64").astype("int32")
        batches = task.columns.pack(stack.arrays)
        wanted = kernel.for_few_steps(header["kernel"]) if stack.short else header["kernel"]
        result, ran, warning = replica.call(wanted, "train", state, seeds, batches, stack.steps)
        state, metric_states = result
        name = ran if name is None or not stack.short else name
        metrics, rows = metrics + metric_states, rows + stack.rows
        warnings += [warning] if warning else []
    answer = {"rows": rows, "kernel": name, "warning": " ".join(warnings) or None}
    return answer, [*state, metrics] if rows else []


def _evaluate(
    replica: Replica, task: WorkerTask, shard: shards.Shard, header: Any, arrays: list[Any]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    from spark_keras.training import kernel
    from spark_keras.training.state import State

    rows, metrics, warnings = shard.validation, 0.0, []
    wanted = kernel.for_few_steps(header["kernel"])
    order, last = np.arange(rows.count), -(-rows.count // task.batch_size)
    count = shards.stack_count(rows, last, task.batch_size)
    for stack in shards.stacks(rows, order, 0, last, task.batch_size, count):
        batches = task.columns.pack(stack.arrays)
        metric_states, _, warning = replica.call(wanted, "evaluate", State(*arrays), batches, stack.steps)
        metrics = metrics + metric_states
        warnings += [warning] if warning else []
    answer = {"rows": rows.count, "warning": " ".join(warnings) or None}
    return answer, [metrics] if rows.count else []
