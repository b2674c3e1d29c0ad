"""Readers and writers: Spark's own layout for Params, a normal `.keras` archive for the model, JSON for the summary."""

from __future__ import annotations

import pkgutil
import warnings
from typing import Any

from pyspark.ml.util import DefaultParamsReader, MLReadable, MLWritable
from typing_extensions import Self

from spark_keras.cluster.files import read_file, write_file
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params.row import UNSET
from spark_keras.params.table import OBJECT_PARAMS, TABLE
from spark_keras.stage_metadata import R, StageReader, StageWriter, save_metadata
from spark_keras.telemetry.summary import KerasTrainingSummary

MODEL_FILE = "model"
CODE_FILE = "code.json"
SUMMARY_FILE = "summary.json"


class KerasSaved(MLWritable, MLReadable):
    """A stage that is saved and loaded through Spark, on any file system that Spark reaches."""

    def write(self) -> StageWriter:
        """The stage's writer: `stage.write().overwrite().save(path)`."""
        return KerasWriter(self)

    @classmethod
    def read(cls) -> KerasReader[Self]:
        """The stage's reader: `Stage.read().load(path)`, or `Stage.read().safeMode(False).load(path)`."""
        return KerasReader(cls)

    @classmethod
    def load(cls, path: str) -> Self:
        """The stage that was saved at `path`: `read().load(path)`."""
        return cls.read().load(path)


class KerasWriter(StageWriter):
    """Writes `path/metadata` (Spark's own format), `path/model.keras`, `path/code.json` for a model with code of the
    user's own and, for a fitted model, `path/summary.json`.
    """

    def saveImpl(self, path: str) -> None:
        instance = self.instance
        params = {p.name: value for p, value in instance._paramMap.items() if p.name not in OBJECT_PARAMS}
        extra: dict[str, Any] = {}
        if instance.hasParam("modelFn") and instance.isSet("modelFn"):
            extra["modelFn"] = import_name("modelFn", instance.getModelFn())
        if instance.hasParam("callbacks") and instance.isSet("callbacks") and instance.getCallbacks():
            names = [type(callback).__name__ for callback in instance.getCallbacks()]
            warnings.warn(
                f"Callbacks are not saved, because Keras gives them no serialised form: {names}. "
                "Set them again on the loaded estimator.",
                RuntimeWarning,
                stacklevel=3,
            )
        attributes = getattr(instance, "_fit_attributes", None)
        if attributes:
            extra["attributes"] = attributes
        save_metadata(instance, path, self, {"keras": extra}, params)
        if instance.isSet("model"):
            archive = instance.getOrDefault("model")
            write_file(self.sparkSession, f"{path}/{MODEL_FILE}{archive.suffix}", archive.data)
            if archive.code:
                write_file(self.sparkSession, f"{path}/{CODE_FILE}", archive.code)
        summary = getattr(instance, "_summary", None)
        if summary is not None:
            write_file(self.sparkSession, f"{path}/{SUMMARY_FILE}", summary.toJSON().encode())


class KerasReader(StageReader[R]):
    """Reads what `KerasWriter` wrote; nothing in it is unpickled in safe mode."""

    _safe_mode = True

    def safeMode(self, value: bool) -> Self:
        """Refuses code that was saved with a model, such as that of `Lambda` layers, if True (the default). If False,
        it is unpickled when the model is used, so it must come from somebody whom you trust.
        """
        self._safe_mode = value
        return self

    def load(self, path: str) -> R:
        metadata = self.metadata(path)
        instance: Any = self.cls()
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        absent = {row.name: row.absent for row in TABLE.rows if row.absent is not UNSET}
        known = metadata["defaultParamMap"]
        instance._setDefault(**{k: v for k, v in absent.items() if instance.hasParam(k) and k not in known})
        extra = metadata.get("keras", {})
        if "modelFn" in extra:
            instance._set(modelFn=pkgutil.resolve_name(extra["modelFn"]))
        files = (read_file(self.sparkSession, f"{path}/{MODEL_FILE}{suffix}") for suffix in (".keras", ".h5"))
        data = next(filter(None, files), None)
        if data is not None:
            code = read_file(self.sparkSession, f"{path}/{CODE_FILE}")
            description = "saved Keras model"
            archive = KerasArchive(data, trusted=not self._safe_mode, description=description, code=code)
            instance._set(model=archive)
        summary = read_file(self.sparkSession, f"{path}/{SUMMARY_FILE}")
        if summary is not None:
            instance._summary = KerasTrainingSummary.fromJSON(summary.decode())
        if "attributes" in extra:
            instance._fit_attributes = extra["attributes"]
        return instance


def import_name(param: str, function: Any) -> str:
    """A function's name as it can be imported again, because a saved estimator holds no code."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__") or "<" in name or not name:
        raise ValueError(
            f"Param `{param}` cannot be saved. Received: {function!r}, which cannot be imported by name. Expected: a "
            "function of a module that is on the path where the estimator will be loaded"
            f"{'; or set `model` instead' if param == 'modelFn' else ''}."
        )
    return f"{module}:{name}"
