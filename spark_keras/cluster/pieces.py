"""Bytes on their way to executors and to files of several pieces, where a session has neither broadcasts nor the JVM.

Executors import it: it needs nothing of Spark until it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

# The client takes messages of up to 128 MiB.
PIECE_BYTES = 2**24
COLUMNS = "piece int, content binary"


class SentFile(NamedTuple):
    """A file that a client has sent to its session, as an executor finds it.

    Args:
        name: its own in the session.
    """

    name: str

    @property
    def value(self) -> bytes:
        """Its content, as of a broadcast."""
        from pyspark import SparkFiles

        return Path(SparkFiles.get(self.name)).read_bytes()


def divided(sent: bytes | SentFile, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The pieces of a file, one batch for each; of the rows nothing is used."""
    for _ in batches:
        pass
    data = sent if isinstance(sent, bytes) else sent.value
    for piece, start in enumerate(range(0, max(1, len(data)), PIECE_BYTES)):
        content = pa.array([data[start : start + PIECE_BYTES]], pa.binary())
        yield pa.RecordBatch.from_arrays([pa.array([piece], pa.int32()), content], names=["piece", "content"])


def joined(path: Path) -> bytes:
    """The content of a file, or of a local folder with its pieces as Parquet."""
    if path.is_file():
        return path.read_bytes()
    import pyarrow.parquet as pq

    pieces = pq.read_table(path).sort_by("piece")
    return b"".join(piece.as_py() for piece in pieces.column("content"))
