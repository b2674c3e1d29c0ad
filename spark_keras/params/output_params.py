"""Params that say what a model's outputs mean, and in which form they are written."""

from __future__ import annotations

import math
from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters

from spark_keras.params import converters


def _margin(value: Any) -> float:
    number = TypeConverters.toFloat(value)
    if math.isnan(number):
        raise ValueError("Invalid value for Param `threshold`. Received: NaN. Expected: a number.")
    return number


class OutputTypeParams(Params):
    """What a classifier's output means."""

    outputType: Param[str] = Param(
        Params._dummy(),
        "outputType",
        'what the model gives: "probabilities", "logits" or "margins"; "auto": as its last activation, else its loss '
        "says",
        converters.one_of("outputType", "auto", "probabilities", "logits", "margins"),
    )  # type: ignore[arg-type]

    threshold: Param[float] = Param(
        Params._dummy(),
        "threshold",
        "of a model that gives one margin: the second of two classes is predicted where the margin is larger",
        _margin,
    )  # type: ignore[arg-type]

    def getOutputType(self) -> str:
        """Value of `outputType` or its default."""
        return self.getOrDefault(self.outputType)

    def setOutputType(self, value: str) -> Any:
        """Sets `outputType`."""
        return self._set(outputType=value)

    def getThreshold(self) -> float:
        """Value of `threshold` or its default."""
        return self.getOrDefault(self.threshold)

    def setThreshold(self, value: float) -> Any:
        """Sets `threshold`."""
        return self._set(threshold=value)


class OutputFormatParams(Params):
    """In which form outputs are written."""

    outputFormat: Param[str] = Param(
        Params._dummy(),
        "outputFormat",
        'how outputs are written: "array", with the model\'s shape, or "vector", flat in row-major order, for '
        "Spark's own stages",
        converters.one_of("outputFormat", "array", "vector"),
    )  # type: ignore[arg-type]

    def getOutputFormat(self) -> str:
        """Value of `outputFormat` or its default."""
        return self.getOrDefault(self.outputFormat)

    def setOutputFormat(self, value: str) -> Any:
        """Sets `outputFormat`."""
        return self._set(outputFormat=value)
