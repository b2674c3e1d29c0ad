"""Answers to the driver's requests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from spark_keras.telemetry.phases import Phases
from spark_keras.training.wire import connections, protocol
from spark_keras.training.worker import shard as shards
from spark_keras.training.worker import stacks
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.worker.minibatches import Minibatches
from spark_keras.training.worker.replica import Replica

# Between two signs of life of a worker that has much to do.
SIGN_SECONDS = 1.0


# Of a kernel, when jitCompile="measure" asks for the fastest.
MEASURED_CALLS = 6


class _Signs:
    """Tells the driver now and then that a worker gets on."""

    def __init__(self, line: connections.Line, sign: dict[str, Any]):
        self._line, self._sign, self._last = line, sign, time.monotonic()

    def give(self) -> None:
        now = time.monotonic()
        if now - self._last > SIGN_SECONDS:
            self._last = now
            self._line.send(self._sign)

    def among(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = iter(batches)
        while (batch := self._next(batches)) is not None:
            self.give()
            yield batch

    @staticmethod
    def _next(batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except Exception as error:
            # Nothing is computed here: the executor has died, or lost what the rows come from.
            raise ConnectionError(f"The rows of the worker broke off: {error}") from error


def _prepare(task: WorkerTask, training: bool) -> Callable[[dict[str, np.ndarray]], Any]:
    """What makes a stack's arrays into what the kernel takes. Of the task: a next one may find its replica, but names
    its columns itself.
    """
    from spark_keras.backend import arrays as backend_arrays

    finish, pack, to_tensor = task.columns.finish, task.columns.packer(), backend_arrays.to_tensor()
    return lambda arrays: pack({name: to_tensor(array) for name, array in finish(arrays, training).items()})


def _answer(
    line: connections.Line, replica: Replica, task: WorkerTask, shard: shards.Shard, minibatches: Minibatches
) -> int:
    """Answers requests until the driver says stop; returns the number of rounds."""
    from spark_keras.keras_model.state import State

    rounds = 0
    held = np.empty(0, "float32")
    phases = Phases()
    while True:
        header, arrays = _next(line)
        phases.lap("waiting")
        kind = header["type"]
        if kind == "stop":
            return rounds
        if kind == "fetch":
            start = header["start"]
            line.send({"type": "payload", "ticket": header["ticket"], "start": start}, [held[start : header["stop"]]])
            phases.lap("wire")
            continue
        started = time.perf_counter()
        state = State(*arrays) if "pull" not in header else _pull(line, header, arrays[0], task.piece)
        phases.lap("wire")
        if state is None:
            return rounds
        signs = _Signs(line, {"type": "progress", "ticket": header["ticket"]})
        if kind == "train":
            rounds += 1
            answer, arrays = _train(replica, task, minibatches, header, state, signs, phases)
        elif kind == "measure":
            answer, arrays = _measure(replica, minibatches, header, state), []
        else:
            answer, arrays = _evaluate(replica, task, shard, header, state, signs)
            phases.lap("evaluating")
        answer |= {"type": "done", "ticket": header["ticket"], "seconds": time.perf_counter() - started}
        answer["phases"] = phases.taken()
        shared = line.memory is not None and line.memory.fits(arrays)
        if len(arrays) == 3 and not shared and arrays[0].nbytes > task.inline_bytes:
            held, *arrays = arrays
            answer["held"] = len(held)
        line.send(answer, arrays)
        phases.lap("wire")
        if kind == "train":
            minibatches.look_ahead(header["frequency"])
            phases.lap("loading")


def _next(line: connections.Line) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What the driver says next."""
    parent = os.getppid()
    while True:
        # Spark's daemon, this process's parent, ends with the executor: then nobody will ever write again.
        while not line.wait(5000):
            if os.getppid() != parent:
                raise RuntimeError("The executor has ended.")
        header, arrays = line.receive()
        if header["type"] != "ping":  # by which the driver only finds out whether somebody is there
            return header, arrays


def _pull(line: connections.Line, header: dict[str, Any], integers: np.ndarray, piece: int) -> Any:
    """Receives a large state, one piece after the other; None, if the driver says stop meanwhile.

    Over a network the next one is on its way while one is copied. Shared memory has room for one.
    """
    from spark_keras.keras_model.state import State

    dtype, size = header["pull"]
    # The pieces come where these lie.
    integers = np.array(integers)
    values = np.empty(size, dtype)
    starts = list(range(0, size, piece))

    def ask(start: int) -> None:
        line.send({"type": "pull", "ticket": header["ticket"], "start": start, "stop": min(start + piece, size)})

    ahead = 2 if line.memory is None else 1
    for start in starts[:ahead]:
        ask(start)
    for index, start in enumerate(starts):
        said, arrays = _next(line)
        if said["type"] == "stop":
            return None
        stop = min(start + piece, size)
        if said["type"] != "piece" or said["ticket"] != header["ticket"] or said["start"] != start:
            raise protocol.Garbled(f"The driver sent {said['type']!r} instead of numbers {start} to {stop} of a state.")
        values[start:stop] = arrays[0]
        if index + ahead < len(starts):
            ask(starts[index + ahead])
    return State(values, integers)


def _train(
    replica: Replica, task: WorkerTask, minibatches: Minibatches, header: Any, state: Any, signs: _Signs, phases: Phases
) -> tuple[dict[str, Any], list[np.ndarray]]:
    from spark_keras.backend import base
    from spark_keras.keras_model.state import non_finite_variable

    start, metrics, rows, name, warnings = state, 0.0, 0, None, []
    for stack in minibatches.of_round(header["epoch"], header["start"], header["stop"], header["frequency"]):
        phases.lap("loading")
        seeds = minibatches.seeds(header["epoch"], stack.start, replica.seeds)
        wanted = base.for_few_steps(header["kernel"]) if stack.short else header["kernel"]
        # Each size of stack is a program of its own.
        new = replica.is_new(wanted, stack.rows if stack.short else task.batch_size, header["frequency"])
        result, ran, warning = replica.call(wanted, "train", state, seeds, stack.batches, stack.first, stack.steps)
        phases.lap("compiling" if new else "computing")
        state, metric_states = result
        name = ran if name is None or not stack.short else name
        metrics, rows = metrics + metric_states, rows + stack.rows
        warnings += [warning] if warning else []
        signs.give()
    answer = {"rows": rows, "kernel": name, "warning": " ".join(warnings) or None}
    answer["non_finite"] = non_finite_variable(replica.layout, start, state)
    phases.lap("computing")
    return answer, [*state, metrics] if rows else []


def _measure(replica: Replica, minibatches: Minibatches, header: Any, state: Any) -> dict[str, Any]:
    """Times kernels on the first stack of the first epoch; what cannot be compiled is left out."""
    frequency, seconds, warnings = header["frequency"], {}, []
    stack = next(minibatches.of_round(0, 0, frequency, frequency))
    for name in header["kernels"]:
        times = []
        for _ in range(MEASURED_CALLS):
            started = time.perf_counter()
            seeds = minibatches.seeds(0, stack.start, replica.seeds)
            _, ran, warning = replica.call(name, "train", state, seeds, stack.batches, stack.first, stack.steps)
            times.append(time.perf_counter() - started)
        if ran == name:
            seconds[name] = min(times[1:])  # the first one compiles
        warnings += [warning] if warning else []
    return {"rows": stack.rows, "kernels": seconds, "warning": " ".join(warnings) or None}


def _evaluate(
    replica: Replica, task: WorkerTask, shard: shards.Shard, header: Any, state: Any, signs: _Signs
) -> tuple[dict[str, Any], list[np.ndarray]]:
    from spark_keras.backend import base

    rows, metrics, warnings = shard.validation, 0.0, []
    wanted = base.for_few_steps(header["kernel"])
    order, last = shards.epoch_order(rows, 0, 0, 0, shuffle=False), -(-rows.count // task.batch_size)
    count = stacks.stack_count(rows, last, task.batch_size)
    prepare = _prepare(task, training=False)
    for stack in stacks.stacks(rows, order, 0, last, task.batch_size, count):
        metric_states, _, warning = replica.call(wanted, "evaluate", state, prepare(stack.batches), stack.steps)
        metrics = metrics + metric_states
        warnings += [warning] if warning else []
        signs.give()
    answer = {"rows": rows.count, "warning": " ".join(warnings) or None}
    return answer, [metrics] if rows.count else []
