"""Record of what happened when in a fit: collected round by round, of a size that does not grow with the fit."""

from __future__ import annotations

import functools
import heapq
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from spark_keras.keras_model.state import Layout, State
from spark_keras.telemetry.phases import NOTHING, PHASES

# What the driver does. Its "waiting" is for the workers.
DRIVER_PHASES = ("waiting", "averaging", "evaluating", "callbacks", "checkpoints")

# Numbers of all records together, and how many of the slowest rounds and of the epochs' magnitudes are kept.
_NUMBERS = 60_000
_SLOWEST = 10
_MAGNITUDES = 200

# Answers of workers that are settled together.
_ANSWERS = 2000

# What a worker told with an answer: its shard, the rows that it has trained, its seconds by phase.
WorkerReport = tuple[int, int, Sequence[float]]

# Parameters that are looked at for their magnitudes.
_PARAMETERS = 2**20


class Timeline:
    """Records of consecutive rounds. When there are too many, each two that follow each other become one.

    A record: {"epoch", "round" (of its first round, from 1 on), "rounds", "began" (seconds since the fit's first
    round), "seconds", "driver" (by phase), "rows" (by worker), "workers" (by worker, then by phase)}.

    Args:
        workers: their number.
        layout: of the states.
    """

    def __init__(self, workers: int, layout: Layout):
        self._workers = workers
        self._limit = max(16, _NUMBERS // (workers * (len(PHASES) + 1) + len(DRIVER_PHASES)))
        self._records: list[dict[str, Any]] = []
        # Rounds in a record; the last one may have fewer.
        self._stride = 1
        self._slowest: list[tuple[float, int, int]] = []
        self._rounds = 0
        self._origin = time.perf_counter()
        self._epoch_rows, self._epoch_seconds = [0] * workers, 0.0
        self._magnitudes = _Magnitudes(layout)
        self._notes: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # --- what happens ---

    def begin(self, state: State) -> None:
        """Training begins now, with this state."""
        self._origin = time.perf_counter()
        self._magnitudes.begin(state)

    def round(self, epoch: int, seconds: float, waited: float, told: Sequence[WorkerReport]) -> None:
        """A round ended now that began `seconds` ago, of which the driver has waited for `waited`."""
        # Between two rounds the core's caches are full of what workers compute, and each step of Python takes several
        # times as long as when many notes are settled in a row.
        notes = self._notes
        notes.append((self._round, (epoch, time.perf_counter(), seconds, waited, told)))
        if len(notes) * self._workers > _ANSWERS:
            self._settle()

    def evaluation(self, told: Sequence[WorkerReport]) -> None:
        """Adds what workers told when they had evaluated."""
        self._notes.append((self._workers_told, (told,)))

    def driver(self, phase: str, seconds: float) -> None:
        """Adds what the driver did beside."""
        self._notes.append((self._driver, (phase, seconds)))

    def epoch(self, epoch: int, state: State) -> list[float]:
        """An epoch ended with this state; returns each worker's rows/s in it, over the time of its rounds."""
        self._settle()
        self._magnitudes.add(epoch + 1, state)
        rates = [rows / max(self._epoch_seconds, 1e-9) for rows in self._epoch_rows]
        self._epoch_rows, self._epoch_seconds = [0] * self._workers, 0.0
        return rates

    # --- notes, and the records that are made of them ---

    def _settle(self) -> None:
        for settle, told in self._notes:
            settle(*told)
        self._notes.clear()

    def _round(self, epoch: int, ended: float, seconds: float, waited: float, told: Sequence[WorkerReport]) -> None:
        self._rounds += 1
        self._epoch_seconds += seconds
        self._slowest = heapq.nlargest(_SLOWEST, [*self._slowest, (seconds, self._rounds, epoch + 1)])
        record = self._records[-1] if self._records else None
        if record is None or record["rounds"] >= self._stride or record["epoch"] != epoch + 1:
            began = ended - self._origin - seconds
            record = self._new(epoch, began)
            self._records.append(record)
            if len(self._records) > self._limit:
                self._stride *= 2
                self._records = [together(self._records[i : i + 2]) for i in range(0, len(self._records), 2)]
                record = self._records[-1]
        record["rounds"] += 1
        record["seconds"] = ended - self._origin - record["began"]
        self._driver("waiting", waited)
        self._driver("averaging", seconds - waited)
        self._workers_told(told)

    def _workers_told(self, told: Sequence[WorkerReport]) -> None:
        """In the newest record."""
        if self._records:
            record = self._records[-1]
            for shard, rows, phases in told:
                record["rows"][shard] += rows
                self._epoch_rows[shard] += rows
                record["workers"][shard] = _sums(record["workers"][shard], phases)

    def _driver(self, phase: str, seconds: float) -> None:
        if self._records:
            self._records[-1]["driver"][DRIVER_PHASES.index(phase)] += seconds

    def _new(self, epoch: int, began: float) -> dict[str, Any]:
        return {
            "epoch": epoch + 1,
            "round": self._rounds,
            "rounds": 0,
            "began": began,
            "seconds": 0.0,
            # Lists: numpy takes longer than Python for so few numbers at a time.
            "driver": [0.0] * len(DRIVER_PHASES),
            "rows": [0] * self._workers,
            "workers": [NOTHING] * self._workers,
        }

    # --- what is told ---

    def described(self, joined: Iterable[dict[str, float]]) -> dict[str, Any]:
        """As JSON can hold it.

        Args:
            joined: what each worker told when it joined: seconds to "load" its rows, to "awaitImport" of Keras when
                they were loaded, and to "build" its model; and of the whole "import", which began with the loading.
        """
        self._settle()
        return {
            "phases": list(PHASES),
            "driverPhases": list(DRIVER_PHASES),
            "start": [dict(seconds) for seconds in joined],
            "records": _plain(self._records),
            "slowest": [
                {"seconds": round(seconds, 6), "round": number, "epoch": epoch}
                for seconds, number, epoch in self._slowest
            ],
            "magnitudes": self._magnitudes.described(),
        }


def together(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of several that follow each other."""
    return functools.reduce(_both, records)


def _both(first: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    return {
        **first,
        "seconds": last["began"] + last["seconds"] - first["began"],
        "rounds": first["rounds"] + last["rounds"],
        "driver": _sums(first["driver"], last["driver"]),
        "rows": _sums(first["rows"], last["rows"]),
        "workers": list(map(_sums, first["workers"], last["workers"])),
    }


def _sums(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return list(map(operator.add, one, other))


def _plain(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not records:
        return []
    driver, workers = (np.round([record[name] for record in records], 6).tolist() for name in ("driver", "workers"))
    return [
        {
            **record,
            "began": round(record["began"], 6),
            "seconds": round(record["seconds"], 6),
            "driver": driver[index],
            "workers": workers[index],
        }
        for index, record in enumerate(records)
    ]


class _Magnitudes:
    """Root mean squares of each layer's parameters, and of what an epoch has added to them.

    Of a large model they are those of evenly spaced parameters, so that no second state of it is kept for this.
    """

    def __init__(self, layout: Layout):
        step = -(-layout.weight_sizes[0] // _PARAMETERS) or 1
        layers: dict[str, list[slice]] = {}
        for entry in layout.entries:
            if not entry.integer and entry.stop <= layout.weight_sizes[0]:
                layer = entry.path.rpartition("/")[0] or entry.path
                layers.setdefault(layer, []).append(slice(entry.start, entry.stop, step))
        self._layers = layers
        self._before: list[np.ndarray] = []
        # (epoch, parameters by layer, updates by layer)
        self._epochs: list[tuple[int, list[float], list[float]]] = []

    def begin(self, state: State) -> None:
        self._before = self._sampled(state)

    def add(self, epoch: int, state: State) -> None:
        now = self._sampled(state)
        updates = [values - before for values, before in zip(now, self._before)]
        self._epochs.append((epoch, list(map(_root_mean_square, now)), list(map(_root_mean_square, updates))))
        self._before = now
        if len(self._epochs) > _MAGNITUDES:
            # Each second one, the last one in any case.
            del self._epochs[-2::-2]

    def _sampled(self, state: State) -> list[np.ndarray]:
        return [np.concatenate([state.values[part] for part in parts]) for parts in self._layers.values()]

    def described(self) -> dict[str, Any]:
        names = ("epochs", "parameters", "updates")
        columns = {name: [each[index] for each in self._epochs] for index, name in enumerate(names)}
        return {"layers": list(self._layers), **columns}


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values, dtype="float64").mean())) if len(values) else 0.0
