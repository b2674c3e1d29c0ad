"""The ceiling: the kernel of spark_keras on one worker's share of the rows, without driver, wire and averaging.

One process is one worker; the benchmark starts two of them on the same command.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.data import read
from benchmarks.serving import serve
from spark_keras.executor import process

# Threads are those of a worker, and they are settled before Keras is imported.
process.prepare(process.ProcessSettings(1, os.environ["KERAS_BACKEND"], "float32", ()))

from benchmarks import models  # noqa: E402
from spark_keras.backend import arrays, choose, kernels  # noqa: E402
from spark_keras.keras_model import first_step, state  # noqa: E402

_prepared: dict[str, Any] = {}


def prepare(
    data: str, network: str, epochs: int, batch: int, frequency: int, part: int, parts: int, seed: int = 0
) -> dict[str, Any]:
    """Makes the rounds and compiles the kernel.

    Args:
        part, parts: which share of the rows.
    """
    x, y = (array[part::parts] for array in read(data))
    y = y.astype("int32")
    model = models.compiled(network, seed)
    first_step.build_symbolically(model, (x[:7], y[:7]))
    layout = state.layout_of(model)
    minibatches = len(x) // batch
    compiled = kernels.make(choose.choose(model, epochs * minibatches, batch).kernel, model, layout)
    random_states = np.zeros((len(state.seed_variables(model)), 2), "int32")
    rounds = []
    for start in range(0, minibatches, frequency):
        steps = min(frequency, minibatches - start)
        rows = np.arange(start * batch, (start + steps) * batch)
        # A shorter last round is filled up with rows that are not trained, as on a worker.
        stacked = np.resize(rows, (frequency, batch))
        rounds.append((random_states, tuple(map(arrays.to_tensor(), (x[stacked], y[stacked]))), 0, steps))
    first = state.read(model, layout)
    compiled.train(first, *rounds[0])
    _prepared.update(model=model, layout=layout, kernel=compiled, first=first, rounds=rounds, epochs=epochs)
    _prepared.update(rows=minibatches * batch, network=network, data=data)
    return {}


def train() -> dict[str, Any]:
    """Trains what was prepared, as many epochs as the other competitors."""
    compiled, trained, seconds = _prepared["kernel"], _prepared["first"], []
    for _ in range(_prepared["epochs"]):
        started = time.perf_counter()
        for arguments in _prepared["rounds"]:
            trained = compiled.train(trained, *arguments).state
        seconds.append(time.perf_counter() - started)
    state.write(_prepared["model"], _prepared["layout"], trained)
    warm = statistics.median(seconds[1:])
    return {
        "rate": _prepared["rows"] / warm,
        "loss": models.loss_of(_prepared["model"].get_weights(), _prepared["network"], _prepared["data"]),
        "milliseconds per round": 1000 * warm / len(_prepared["rounds"]),
        "kernel": compiled.name,
    }


if __name__ == "__main__":
    serve(prepare=prepare, train=train)
