"""KerasEstimator, KerasClassifier and KerasRegressor: Params in, fitted model out."""

from __future__ import annotations

import keras
from pyspark.sql import DataFrame

from spark_keras.base_estimator import BaseEstimator
from spark_keras.columns import names as column_names
from spark_keras.columns import output_meaning
from spark_keras.keras_model import signature
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.keras_model.signature import Tensor
from spark_keras.model import KerasClassificationModel, KerasModel, KerasRegressionModel
from spark_keras.params.constructors import KerasClassifierParams, KerasEstimatorParams, KerasRegressorParams
from spark_keras.params.values import param_or_none


class KerasEstimator(KerasEstimatorParams, BaseEstimator[KerasModel]):
    """Trains a Keras model on the executors, with any tensors in and out.

    Synchronous data-parallel training: each worker trains its shard for `averagingFrequency` minibatches, then the
    driver averages their parameters, weighted by the rows trained.

    The model that is given is never changed. `__init__` tells the Params.

    Raises:
        ValueError: before a job starts, on unknown columns, shapes that do not fit the model, output columns already
            present, an uncompiled model, or more workers than slots; and from the workers on null, NaN, ragged arrays
            and labels outside [0, number of classes).
        WorkerError: on an exception in the model itself, with the worker's traceback; after maxFailures; when there
            are too few slots for joinTimeout.
        FloatingPointError: on a non-finite update, unless nonFinite is "skip".

    Example:
        >>> estimator = KerasEstimator(model=model, inputCols={"user": "user_id", "item": "item_id"}, labelCol="rating")
        >>> fitted = estimator.fit(df)
    """

    _model_class = KerasModel

    def _output_params(self) -> list[str]:
        return [] if param_or_none(self, "outputCols") else ["predictionCol"]

    def _new_columns(self) -> list[tuple[str, str]]:
        named = param_or_none(self, "outputCols") or []
        several = named.values() if isinstance(named, dict) else named
        return [*super()._new_columns(), *(("outputCols", column) for column in several if column)]


class KerasClassifier(KerasClassifierParams, BaseEstimator[KerasClassificationModel]):
    """Trains a Keras classifier: class indices in, `prediction`, `probability` and `rawPrediction` out.

    The model has one output: one number for each class, or one sigmoid, logit or margin for two classes. Labels are
    indices in [0, number of classes); they are one-hot encoded where the loss wants that.

    The model that is given is never changed. `__init__` tells the Params.

    Raises:
        ValueError: before a job starts, on unknown columns, shapes that do not fit the model, output columns already
            present, an uncompiled model, or more workers than slots; and from the workers on null, NaN, ragged arrays
            and labels outside [0, number of classes).
        WorkerError: on an exception in the model itself, with the worker's traceback; after maxFailures; when there
            are too few slots for joinTimeout.
        FloatingPointError: on a non-finite update, unless nonFinite is "skip".

    Example:
        >>> classifier = KerasClassifier(model=model, epochs=5, validationSplit=0.1)
        >>> classifier.fit(df).transform(df).select("prediction", "probability")
    """

    _classifies = True
    _model_class = KerasClassificationModel

    def _output_params(self) -> list[str]:
        return ["predictionCol", "probabilityCol", "rawPredictionCol"]

    def _check_outputs(self, dataset: DataFrame, model: keras.Model, outputs: tuple[Tensor, ...]) -> None:
        output_meaning.check_classifier(dataset, self, model, outputs)

    def _make_model(
        self, dataset: DataFrame, archive: KerasArchive, outputs: tuple[Tensor, ...]
    ) -> KerasClassificationModel:
        fitted = super()._make_model(dataset, archive, outputs)
        names = column_names.field(dataset, "labelCol", self.getLabelCol()).metadata.get("ml_attr", {}).get("vals", [])
        fitted._fit_attributes = {"numClasses": output_meaning.number_of_classes(outputs[0]), "labels": names}
        return fitted


class KerasRegressor(KerasRegressorParams, BaseEstimator[KerasRegressionModel]):
    """Trains a Keras regressor: `prediction` is a double, or an array of doubles where the model gives several numbers.

    The model that is given is never changed. `__init__` tells the Params.

    Raises:
        ValueError: before a job starts, on unknown columns, shapes that do not fit the model, output columns already
            present, an uncompiled model, or more workers than slots; and from the workers on null, NaN, ragged arrays
            and labels outside [0, number of classes).
        WorkerError: on an exception in the model itself, with the worker's traceback; after maxFailures; when there
            are too few slots for joinTimeout.
        FloatingPointError: on a non-finite update, unless nonFinite is "skip".

    Example:
        >>> regressor = KerasRegressor(model=model, featuresCols=["temp", "humidity"], labelCol="delay")
        >>> regressor.fit(df).transform(df).select("prediction")
    """

    _model_class = KerasRegressionModel

    def _check_outputs(self, dataset: DataFrame, model: keras.Model, outputs: tuple[Tensor, ...]) -> None:
        signature.check_only_output(outputs)
