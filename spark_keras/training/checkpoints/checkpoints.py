"""Checkpoints: all that a fit needs to go on to the same bits in another driver.

A checkpoint is one file, `checkpoint-<number>-<SHA-256 of its content>.npz`: numpy arrays, and JSON that describes
them. It gets this name when it is complete, and its content must have the sum that the name tells. Nothing in it is
unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import time
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from pyspark.sql import SparkSession

from spark_keras import temporary
from spark_keras.cluster import files
from spark_keras.keras_model.architecture import structure
from spark_keras.keras_model.state import State
from spark_keras.params.converters import interval_seconds
from spark_keras.training.checkpoints import callback_state
from spark_keras.training.checkpoints.snapshot import Position, Snapshot, _arrays, _described, _snapshot

logger = logging.getLogger(__name__)

FORMAT = 1
KEPT = 2

_FILE = re.compile(r"checkpoint-(\d{8})-([0-9a-f]{64})\.npz")
_UNFINISHED = re.compile(r"\.?_?checkpoint-.*\.unfinished")


class Checkpoints:
    """The checkpoints of one fit in one folder.

    Attributes:
        snapshot: what the last one held when the fit began; None: there was none.

    Args:
        folder: on any file system that Spark reaches.
        interval: epochs, or a time such as "30s".
        identity: what decides the fit's bits, by name; a checkpoint with another one is refused.
    """

    def __init__(self, spark: SparkSession, folder: str, interval: int | str, identity: dict[str, Any]):
        self._spark, self._folder, self._identity = spark, folder.rstrip("/") or "/", identity
        self._epochs = interval if isinstance(interval, int) else None
        self._seconds = math.inf if isinstance(interval, int) else interval_seconds(interval)
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
        self._number = _parts(names[-1])[0] if names else 0
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
        """The last checkpoint, when it is known that the workers have the same rows.

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
        """Tells whether a checkpoint is to be written here."""
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
            np.savez(local, **arrays)  # type: ignore[arg-type]  # no array is named `allow_pickle`
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
            if _digest(local) != _parts(name)[1]:
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
    """All that decides the bits of a fit, besides its rows.

    Args:
        state: before training, frozen weights included.
        params: what else decides, by name.
    """
    return {
        "model": hashlib.sha256(structure(model).encode()).hexdigest(),
        "initial weights": hashlib.sha256(state.values.tobytes() + state.integers.tobytes()).hexdigest(),
        "backend": keras.backend.backend(),
        "callbacks": callback_state.names(callbacks),
        **params,
    }


# --- the file ------------------------------------------------------------------------------------------------------


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _parts(name: str) -> tuple[int, str]:
    """The number and the digest in the name of a checkpoint."""
    _, number, digest = name.removesuffix(".npz").split("-")
    return int(number), digest
