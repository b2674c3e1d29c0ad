"""KerasEstimator, KerasClassifier and KerasRegressor: Params in, fitted model out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator

from spark_keras.base_estimator import Trained
from spark_keras.columns import names as column_names
from spark_keras.columns import output_meaning
from spark_keras.keras_model import signature
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.model import KerasClassificationModel, KerasModel, KerasRegressionModel
from spark_keras.params import mixins
from spark_keras.params.output_params import OutputFormatParams, OutputTypeParams
from spark_keras.params.values import set_value
from spark_keras.params.weight_params import HasClassWeight, HasWeightCols


class KerasEstimator(
    Trained, mixins.HasLabels, HasWeightCols, HasClassWeight, mixins.HasOutputs, OutputFormatParams, Estimator
):
    """Trains a Keras model on the executors, with any tensors in and out.

    Synchronous data-parallel training: each worker trains its shard for `averagingFrequency` minibatches, then the
    driver averages their parameters, weighted by the rows trained.

    Args:
        model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a `.keras` archive or `.h5`
            file. The model itself is never changed.
        modelFn: a function that builds and compiles the model, called as `modelFn(**modelParams)`.
        modelParams: keyword arguments for modelFn, which ParamGridBuilder can vary.
        featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
        featuresCols: scalar columns instead of featuresCol.
        inputCols: {"input name": "column"} for a model with several inputs.
        labelCol: number, boolean, array or vector. Default "label", which a model that computes its own loss can do
            without; "" for none; the features column, for an autoencoder.
        labelCols: {"output name": "column"} for a model with several outputs; those without a loss need none.
        predictionCol: column for the only output, as an array with the model's shape. Default "prediction".
        outputCols: {"output name": "column"} for a model with several outputs.
        outputFormat: "array" (default), with the model's shape, or "vector": flat in row-major order, for Spark's own
            stages.
        weightCol: weights of rows, as Keras' sample_weight: a number, or an array with one for each time step.
        weightCols: {"output name": "column"} for weights of each output.
        classWeight: {class index: weight}, as Keras' class_weight, or "balanced". Applied while rows are trained, not
            to those validated on; multiplied with weights of rows.
        validationIndicatorCol: boolean column, true for rows to validate on.
        validationSplit: share of the rows to validate on, chosen by the hash of their content. Default 0.
        epochs: passes over the rows. Default 1.
        initialEpoch: the epoch to begin with, as Keras' initial_epoch. Default 0.
        batchSize: rows per minibatch and worker. Default 32.
        shuffle: a new order of a shard's rows in each epoch. Default True.
        numWorkers: default: what the session offers now.
        cpusPerWorker: CPU threads of a worker. Default: `spark.task.cpus`.
        maxShardMemory: bytes of rows that a worker keeps in memory, such as "2g"; larger shards live in a file on the
            executor's local disk. Default: a quarter of the worker's share of the memory.
        prefetch: stacks of minibatches that a worker prepares ahead; 0: none. Default 2. Where it has
            more than one core, or its rows are in a file, a background thread does, else it does so while it waits.
        jitCompile: whether XLA compiles the rounds. "auto" (default) decides by layers and length of the fit; True;
            False; "measure" takes what is fastest on a worker now.
        averagingFrequency: minibatches between two averagings, or "epoch". Default 10.
        optimizerState: "average" (default), "local" or "reset".
        callbacks: Keras callbacks; they run on the driver.
        maxFailures: failures of a worker in a row that end the fit. Default 4.
        workerTimeout: seconds without a sign of life after which a worker is replaced. Default 600.
        joinTimeout: seconds that the fit waits for free slots for its workers. Default 600.
        nonFinite: "error" (default) or "skip" for updates with NaN or infinite numbers.
        checkpointDir: folder of checkpoints, from which a fit of the same inputs goes on. Default: none are written.
        checkpointInterval: epochs between checkpoints, or a time such as "5m". Default 1.
        seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
        verbose: 0 silent, 1 (default) or "auto" progress bar, 2 one line per epoch.
        handleInvalid: "error" (default), "skip" or "keep" for rows with null or NaN.
        customObjects: custom classes and functions by name.

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

    @keyword_only
    def __init__(
        self,
        *,
        model: Any = None,
        modelFn: Callable[..., Any] | None = None,
        modelParams: dict[str, Any] | None = None,
        featuresCol: str = "features",
        featuresCols: list[str] | None = None,
        inputCols: dict[str, str] | list[str] | None = None,
        labelCol: str = "label",
        labelCols: dict[str, str] | list[str] | None = None,
        predictionCol: str = "prediction",
        outputCols: dict[str, str] | list[str] | None = None,
        outputFormat: str = "array",
        weightCol: str | None = None,
        weightCols: dict[str, str] | list[str] | None = None,
        classWeight: dict[int, float] | str | None = None,
        validationIndicatorCol: str | None = None,
        validationSplit: float = 0.0,
        epochs: int = 1,
        initialEpoch: int = 0,
        batchSize: int = 32,
        shuffle: bool = True,
        numWorkers: int | None = None,
        cpusPerWorker: int | None = None,
        maxShardMemory: int | str | None = None,
        prefetch: int = 2,
        jitCompile: bool | str = "auto",
        averagingFrequency: int | str = 10,
        optimizerState: str = "average",
        callbacks: list[Any] | None = None,
        maxFailures: int = 4,
        workerTimeout: float = 600.0,
        joinTimeout: float = 600.0,
        nonFinite: str = "error",
        checkpointDir: str | None = None,
        checkpointInterval: int | str = 1,
        seed: int = 0,
        verbose: int | bool | str = 1,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._setDefault(outputFormat="array")
        self._set(**self._input_kwargs)

    def _output_params(self) -> list[str]:
        return [] if set_value(self, "outputCols") else ["predictionCol"]

    def _new_columns(self) -> list[tuple[str, str]]:
        named = set_value(self, "outputCols") or []
        several = named.values() if isinstance(named, dict) else named
        return [*super()._new_columns(), *(("outputCols", column) for column in several if column)]

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> KerasModel:
        return KerasModel(model=archive)


class KerasClassifier(Trained, mixins.ClassificationParams, OutputTypeParams, HasClassWeight, Estimator):
    """Trains a Keras classifier: class indices in, `prediction`, `probability` and `rawPrediction` out.

    The model has one output: one number for each class, or one sigmoid, logit or margin for two classes. Labels are
    indices in [0, number of classes); they are one-hot encoded where the loss wants that.

    Args:
        model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a `.keras` archive or `.h5`
            file. The model itself is never changed.
        modelFn: a function that builds and compiles the model, called as `modelFn(**modelParams)`.
        modelParams: keyword arguments for modelFn, which ParamGridBuilder can vary.
        featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
        featuresCols: scalar columns instead of featuresCol.
        inputCols: {"input name": "column"} for a model with several inputs.
        labelCol: number, boolean, array or vector. Default "label".
        predictionCol: class as a double. Default "prediction"; "" leaves a column out.
        probabilityCol: vector of probabilities, in [0, 1]. Default "probability". None is written of margins.
        rawPredictionCol: vector of what the model gives. Default "rawPrediction".
        thresholds: the class with the largest probability / threshold is predicted.
        outputType: what the model gives: "probabilities", "logits", or "margins" as of a hinge loss. Default "auto": as
            its last activation, else its loss says.
        threshold: for one margin: class 1 is predicted where the margin is larger. Default 0.
        weightCol: row weights, as Keras' sample_weight.
        classWeight: {class index: weight}, as Keras' class_weight, or "balanced". Applied while rows are trained, not
            to those validated on; multiplied with row weights.
        validationIndicatorCol: boolean column, true for rows to validate on.
        validationSplit: share of the rows to validate on, chosen by the hash of their content. Default 0.
        epochs: passes over the rows. Default 1.
        initialEpoch: the epoch to begin with, as Keras' initial_epoch. Default 0.
        batchSize: rows per minibatch and worker. Default 32.
        shuffle: a new order of a shard's rows in each epoch. Default True.
        numWorkers: default: what the session offers now.
        cpusPerWorker: CPU threads of a worker. Default: `spark.task.cpus`.
        maxShardMemory: bytes of rows that a worker keeps in memory, such as "2g"; larger shards live in a file on the
            executor's local disk. Default: a quarter of the worker's share of the memory.
        prefetch: stacks of minibatches that a worker prepares ahead; 0: none. Default 2. Where it has
            more than one core, or its rows are in a file, a background thread does, else it does so while it waits.
        jitCompile: whether XLA compiles the rounds. "auto" (default) decides by layers and length of the fit; True;
            False; "measure" takes what is fastest on a worker now.
        averagingFrequency: minibatches between two averagings, or "epoch". Default 10.
        optimizerState: "average" (default), "local" or "reset".
        callbacks: Keras callbacks; they run on the driver.
        maxFailures: failures of a worker in a row that end the fit. Default 4.
        workerTimeout: seconds without a sign of life after which a worker is replaced. Default 600.
        joinTimeout: seconds that the fit waits for free slots for its workers. Default 600.
        nonFinite: "error" (default) or "skip" for updates with NaN or infinite numbers.
        checkpointDir: folder of checkpoints, from which a fit of the same inputs goes on. Default: none are written.
        checkpointInterval: epochs between checkpoints, or a time such as "5m". Default 1.
        seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
        verbose: 0 silent, 1 (default) or "auto" progress bar, 2 one line per epoch.
        handleInvalid: "error" (default), "skip" or "keep" for rows with null or NaN.
        customObjects: custom classes and functions by name.

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

    @keyword_only
    def __init__(
        self,
        *,
        model: Any = None,
        modelFn: Callable[..., Any] | None = None,
        modelParams: dict[str, Any] | None = None,
        featuresCol: str = "features",
        featuresCols: list[str] | None = None,
        inputCols: dict[str, str] | list[str] | None = None,
        labelCol: str = "label",
        predictionCol: str = "prediction",
        probabilityCol: str = "probability",
        rawPredictionCol: str = "rawPrediction",
        thresholds: list[float] | None = None,
        outputType: str = "auto",
        threshold: float = 0.0,
        weightCol: str | None = None,
        classWeight: dict[int, float] | str | None = None,
        validationIndicatorCol: str | None = None,
        validationSplit: float = 0.0,
        epochs: int = 1,
        initialEpoch: int = 0,
        batchSize: int = 32,
        shuffle: bool = True,
        numWorkers: int | None = None,
        cpusPerWorker: int | None = None,
        maxShardMemory: int | str | None = None,
        prefetch: int = 2,
        jitCompile: bool | str = "auto",
        averagingFrequency: int | str = 10,
        optimizerState: str = "average",
        callbacks: list[Any] | None = None,
        maxFailures: int = 4,
        workerTimeout: float = 600.0,
        joinTimeout: float = 600.0,
        nonFinite: str = "error",
        checkpointDir: str | None = None,
        checkpointInterval: int | str = 1,
        seed: int = 0,
        verbose: int | bool | str = 1,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._setDefault(
            probabilityCol="probability", rawPredictionCol="rawPrediction", outputType="auto", threshold=0.0
        )
        self._set(**self._input_kwargs)

    _classifies = True

    def _output_params(self) -> list[str]:
        return ["predictionCol", "probabilityCol", "rawPredictionCol"]

    def _check_outputs(self, dataset: Any, model: Any, outputs: Any) -> None:
        output_meaning.check_classifier(dataset, self, model, outputs)

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> KerasClassificationModel:
        fitted = KerasClassificationModel(model=archive)
        names = column_names.field(dataset, "labelCol", self.getLabelCol()).metadata.get("ml_attr", {}).get("vals", [])
        fitted._fit_attributes = {"numClasses": max(2, outputs[0].shape[-1]), "labels": names}
        return fitted


class KerasRegressor(Trained, Estimator):
    """Trains a Keras regressor: `prediction` is a double, or an array of doubles where the model gives several numbers.

    Args:
        model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a `.keras` archive or `.h5`
            file. The model itself is never changed.
        modelFn: a function that builds and compiles the model, called as `modelFn(**modelParams)`.
        modelParams: keyword arguments for modelFn, which ParamGridBuilder can vary.
        featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
        featuresCols: scalar columns instead of featuresCol.
        inputCols: {"input name": "column"} for a model with several inputs.
        labelCol: number, boolean, array or vector. Default "label".
        predictionCol: default "prediction".
        weightCol: row weights, as Keras' sample_weight.
        validationIndicatorCol: boolean column, true for rows to validate on.
        validationSplit: share of the rows to validate on, chosen by the hash of their content. Default 0.
        epochs: passes over the rows. Default 1.
        initialEpoch: the epoch to begin with, as Keras' initial_epoch. Default 0.
        batchSize: rows per minibatch and worker. Default 32.
        shuffle: a new order of a shard's rows in each epoch. Default True.
        numWorkers: default: what the session offers now.
        cpusPerWorker: CPU threads of a worker. Default: `spark.task.cpus`.
        maxShardMemory: bytes of rows that a worker keeps in memory, such as "2g"; larger shards live in a file on the
            executor's local disk. Default: a quarter of the worker's share of the memory.
        prefetch: stacks of minibatches that a worker prepares ahead; 0: none. Default 2. Where it has
            more than one core, or its rows are in a file, a background thread does, else it does so while it waits.
        jitCompile: whether XLA compiles the rounds. "auto" (default) decides by layers and length of the fit; True;
            False; "measure" takes what is fastest on a worker now.
        averagingFrequency: minibatches between two averagings, or "epoch". Default 10.
        optimizerState: "average" (default), "local" or "reset".
        callbacks: Keras callbacks; they run on the driver.
        maxFailures: failures of a worker in a row that end the fit. Default 4.
        workerTimeout: seconds without a sign of life after which a worker is replaced. Default 600.
        joinTimeout: seconds that the fit waits for free slots for its workers. Default 600.
        nonFinite: "error" (default) or "skip" for updates with NaN or infinite numbers.
        checkpointDir: folder of checkpoints, from which a fit of the same inputs goes on. Default: none are written.
        checkpointInterval: epochs between checkpoints, or a time such as "5m". Default 1.
        seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
        verbose: 0 silent, 1 (default) or "auto" progress bar, 2 one line per epoch.
        handleInvalid: "error" (default), "skip" or "keep" for rows with null or NaN.
        customObjects: custom classes and functions by name.

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

    @keyword_only
    def __init__(
        self,
        *,
        model: Any = None,
        modelFn: Callable[..., Any] | None = None,
        modelParams: dict[str, Any] | None = None,
        featuresCol: str = "features",
        featuresCols: list[str] | None = None,
        inputCols: dict[str, str] | list[str] | None = None,
        labelCol: str = "label",
        predictionCol: str = "prediction",
        weightCol: str | None = None,
        validationIndicatorCol: str | None = None,
        validationSplit: float = 0.0,
        epochs: int = 1,
        initialEpoch: int = 0,
        batchSize: int = 32,
        shuffle: bool = True,
        numWorkers: int | None = None,
        cpusPerWorker: int | None = None,
        maxShardMemory: int | str | None = None,
        prefetch: int = 2,
        jitCompile: bool | str = "auto",
        averagingFrequency: int | str = 10,
        optimizerState: str = "average",
        callbacks: list[Any] | None = None,
        maxFailures: int = 4,
        workerTimeout: float = 600.0,
        joinTimeout: float = 600.0,
        nonFinite: str = "error",
        checkpointDir: str | None = None,
        checkpointInterval: int | str = 1,
        seed: int = 0,
        verbose: int | bool | str = 1,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._set(**self._input_kwargs)

    def _check_outputs(self, dataset: Any, model: Any, outputs: Any) -> None:
        signature.check_only_output(outputs)

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> KerasRegressionModel:
        return KerasRegressionModel(model=archive)
