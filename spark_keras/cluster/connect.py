"""A session of Spark Connect: DataFrames, and files that a client sends; no JVM and no context."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import weakref
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

from pyspark import InheritableThread
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_keras import temporary
from spark_keras.cluster import session
from spark_keras.cluster.pieces import SentFile

# Digests of what each session has, so that nothing is sent twice.
_sent: weakref.WeakKeyDictionary[SparkSession, set[str]] = weakref.WeakKeyDictionary()
_sending = threading.Lock()

# The client takes messages of up to 128 MiB, and so does a task.
PIECE_BYTES = 2**24
_WRITTEN_BYTES = 2**25


class Connect:
    """The means of `kinds.Kind` without a JVM."""

    master = ""

    def __init__(self, spark: SparkSession):
        self._spark: Any = spark

    @property
    def application(self) -> str:
        return self._spark.session_id

    @property
    def python(self) -> str:
        return session.setting(self._spark, "spark.pyspark.python", "python3")

    # --- executors and jobs ---

    def slots(self) -> int | None:
        return None

    def hosts(self) -> int:
        return 1

    def row_statistics(self, dataset: DataFrame) -> tuple[int | None, int | None]:
        return None, None

    def send(self, data: bytes, digest: str) -> SentFile:
        name = f"{temporary.PREFIX}{digest}"
        with _sending:
            known = _sent.setdefault(self._spark, set())
            if digest not in known:
                with temporary.folder() as folder:
                    local = Path(folder, name)
                    local.write_bytes(data)
                    self._spark.addArtifact(str(local), file=True)
                known.add(digest)
        return SentFile(name)

    def thread(self, target: Callable[[], None]) -> threading.Thread:
        return InheritableThread(target=target, session=self._spark, daemon=True)

    def begin_jobs(self, group: str, description: str) -> None:
        self._spark.addTag(group)

    def cancel_jobs(self, group: str) -> None:
        self._spark.interruptTag(group)

    def described(self, description: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def on_executor(self, function: Callable[[Any], Any]) -> Any:
        told = F.udf(lambda value: json.dumps(function(value)))
        ((answer,),) = self._spark.range(1, numPartitions=1).select(told("id")).collect()
        return json.loads(answer)

    # --- files: Spark reads any as rows, and writes rows in folders ---

    def fetch(self, path: str, local: str) -> bool:
        found = self._spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path)
        pieces = f"sequence(0L, greatest(length - 1, 0L) div {PIECE_BYTES})"
        content = f"substring(content, int(piece * {PIECE_BYTES} + 1), {PIECE_BYTES})"
        rows = found.select("path", "content", F.explode(F.expr(pieces)).alias("piece"))
        try:
            for name, piece, part in rows.select("path", "piece", F.expr(content)).toLocalIterator():
                target = Path(local + _below(name, path))
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "r+b" if target.exists() else "wb") as file:
                    file.seek(piece * PIECE_BYTES)
                    file.write(part)
        except AnalysisException as error:
            if "[PATH_NOT_FOUND]" in str(error):
                return False
            raise
        if not Path(local).exists():
            # Spark gives no row for an empty file.
            Path(local).touch()
        return True

    def write(self, path: str, data: bytes) -> None:
        pieces = [(piece, data[start : start + PIECE_BYTES]) for piece, start in enumerate(_steps(data, PIECE_BYTES))]
        count = max(1, _WRITTEN_BYTES // PIECE_BYTES)
        # By the session's JVM alone: a save needs no Python of the executors, as on a classic session.
        for start in _steps(pieces, count):
            rows = self._spark.createDataFrame(pieces[start : start + count], "piece int, content binary")
            mode = "append" if start else "overwrite"
            rows.write.mode(mode).option("compression", "none").parquet(path)

    def delete(self, path: str) -> None:
        from pyspark.ml.connect.readwrite import RemoteMLWriter

        RemoteMLWriter.handleOverwrite(path, True)


def _below(name: str, path: str) -> str:
    """The part of a file's URI behind the path by which it was found; "" for the path itself."""
    whole, start = (re.sub(r"^[A-Za-z][A-Za-z0-9+.-]+:(//[^/]*(?=/))?", "", each).rstrip("/") for each in (name, path))
    # A path without a beginning is one of the server's own folder.
    return whole[whole.index(start) + len(start) :]


def _steps(whole: Sized, step: int) -> range:
    """The beginnings of the parts, of which there is one at least."""
    return range(0, max(1, len(whole)), step)
