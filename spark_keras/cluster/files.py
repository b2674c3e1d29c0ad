"""Bytes that executors get, and files on any file system that Spark reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from spark_keras import temporary
from spark_keras.cluster.classic import Classic
from spark_keras.cluster.kinds import kind_of
from spark_keras.cluster.pieces import joined


def send(spark: SparkSession, data: bytes, digest: str) -> Any:
    """Makes bytes known to executors, whose functions find them as the attribute `value`; `digest` tells them apart."""
    return kind_of(spark).send(data, digest)


def write_file(spark: SparkSession, path: str, data: bytes) -> None:
    """Writes a file to any file system that Spark reaches; from Spark Connect, as a folder with its pieces."""
    kind_of(spark).write(path, data)


def read_file(spark: SparkSession, path: str) -> bytes | None:
    """Reads what `write_file` wrote, with whichever session; None if there is nothing."""
    with temporary.folder() as folder:
        local = Path(folder, "file")
        return joined(local) if fetch_file(spark, path, str(local)) else None


def fetch_file(spark: SparkSession, path: str, local: str) -> bool:
    """Copies a file, or a folder with all in it, of any file system that Spark reaches; False if there is none."""
    return kind_of(spark).fetch(path, local)


def delete_folder(spark: SparkSession, path: str) -> None:
    """Deletes a file, or a folder with all in it, if there is one."""
    kind_of(spark).delete(path)


# --- what checkpoints need; with a classic session ---


def list_folder(spark: SparkSession, path: str) -> list[str]:
    """Names of what is in a folder of any file system that Spark reaches; none if there is no such folder."""
    file_system, folder = Classic(spark).hadoop_path(path)
    if not file_system.exists(folder):
        return []
    return [status.getPath().getName() for status in file_system.listStatus(folder)]


def place_file(spark: SparkSession, local: str, folder: str, name: str, unfinished: str) -> None:
    """Copies a local file into a folder of any file system that Spark reaches; it gets its name when it is whole.

    Args:
        unfinished: the name until then.
    """
    classic = Classic(spark)
    file_system, target = classic.hadoop_path(folder)
    path = classic.path_class
    file_system.mkdirs(target)
    file_system.copyFromLocalFile(False, True, path(f"file://{local}"), path(target, unfinished))
    if not file_system.rename(path(target, unfinished), path(target, name)):
        raise OSError(f"{folder}/{unfinished} could not be renamed to {name}.")


def delete_file(spark: SparkSession, path: str) -> None:
    file_system, target = Classic(spark).hadoop_path(path)
    file_system.delete(target, False)
