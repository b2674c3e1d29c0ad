"""A worker's connection to the driver: requests come, answers go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from spark_keras.telemetry.phases import Phases
from spark_keras.training import requests
from spark_keras.training.wire import connections, protocol
from spark_keras.training.worker.closure import WorkerTask
from spark_keras.training.worker.shard_worker import ShardWorker

# Between two signs of life of a worker that has much to do.
SIGN_SECONDS = 1.0


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


def serve(line: connections.Line, worker: ShardWorker, task: WorkerTask) -> int:
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
        request = requests.of_message(header)
        rounds += isinstance(request, requests.Train)
        heartbeat = _Signs(line, {"type": "progress", "ticket": header["ticket"]})
        done = worker.answer(request, state, phases, heartbeat.give)
        answer = {"type": "done", "ticket": header["ticket"], "rows": done.rows, "kernel": done.kernel}
        answer |= {"warning": done.warning, "non_finite": done.non_finite, "kernels": done.kernels}
        answer |= {"seconds": time.perf_counter() - started, "phases": phases.taken()}
        arrays = [*(done.state or ()), *([] if done.metrics is None else [done.metrics])]
        shared = line.memory is not None and line.memory.fits(arrays)
        if len(arrays) == 3 and not shared and arrays[0].nbytes > task.inline_bytes:
            held, *arrays = arrays
            answer["held"] = len(held)
        line.send(answer, arrays)
        phases.lap("wire")
        worker.look_ahead(request)
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
