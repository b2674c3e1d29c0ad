"""Base of all estimators: Params, persistence, and a fit that is handed to the trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import keras
from pyspark.ml import Estimator, Transformer
from pyspark.ml.param import Param
from pyspark.sql import DataFrame
from typing_extensions import Self

from spark_keras.keras_model import optimizers as optimizer_parts
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.signature import Tensor
from spark_keras.params.values import param_or_none
from spark_keras.persistence import KerasSaved
from spark_keras.telemetry.summary import KerasTrainingSummary
from spark_keras.training.cached_shards import CachedShards
from spark_keras.training.planned import Planned
from spark_keras.training.trainer import Trainer

M = TypeVar("M", bound=Transformer)


class BaseEstimator(Planned, KerasSaved, Estimator[M]):
    """An estimator that trains a Keras model on the executors; M is the class of its models."""

    _classifies = False
    _model_class: type[M]

    # A fit by itself keeps nothing.
    _kept_rows = CachedShards([])

    def fitMultiple(self, dataset: DataFrame, paramMaps: Sequence[dict[Param[Any], Any]]) -> Iterator[tuple[int, M]]:
        """One fit for each map of Params, as `CrossValidator` and `TrainValidationSplit` ask for.

        Spark keeps the rows of fits that train on the same ones, from one fit to the next, as `DataFrame.persist` does:
        in memory, or on disk where that is full. When the last of them has ended they are let go.

        Args:
            paramMaps: for each fit the values of Params, by Param.

        Returns:
            an iterator over (index of the map, fitted model), which several threads may share.
        """
        return super(BaseEstimator, self._keeping_rows(paramMaps)).fitMultiple(dataset, paramMaps)

    def _keeping_rows(self, param_maps: Sequence[dict[Param[Any], Any]]) -> Self:
        """A copy whose copies have their rows kept for each other: one for each map."""
        keeping = self.copy()
        keeping._kept_rows = CachedShards(self.copy(each) for each in param_maps)
        return keeping

    def _set(self, **kwargs: Any) -> Self:
        model = kwargs.get("model")
        if isinstance(model, keras.Model) and optimizer_parts.excludes_from_weight_decay(
            getattr(model, "optimizer", None)
        ):
            raise ValueError(
                "The optimizer of the model in Param `model` was told to exclude_from_weight_decay(…), which no .keras "
                "archive keeps. Expected: Param `modelFn`, a function that builds the model and says so."
            )
        return super()._set(**kwargs)

    def _fit(self, dataset: DataFrame) -> M:
        with self._kept_rows.during_fit(self):
            return Trainer(self).train(dataset)

    # --- the model ---

    def _fitted(
        self, dataset: DataFrame, model: keras.Model, summary: KerasTrainingSummary | None, outputs: tuple[Tensor, ...]
    ) -> M:
        fitted: Any = self._make_model(dataset, KerasArchive.of(model), outputs)
        # batchSize means a minibatch here and a forward pass there.
        own = {self.getParam("batchSize"), self.getParam("model")}
        shared = {param: value for param, value in self._paramMap.items() if param not in own}
        for param, value in shared.items():
            if fitted.hasParam(param.name):
                fitted._set(**{param.name: value})
        fitted._resetUid(self.uid)
        fitted._summary = summary
        return fitted

    def _make_model(self, dataset: DataFrame, archive: KerasArchive, outputs: tuple[Tensor, ...]) -> M:
        return self._model_class(model=archive)  # type: ignore[call-arg]  # as all of our models do

    # --- checks ---

    def _output_params(self) -> list[str]:
        return ["predictionCol"]

    def _new_columns(self) -> list[tuple[str, str]]:
        """(Param, name) of each column that the fitted model will write, as far as the Params tell."""
        named = [(name, param_or_none(self, name)) for name in self._output_params()]
        return [(name, column) for name, column in named if column]

    def _check_outputs(self, dataset: DataFrame, model: keras.Model, outputs: tuple[Tensor, ...]) -> None:
        """Refuses a model whose outputs do not fit the kind of estimator."""
