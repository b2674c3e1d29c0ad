"""Broadcasts, and files on any file system that Spark reaches."""

from __future__ import annotations

import os
from typing import Any

from spark_keras import temporary


def broadcast(spark: Any, value: Any) -> Any:
    return spark.sparkContext.broadcast(value)


def write_file(spark: Any, path: str, data: bytes) -> None:
    """Writes a file to any file system that Spark reaches."""
    file_system, target = _hadoop_path(spark, path)
    with temporary.folder() as folder:
        local = os.path.join(folder, "file")
        with open(local, "wb") as file:
            file.write(data)
        local_path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
        file_system.copyFromLocalFile(False, True, local_path, target)


def read_file(spark: Any, path: str) -> bytes | None:
    """Reads a file from any file system that Spark reaches; None if there is none."""
    file_system, source = _hadoop_path(spark, path)
    if not file_system.exists(source):
        return None
    with temporary.folder() as folder:
        local = os.path.join(folder, "file")
        local_path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
        file_system.copyToLocalFile(False, source, local_path, True)
        with open(local, "rb") as file:
            return file.read()


def list_folder(spark: Any, path: str) -> list[str]:
    """Names of what is in a folder of any file system that Spark reaches; none if there is no such folder."""
    file_system, folder = _hadoop_path(spark, path)
    if not file_system.exists(folder):
        return []
    return [status.getPath().getName() for status in file_system.listStatus(folder)]


def place_file(spark: Any, local: str, folder: str, name: str, unfinished: str) -> None:
    """Copies a local file into a folder of any file system that Spark reaches; it gets its name when it is whole.

    Args:
        unfinished: the name until then.
    """
    file_system, target = _hadoop_path(spark, folder)
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path
    file_system.mkdirs(target)
    file_system.copyFromLocalFile(False, True, path(f"file://{local}"), path(target, unfinished))
    if not file_system.rename(path(target, unfinished), path(target, name)):
        raise OSError(f"{folder}/{unfinished} could not be renamed to {name}.")


def fetch_file(spark: Any, path: str, local: str) -> None:
    """Copies a file of any file system that Spark reaches."""
    file_system, source = _hadoop_path(spark, path)
    target = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
    file_system.copyToLocalFile(False, source, target, True)


def fetch_model(spark: Any, path: str, local: str) -> bool:
    """Copies a file, or a folder with all in it, of any file system that Spark reaches; False if there is none."""
    file_system, source = _hadoop_path(spark, path)
    if not file_system.exists(source):
        return False
    target = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file://{local}")
    file_system.copyToLocalFile(False, source, target, True)
    return True


def delete_file(spark: Any, path: str) -> None:
    file_system, target = _hadoop_path(spark, path)
    file_system.delete(target, False)


def _hadoop_path(spark: Any, path: str) -> tuple[Any, Any]:
    hadoop_path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(path)
    return hadoop_path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), hadoop_path
