"""Checkpoints: all that a fit needs to go on to the same bits in another driver.

A checkpoint is one file, `checkpoint-<number>-<SHA-256 of its content>.npz`: numpy arrays, and JSON that describes
them. It gets this name when it is complete, and its content must have the sum that the name tells. Nothing in it is
unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras import temporary
from spark_keras.cluster import files
from spark_keras.keras_model.architecture import architecture
from spark_keras.keras_model.state import State
from spark_keras.params.converters import interval_seconds
from spark_keras.training import callback_state

logger = logging.getLogger(__name__)

FORMAT = 1
KEPT = 2

_FILE = re.compile(r"checkpoint-(\d{8})-([0-9a-f]{64})\.npz")
_OF_CALLBACKS = "callbacks "
_UNFINISHED = re.compile(r"\.?_?checkpoint-.*\.unfinished")


class Position(NamedTuple):
    """Where a fit stands: `minibatch` is the first one of the next round; `finished`: nothing is left to train."""

    epoch: int
    minibatch: int
    finished: bool = False


class Snapshot(NamedTuple):
    """A fit between two rounds.

    Args:
        position: what comes next.
        state: averaged.
        own: each worker's own, where optimizer states are local.
        metrics: sums of the epoch that has begun.
        rounds: averagings so far.
        non_finite: updates left out so far, for each worker.
        kernel: how rounds are compiled, as it was chosen.
        ran: how they were compiled in fact.
        callbacks: the callbacks' attributes, those of the history included.
        arrays: what these refer to.
    """

    position: Position
    state: State
    own: dict[int, State]
    metrics: np.ndarray
    rounds: int
    non_finite: list[int]
    kernel: str
    ran: str
    callbacks: list[dict[str, Any]]
    arrays: callback_state.Arrays


class Checkpoints:
    """The checkpoints of one fit in one folder.

    Attributes:
        snapshot: what the last one held when the fit began; None: there was none.

    Args:
        folder: on any file system that Spark reaches.
        interval: epochs, or a time such as "30s".
        identity: what decides the fit's bits, by name; a checkpoint with another one is refused.
    """

    def __init__(self, spark: Any, folder: str, interval: int | str, identity: dict[str, Any]):
        self._spark, self._folder, self._identity = spark, folder.rstrip("/") or "/", identity
        self._epochs = interval if isinstance(interval, int) else None
        self._seconds = None if isinstance(interval, int) else interval_seconds(interval)
        self._written = time.monotonic()
        self._rows: list[str] | None = None
        self._number = 0
        self._found: tuple[Snapshot, list[str]] | None = None
        self.snapshot: Snapshot | None = None

    def open(self) -> None:
        """Reads the last checkpoint, if there is one.

        Raises ValueError for one of another fit, or where all are damaged.
        """
        names = sorted(name for name in files.list_folder(self._spark, self._folder) if _FILE.fullmatch(name))
        self._number = int(_FILE.fullmatch(names[-1])[1]) if names else 0
        for name in reversed(names):
            try:
                described, arrays = self._read(name)
            except ValueError as error:
                logger.warning("The checkpoint %s/%s is damaged: %s", self._folder, name, error)
                continue
            self._require_same(described["identity"])
            self._found = _snapshot(described, arrays), described["rows"]
            logger.info("The fit goes on from %s/%s.", self._folder, name)
            return
        if names:
            raise ValueError(
                f"No checkpoint in Param `checkpointDir` can be read. Received: {self._folder!r} with {names}, whose "
                "content has other SHA-256 sums than their names. Expected: whole files. Delete them to start anew."
            )

    def resume(self, rows: list[str]) -> Snapshot | None:
        """What the last checkpoint holds, when it is known that the workers have the same rows.

        Args:
            rows: for each worker, the digest of its rows' content.
        """
        self._rows = rows
        if self._found is not None:
            snapshot, before = self._found
            other = [str(worker) for worker, (one, two) in enumerate(zip(rows, before)) if one != two]
            if other:
                raise self._refusal(
                    f"rows of worker{'s'[: len(other) > 1]} {', '.join(other)} (another content, or dealt out "
                    "otherwise because the DataFrame has other partitions)"
                )
            self.snapshot, self._found = snapshot, None
        return self.snapshot

    def due(self, position: Position) -> bool:
        """Whether a checkpoint is to be written here."""
        if position.finished:
            return True
        if self._epochs is not None:
            return position.minibatch == 0 and position.epoch % self._epochs == 0
        return time.monotonic() - self._written >= self._seconds

    def write(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint, and removes all but the last two."""
        arrays, described = _arrays(snapshot), _described(snapshot)
        described |= {"format": FORMAT, "identity": self._identity, "rows": self._rows}
        arrays["described"] = np.frombuffer(json.dumps(described).encode(), "uint8")
        self._number += 1
        with temporary.folder() as folder:
            local = os.path.join(folder, "checkpoint.npz")
            np.savez(local, **arrays)
            name = f"checkpoint-{self._number:08d}-{_digest(local)}.npz"
            files.place_file(self._spark, local, self._folder, name, f"_{name}.unfinished")
        self._written = time.monotonic()
        there = files.list_folder(self._spark, self._folder)
        old = sorted(name for name in there if _FILE.fullmatch(name))[:-KEPT]
        # A driver that was killed may have left the latter.
        for leftover in [*old, *(name for name in there if _UNFINISHED.fullmatch(name))]:
            files.delete_file(self._spark, f"{self._folder}/{leftover}")

    def _read(self, name: str) -> tuple[dict[str, Any], callback_state.Arrays]:
        with temporary.folder() as folder:
            local = os.path.join(folder, "checkpoint.npz")
            files.fetch_file(self._spark, f"{self._folder}/{name}", local)
            if _digest(local) != _FILE.fullmatch(name)[2]:
                raise ValueError("its content has another SHA-256 sum than its name")
            try:
                with np.load(local, allow_pickle=False) as file:
                    arrays = dict(file)
            except zipfile.BadZipFile as error:
                raise ValueError(str(error)) from error
        described = json.loads(arrays.pop("described").tobytes())
        if described["format"] != FORMAT:
            raise self._refusal(f"format {described['format']}, of another version of spark_keras")
        return described, arrays

    def _require_same(self, found: dict[str, Any]) -> None:
        expected = json.loads(json.dumps(self._identity))
        different = [
            f"{name} ({_short(found.get(name))}, in this fit {_short(expected.get(name))})"
            for name in {**expected, **found}
            if found.get(name) != expected.get(name)
        ]
        if different:
            raise self._refusal(", ".join(different))

    def _refusal(self, different: str) -> ValueError:
        return ValueError(
            f"Param `checkpointDir` holds a checkpoint of another fit. Received: {self._folder!r}, whose last "
            f"checkpoint differs in: {different}. Expected: the same model with the same initial weights, rows and "
            "Params, to go on; or another folder. Delete this one to start anew."
        )


# --- what a fit is -------------------------------------------------------------------------------------------------


def identity(model: keras.Model, state: State, callbacks: Sequence[Any], params: dict[str, Any]) -> dict[str, Any]:
    """What decides the bits of a fit, besides its rows.

    Args:
        state: before training.
        params: what else decides, by name.
    """
    return {
        "model": hashlib.sha256(architecture(model).encode()).hexdigest(),
        "initial weights": hashlib.sha256(state.values.tobytes() + state.integers.tobytes()).hexdigest(),
        "backend": keras.backend.backend(),
        "callbacks": callback_state.names(callbacks),
        **params,
    }


_in_use: set[tuple[str, str]] = set()
_in_use_lock = threading.Lock()


@contextlib.contextmanager
def exclusive(param: str, folder: str) -> Iterator[None]:
    """Refuses a folder that another fit of this process has in the same Param."""
    use = param, folder.rstrip("/")
    with _in_use_lock:
        if use in _in_use:
            raise ValueError(
                f"Param `{param}` is in use by another fit that runs now. Received: {folder!r}. Expected: a folder for "
                "each fit."
            )
        _in_use.add(use)
    try:
        yield
    finally:
        with _in_use_lock:
            _in_use.discard(use)


# --- the file ------------------------------------------------------------------------------------------------------


def _described(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "position": list(snapshot.position),
        "rounds": snapshot.rounds,
        "non_finite": snapshot.non_finite,
        "kernel": snapshot.kernel,
        "ran": snapshot.ran,
        "own": sorted(snapshot.own),
        "callbacks": snapshot.callbacks,
        "keras": keras.__version__,
    }


def _arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    arrays = {f"{_OF_CALLBACKS}{key}": array for key, array in snapshot.arrays.items()}
    arrays |= {"values": snapshot.state.values, "integers": snapshot.state.integers, "metrics": snapshot.metrics}
    for shard, state in snapshot.own.items():
        arrays |= {f"values {shard}": state.values, f"integers {shard}": state.integers}
    return arrays


def _snapshot(described: dict[str, Any], arrays: dict[str, np.ndarray]) -> Snapshot:
    of_callbacks = {name: array for name, array in arrays.items() if name.startswith(_OF_CALLBACKS)}
    return Snapshot(
        position=Position(*described["position"]),
        state=State(arrays["values"], arrays["integers"]),
        own={shard: State(arrays[f"values {shard}"], arrays[f"integers {shard}"]) for shard in described["own"]},
        metrics=arrays["metrics"],
        rounds=described["rounds"],
        non_finite=described["non_finite"],
        kernel=described["kernel"],
        ran=described["ran"],
        callbacks=described["callbacks"],
        arrays={name.removeprefix(_OF_CALLBACKS): array for name, array in of_callbacks.items()},
    )


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
