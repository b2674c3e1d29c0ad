"""Params of weights: of the outputs of a row, and of classes."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import Param, Params

from spark_keras.params import converters


class HasWeightCols(Params):
    """Weights of a model with several outputs."""

    weightCols: Param[dict[str, str] | list[str]] = Param(
        Params._dummy(),
        "weightCols",
        'weight columns of a model with several outputs: {"output name": "column"}, or a list in the order of the '
        "model's outputs; instead of weightCol",
        converters.named_columns("weightCols"),
    )  # type: ignore[arg-type]

    def getWeightCols(self) -> dict[str, str] | list[str]:
        """Value of `weightCols` or its default."""
        return self.getOrDefault(self.weightCols)

    def setWeightCols(self, value: dict[str, str] | list[str]) -> Any:
        """Sets `weightCols`."""
        return self._set(weightCols=value)


class HasClassWeight(Params):
    """Weights of classes."""

    classWeight: Param[dict[int, float] | str] = Param(
        Params._dummy(),
        "classWeight",
        "what each class weighs while rows are trained, as Keras' class_weight: {class index: weight}, 1 for a class "
        'that is not named; or "balanced": n / (k · n_c) for a class with n_c of the n labels of k classes, as in '
        "scikit-learn, counted over the rows to train on; multiplied with weightCol",
        converters.class_weight,
    )  # type: ignore[arg-type]

    def getClassWeight(self) -> dict[int, float] | str:
        """Value of `classWeight` or its default."""
        return self.getOrDefault(self.classWeight)

    def setClassWeight(self, value: dict[int, float] | str) -> Any:
        """Sets `classWeight`."""
        return self._set(classWeight=value)
