"""Broadcasts, and files on any file system that Spark reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from spark_keras import temporary


def broadcast(spark: SparkSession, value: Any) -> Any:
    return spark.sparkContext.broadcast(value)


def write_file(spark: SparkSession, path: str, data: bytes) -> None:
    """Writes a file to any file system that Spark reaches."""
    file_system, target = _hadoop_path(spark, path)
    with temporary.folder() as folder:
        local = Path(folder, "file")
        local.write_bytes(data)
        file_system.copyFromLocalFile(False, True, _path_class(spark)(f"file://{local}"), target)


def read_file(spark: SparkSession, path: str) -> bytes | None:
    """Reads a file from any file system that Spark reaches; None if there is none."""
    with temporary.folder() as folder:
        local = Path(folder, "file")
        return local.read_bytes() if fetch_file(spark, path, str(local)) else None


def list_folder(spark: SparkSession, path: str) -> list[str]:
    """Names of what is in a folder of any file system that Spark reaches; none if there is no such folder."""
    file_system, folder = _hadoop_path(spark, path)
    if not file_system.exists(folder):
        return []
    return [status.getPath().getName() for status in file_system.listStatus(folder)]


def place_file(spark: SparkSession, local: str, folder: str, name: str, unfinished: str) -> None:
    """Copies a local file into a folder of any file system that Spark reaches; it gets its name when it is whole.

    Args:
        unfinished: the name until then.
    """
    file_system, target = _hadoop_path(spark, folder)
    path = _path_class(spark)
    file_system.mkdirs(target)
    file_system.copyFromLocalFile(False, True, path(f"file://{local}"), path(target, unfinished))
    if not file_system.rename(path(target, unfinished), path(target, name)):
        raise OSError(f"{folder}/{unfinished} could not be renamed to {name}.")


def fetch_file(spark: SparkSession, path: str, local: str) -> bool:
    """Copies a file, or a folder with all in it, of any file system that Spark reaches; False if there is none."""
    file_system, source = _hadoop_path(spark, path)
    if not file_system.exists(source):
        return False
    file_system.copyToLocalFile(False, source, _path_class(spark)(f"file://{local}"), True)
    return True


def delete_file(spark: SparkSession, path: str) -> None:
    file_system, target = _hadoop_path(spark, path)
    file_system.delete(target, False)


def _path_class(spark: SparkSession) -> Any:
    jvm: Any = spark.sparkContext._jvm
    return jvm.org.apache.hadoop.fs.Path


def _hadoop_path(spark: SparkSession, path: str) -> tuple[Any, Any]:
    hadoop_path = _path_class(spark)(path)
    return hadoop_path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), hadoop_path
