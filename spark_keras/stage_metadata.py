"""Metadata of saved stages: Spark's own, and the version of `spark_keras` that saved them."""

from __future__ import annotations

from typing import Any, TypeVar

import pyspark
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWriter,
)

from spark_keras.cluster import files
from spark_keras.version import __version__

R = TypeVar("R", bound=MLReadable)

# In metadata and in JSON. Readers do not need it: stages of 0.1.0 lack it.
VERSION = {"sparkKerasVersion": __version__}


class StageWritable(DefaultParamsWritable):
    """A stage that is saved by its Params alone."""

    def write(self) -> StageWriter:
        """The stage's writer: `stage.write().overwrite().save(path)`."""
        return StageWriter(self)


class StageWriter(DefaultParamsWriter):
    """Writes `path/metadata`."""

    instance: Any

    def __init__(self, instance: Any):
        super().__init__(instance)

    def save(self, path: str) -> None:
        """Saves the stage; a path that exists is an error, unless `overwrite()` was called."""
        # Spark's own does this on classic sessions alone.
        if self.shouldOverwrite:
            files.delete_folder(self.sparkSession, path)
        self.saveImpl(path)

    def saveImpl(self, path: str) -> None:
        save_metadata(self.instance, path, self)


class StageReader(DefaultParamsReader[R]):
    """Reads stages of one class."""

    cls: Any

    def __init__(self, cls: type[R]):
        super().__init__(cls)  # type: ignore[arg-type]  # it takes any class that can be read

    def metadata(self, path: str) -> dict[str, Any]:
        """`path/metadata`, where it is that of this class."""
        metadata: dict[str, Any] = self.loadMetadata(path, connection(self))
        expected = f"{self.cls.__module__}.{self.cls.__name__}"
        if metadata["class"] != expected:
            raise ValueError(f"{path} holds another stage. Received: {metadata['class']}. Expected: {expected}.")
        return metadata


def save_metadata(
    instance: Any, path: str, writer: MLWriter, extra: dict[str, Any] | None = None, params: Any = None
) -> None:
    """Writes `path/metadata`: class, uid, versions, Params (default: all that are set) and what is given as extra."""
    DefaultParamsWriter.saveMetadata(
        instance, path, connection(writer), extraMetadata={**VERSION, **(extra or {})}, paramMap=params
    )


def connection(io: MLReader | MLWriter) -> Any:
    """Argument that Spark's own writers and readers of metadata want: the session since 4.0, its context before."""
    return io.sparkSession if int(pyspark.__version__.split(".")[0]) >= 4 else io.sc
