"""Bytes where a session has neither broadcasts nor the JVM: on executors, and in files of several pieces.

Executors import it: it needs nothing of Spark until it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


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


def joined(path: Path) -> bytes:
    """The content of a file, or of a local folder with its pieces as Parquet."""
    if path.is_file():
        return path.read_bytes()
    import pyarrow.parquet as pq

    pieces = pq.read_table(path).sort_by("piece")
    return b"".join(piece.as_py() for piece in pieces.column("content"))
