"""Readers and writers of EarlyStopping and its model: Spark's layout, with nested stages in folders of their own."""

from __future__ import annotations

import pkgutil
from typing import Any

from pyspark.ml.util import DefaultParamsReader, MLWritable
from typing_extensions import Self

from spark_keras.cluster import files
from spark_keras.early_stopping import conditions
from spark_keras.early_stopping.result import EarlyStoppingResult
from spark_keras.persistence import KerasReader, KerasSaved, import_name
from spark_keras.stage_metadata import R, StageWriter, connection, save_metadata

# Params whose values are Python objects; stages among them have folders of their own.
_OBJECTS = {"estimator", "evaluator", "scoreFunction", "conditions"}
_STAGES = ("estimator", "evaluator", "bestModel", "lastModel")
_RESULT_FILE = "result.json"


class NestedSaved(KerasSaved):
    """A stage with stages in it that is saved and loaded through Spark."""

    def write(self) -> StageWriter:
        """The stage's writer: `stage.write().overwrite().save(path)`."""
        return NestedWriter(self)

    @classmethod
    def read(cls) -> NestedReader[Self]:
        """The stage's reader: `Stage.read().load(path)`, or `Stage.read().safeMode(False).load(path)`."""
        return NestedReader(cls)


class NestedWriter(StageWriter):
    """Writes `path/metadata`, the nested stages each in a folder of its own, and a model's `path/result.json`."""

    def saveImpl(self, path: str) -> None:
        instance = self.instance
        values = {param.name: value for param, value in instance._paramMap.items()}
        extra: dict[str, Any] = {}
        if values.get("scoreFunction") is not None:
            extra["scoreFunction"] = import_name("scoreFunction", values["scoreFunction"])
        if values.get("conditions"):
            extra["conditions"] = [conditions.to_json(condition) for condition in values["conditions"]]
        stages = {name: values.get(name) or getattr(instance, name, None) for name in _STAGES}
        extra["stages"] = [name for name, stage in stages.items() if isinstance(stage, MLWritable)]
        plain = {name: value for name, value in values.items() if name not in _OBJECTS}
        save_metadata(instance, path, self, {"keras": extra}, plain)
        for name, stage in stages.items():
            if isinstance(stage, MLWritable):
                stage.write().save(f"{path}/{name}")
        result = getattr(instance, "_result", None)
        if result is not None:
            files.write_file(self.sparkSession, f"{path}/{_RESULT_FILE}", result.toJSON().encode())


class NestedReader(KerasReader[R]):
    """Reads what `NestedWriter` wrote; the safe mode is that of the nested stages."""

    def load(self, path: str) -> R:
        metadata = self.metadata(path)
        extra = metadata["keras"]
        stages = {name: self._stage(f"{path}/{name}") for name in extra["stages"]}
        models = {name: stage for name, stage in stages.items() if name.endswith("Model")}
        instance: Any = self.cls(**models)
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        instance._set(**{name: stage for name, stage in stages.items() if name not in models})
        if "scoreFunction" in extra:
            instance._set(scoreFunction=pkgutil.resolve_name(extra["scoreFunction"]))
        if "conditions" in extra:
            instance._set(conditions=[conditions.from_json(saved) for saved in extra["conditions"]])
        result = files.read_file(self.sparkSession, f"{path}/{_RESULT_FILE}")
        if result is not None:
            instance._result = EarlyStoppingResult.fromJSON(result.decode())
        return instance

    def _stage(self, path: str) -> Any:
        name = DefaultParamsReader.loadMetadata(path, connection(self))["class"].replace("org.apache.spark", "pyspark")
        reader = pkgutil.resolve_name(name).read()
        return (reader.safeMode(self._safe_mode) if isinstance(reader, KerasReader) else reader).load(path)
