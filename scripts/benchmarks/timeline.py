"""What the timeline of a fit costs; it cannot be turned off, so its own calls are timed."""

from __future__ import annotations

import contextlib
import functools
import time
import timeit
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks import models
from benchmarks.sessions import cached_rows
from spark_keras import KerasClassifier
from spark_keras.telemetry.phases import Phases, checked
from spark_keras.telemetry.timeline import Timeline

# What a worker notes in a round of one stack, in this order.
LAPS = ("waiting", "wire", "loading", "computing", "computing", "wire", "loading")
# Methods by which the driver notes something.
CALLS = ("begin", "round", "evaluation", "driver", "epoch", "described")
REPEATS = 20_000


def cost(data: str, network: str, epochs: int, batch: int, frequency: int, seed: int = 0) -> dict[str, Any]:
    """Seconds of the driver's calls in a fit, and those that a worker's take in as many rounds.

    The workers' are timed here, because those of a fit are in other processes. Workers note at the same time, so that
    one of them counts, and the driver reads what all of them tell.
    """
    df = cached_rows(data)
    with _timed() as spent:
        summary = (
            KerasClassifier(
                model=models.compiled(network, seed),
                epochs=epochs,
                batchSize=batch,
                globalBatch=False,
                averagingFrequency=frequency,
                seed=seed,
                verbose=0,
            )
            .fit(df)
            .summary
        )
    noting = timeit.timeit(functools.partial(_note, Phases()), number=REPEATS) / REPEATS
    told = msgspec.json.encode(_note(Phases()))
    reading = timeit.timeit(lambda: checked(msgspec.json.decode(told)), number=REPEATS) / REPEATS
    seconds = spent["seconds"] + summary.rounds * (noting + summary.numWorkers * reading)
    return {
        "driver": 1e6 * spent["seconds"] / summary.rounds,
        "worker": 1e6 * noting,
        "round": 1e6 * summary.seconds["train"] / summary.rounds,
        "share": 100 * seconds / summary.seconds["train"],
    }


def _note(phases: Phases) -> list[float]:
    for phase in LAPS:
        phases.lap(phase)
    told = phases.taken()
    msgspec.json.encode(told)  # it travels so
    return told


@contextlib.contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Adds up the seconds in all calls of the timeline, the timing of them included."""
    spent = {"seconds": 0.0, "depth": 0}
    kept = {name: getattr(Timeline, name) for name in CALLS}

    def timed(method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            spent["depth"] += 1
            try:
                return method(*arguments)
            finally:
                spent["depth"] -= 1
                # One call may make another.
                if not spent["depth"]:
                    spent["seconds"] += time.perf_counter() - started

        return call

    for name, method in kept.items():
        setattr(Timeline, name, timed(method))
    try:
        yield spent
    finally:
        for name, method in kept.items():
            setattr(Timeline, name, method)
