"""KerasEstimator, KerasClassifier and KerasRegressor: Params in, fitted model out."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
from pyspark import keyword_only
from pyspark.ml import Estimator

from spark_keras import cluster, columns, params, tensors
from spark_keras.archive import KerasArchive, seeded
from spark_keras.executor import ProcessSettings
from spark_keras.model import KerasClassificationModel, KerasModel, KerasRegressionModel
from spark_keras.persistence import KerasReadable, KerasWritable
from spark_keras.training import kernel, loop, wire
from spark_keras.training import state as states
from spark_keras.training.progress import Progress
from spark_keras.training.summary import KerasTrainingSummary
from spark_keras.training.worker import WorkerTask
from spark_keras.training.workers import ResidentWorkers, ShardInfo


class _Trained(
    params.HasModel,
    params.HasModelFn,
    params.HasInputs,
    params.HasTraining,
    params.FeaturesParams,
    params.LabelParams,
    params.ValidationParams,
    params.PredictionParams,
    params.InvalidParams,
    KerasWritable,
    KerasReadable,
):
    """What all estimators share: the story of a fit."""

    _classifies = False

    def _defaults(self) -> None:
        self._setDefault(
            modelParams={},
            customObjects={},
            featuresCol="features",
            labelCol="label",
            predictionCol="prediction",
            validationSplit=0.0,
            epochs=1,
            batchSize=32,
            shuffle=True,
            averagingFrequency=10,
            optimizerState="average",
            callbacks=[],
            # pyspark's own default is a hash that differs from process to process.
            seed=0,
            verbose=1,
            handleInvalid="error",
        )

    def _fit(self, dataset: Any) -> Any:
        spark = cluster.session_of(dataset)
        self._check_output_columns(dataset)
        count = self._workers(spark)
        model, trusted = self._new_model()
        spec, outputs = tensors.training_columns(dataset, self, model, self._classifies)
        self._check_outputs(outputs)
        states.build(model, spec.sample())
        frequency = self.getAveragingFrequency()
        task = WorkerTask(
            endpoint=wire.Endpoint(""),  # known when the fit's own socket is open
            settings=ProcessSettings.of_driver(self._threads(spark), self.getCustomObjects()),
            architecture=states.architecture(model),
            safe_mode=not trusted,
            columns=spec,
            batch_size=self.getBatchSize(),
            shuffle=self.getShuffle(),
            seed=self.getSeed(),
        )
        prepared = tensors.shard_dataset(dataset, self, spec, count)
        description = f"{type(self).__name__} fit: {count} workers"
        started = time.perf_counter()
        with (
            cluster.admit(spark, count),
            _exclusive(self.getCallbacks()) as callbacks,
            ResidentWorkers(prepared, task, count, _stack_limit(frequency), description) as workers,
        ):
            shards = workers.infos
            self._check_rows(shards, spec.validation)
            seconds = {"start": time.perf_counter() - started}
            schedule = loop.Schedule(
                epochs=self.getEpochs(),
                rows=tuple(shard.rows for shard in shards),
                validation=spec.validation,
                batch_size=self.getBatchSize(),
                frequency=None if frequency == "epoch" else int(frequency),
                optimizer_state=self.getOptimizerState(),
            )
            workers.kernel = kernel.choose(model, schedule.epochs * schedule.minibatches)
            progress = Progress(self.getVerbose(), schedule.epochs, sum(schedule.rows))
            with contextlib.closing(progress):
                outcome = loop.train(model, workers, schedule, callbacks, progress)
        seconds |= outcome.seconds | {"total": time.perf_counter() - started}
        summary = KerasTrainingSummary(
            history=outcome.history,
            epochs=outcome.epochs,
            numWorkers=count,
            averagingFrequency=frequency,
            batchSize=self.getBatchSize(),
            rows=list(schedule.rows),
            validationRows=[shard.validation_rows for shard in shards],
            skippedRows=_skipped(shards),
            rounds=outcome.rounds,
            kernel=outcome.kernel,
            seconds=seconds,
        )
        return self._fitted(dataset, model, summary, outputs)

    # --- the model ---

    def _new_model(self) -> tuple[keras.Model, bool]:
        """(a compiled model of this fit's own, whether it comes from this process)."""
        with seeded(self.getSeed()):
            if self.isSet("model"):
                archive = self.getOrDefault("model")
                model, trusted, origin = archive.load(self.getCustomObjects()), archive.trusted, "model"
            elif self.isSet("modelFn"):
                model, trusted, origin = self.getModelFn()(**self.getModelParams()), True, "modelFn"
                if not isinstance(model, keras.Model):
                    raise TypeError(
                        f"Param `modelFn` did not return a model. Received: {model!r} from "
                        f"modelFn(**{self.getModelParams()}). Expected: a compiled keras.Model."
                    )
            else:
                raise ValueError("Neither Param `model` nor `modelFn` is set. Expected: one of them.")
        if not getattr(model, "compiled", False):
            raise ValueError(
                f"The model of Param `{origin}` is not compiled. Received: {model.name!r} without optimizer and loss. "
                "Expected: a model after model.compile(optimizer=…, loss=…)."
            )
        return model, trusted

    def _fitted(self, dataset: Any, model: keras.Model, summary: KerasTrainingSummary, outputs: Any) -> Any:
        fitted = self._make_model(dataset, KerasArchive.of(model), outputs)
        # batchSize means a minibatch here and a forward pass there.
        own = {self.getParam("batchSize"), self.getParam("model")}
        shared = {param: value for param, value in self._paramMap.items() if param not in own}
        for param, value in shared.items():
            if fitted.hasParam(param.name):
                fitted._set(**{param.name: value})
        fitted._resetUid(self.uid)
        fitted._summary = summary
        return fitted

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> Any:
        raise NotImplementedError

    # --- the workers ---

    def _threads(self, spark: Any) -> int:
        return int(tensors.set_value(self, "cpusPerWorker") or cluster.task_cpus(spark))

    def _workers(self, spark: Any) -> int:
        cpus = cluster.task_cpus(spark)
        capacity = max(1, cluster.slots(spark) * cpus // max(cpus, self._threads(spark)))
        wanted = tensors.set_value(self, "numWorkers")
        if wanted is None:
            return capacity
        if wanted > capacity and not cluster.slots_can_grow(spark):
            raise ValueError(
                f"More workers than slots. Received: numWorkers={wanted}. Expected: at most {capacity}, because the "
                "session can run so many tasks at the same time now (cores / spark.task.cpus). Leave numWorkers unset "
                "to take what there is, or give the session more cores."
            )
        return wanted

    # --- checks ---

    def _output_params(self) -> list[str]:
        return ["predictionCol"]

    def _check_output_columns(self, dataset: Any) -> None:
        for name in self._output_params():
            column = tensors.set_value(self, name)
            if column:
                columns.check_new_column(dataset, name, column)

    def _check_outputs(self, outputs: Any) -> None:
        """Refuses a model whose outputs do not fit the kind of estimator."""

    def _check_rows(self, shards: list[ShardInfo], validation: bool) -> None:
        skipped = _skipped(shards)
        left_out = f" {sum(skipped.values())} rows were skipped: {skipped}." if skipped else ""
        if sum(shard.rows for shard in shards) == 0:
            raise ValueError(f"The DataFrame has no rows to train on.{left_out} Expected: at least one.")
        if validation and sum(shard.validation_rows for shard in shards) == 0:
            raise ValueError(
                f"No row was held out for validation. Received: validationSplit={self.getValidationSplit()}, "
                f"validationIndicatorCol={tensors.set_value(self, 'validationIndicatorCol')!r}, "
                f"{sum(shard.rows for shard in shards)} rows.{left_out} Expected: at least one row to validate on."
            )


def _skipped(shards: list[ShardInfo]) -> dict[str, int]:
    total: dict[str, int] = {}
    for shard in shards:
        for column, count in shard.skipped.items():
            total[column] = total.get(column, 0) + count
    return total


def _stack_limit(frequency: int | str) -> int:
    """How many minibatches a round has at most, for the size of the workers' stacks."""
    return 2**31 if frequency == "epoch" else int(frequency)


_callbacks_in_use: set[int] = set()
_callbacks_lock = threading.Lock()


@contextlib.contextmanager
def _exclusive(callbacks: list[Any]) -> Iterator[list[Any]]:
    """Callbacks for one fit. One that another running fit uses (CrossValidator with parallelism) is copied."""
    with _callbacks_lock:
        own = [_copied(each) if id(each) in _callbacks_in_use else each for each in callbacks]
        _callbacks_in_use.update(map(id, own))
    try:
        yield own
    finally:
        with _callbacks_lock:
            _callbacks_in_use.difference_update(map(id, own))


def _copied(callback: Any) -> Any:
    duplicate = copy.copy(callback)
    for name, value in vars(callback).items():
        # The other fit's model stays with the other fit.
        setattr(duplicate, name, None) if name == "_model" else setattr(duplicate, name, copy.deepcopy(value))
    return duplicate


class KerasEstimator(_Trained, params.HasLabels, params.HasOutputs, Estimator):
    """Trains a Keras model on the executors, with any tensors in and out.

    Synchronous data-parallel training: each worker trains its shard for `averagingFrequency` minibatches, then the
    driver averages their parameters, weighted by the rows trained.

    Args:
        model: a compiled keras.Model, or the path or bytes of a `.keras` archive. The model itself is never changed.
        modelFn: a function that builds and compiles the model, called as `modelFn(**modelParams)`.
        modelParams: keyword arguments for modelFn, which ParamGridBuilder can vary.
        featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
        featuresCols: scalar columns instead of featuresCol.
        inputCols: {"input name": "column"} for a model with several inputs.
        labelCol: number, boolean, array or vector. Default "label".
        labelCols: {"output name": "column"} for a model with several outputs.
        predictionCol: column for the only output, as an array with the model's shape. Default "prediction".
        outputCols: {"output name": "column"} for a model with several outputs.
        weightCol: row weights, as Keras' sample_weight.
        validationIndicatorCol: boolean column, true for rows to validate on.
        validationSplit: share of the rows to validate on, chosen by the hash of their content. Default 0.
        epochs: passes over the rows. Default 1.
        batchSize: rows per minibatch and worker. Default 32.
        shuffle: a new order of a shard's rows in each epoch. Default True.
        numWorkers: default: what the session offers now.
        cpusPerWorker: CPU threads of a worker. Default: `spark.task.cpus`.
        averagingFrequency: minibatches between two averagings, or "epoch". Default 10.
        optimizerState: "average" (default), "local" or "reset".
        callbacks: Keras callbacks; they run on the driver.
        seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
        verbose: 0 silent, 1 progress bar (default), 2 one line per epoch.
        handleInvalid: "error" (default), "skip" or "keep" for rows with null or NaN.
        customObjects: custom classes and functions by name.

    Raises:
        ValueError: before a job starts, on unknown columns, shapes that do not fit the model, output columns already
            present, an uncompiled model, or more workers than slots; and from the workers on null, NaN, ragged arrays
            and labels outside [0, number of classes).
        WorkerError: on an exception in the model itself, with the worker's traceback.

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
        weightCol: str | None = None,
        validationIndicatorCol: str | None = None,
        validationSplit: float = 0.0,
        epochs: int = 1,
        batchSize: int = 32,
        shuffle: bool = True,
        numWorkers: int | None = None,
        cpusPerWorker: int | None = None,
        averagingFrequency: int | str = 10,
        optimizerState: str = "average",
        callbacks: list[Any] | None = None,
        seed: int = 0,
        verbose: int = 1,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._set(**self._input_kwargs)

    def _output_params(self) -> list[str]:
        return [] if tensors.set_value(self, "outputCols") else ["predictionCol"]

    def _check_output_columns(self, dataset: Any) -> None:
        super()._check_output_columns(dataset)
        named = tensors.set_value(self, "outputCols") or []
        for column in named.values() if isinstance(named, dict) else named:
            if column:
                columns.check_new_column(dataset, "outputCols", column)

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> KerasModel:
        return KerasModel(model=archive)


class KerasClassifier(_Trained, params.ClassificationParams, Estimator):
    """Trains a Keras classifier: class indices in, `prediction`, `probability` and `rawPrediction` out.

    The model has one output: one number for each class, or one sigmoid (or logit) for two classes. Labels are indices
    in [0, number of classes); they are one-hot encoded where the loss wants that.

    Args:
        model: a compiled keras.Model, or the path or bytes of a `.keras` archive. The model itself is never changed.
        modelFn: a function that builds and compiles the model, called as `modelFn(**modelParams)`.
        modelParams: keyword arguments for modelFn, which ParamGridBuilder can vary.
        featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
        featuresCols: scalar columns instead of featuresCol.
        inputCols: {"input name": "column"} for a model with several inputs.
        labelCol: number, boolean, array or vector. Default "label".
        predictionCol: class as a double. Default "prediction"; "" leaves a column out.
        probabilityCol: vector of probabilities. Default "probability".
        rawPredictionCol: vector of what the model gives. Default "rawPrediction".
        thresholds: the class with the largest probability / threshold is predicted.
        weightCol: row weights, as Keras' sample_weight.
        validationIndicatorCol: boolean column, true for rows to validate on.
        validationSplit: share of the rows to validate on, chosen by the hash of their content. Default 0.
        epochs: passes over the rows. Default 1.
        batchSize: rows per minibatch and worker. Default 32.
        shuffle: a new order of a shard's rows in each epoch. Default True.
        numWorkers: default: what the session offers now.
        cpusPerWorker: CPU threads of a worker. Default: `spark.task.cpus`.
        averagingFrequency: minibatches between two averagings, or "epoch". Default 10.
        optimizerState: "average" (default), "local" or "reset".
        callbacks: Keras callbacks; they run on the driver.
        seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
        verbose: 0 silent, 1 progress bar (default), 2 one line per epoch.
        handleInvalid: "error" (default), "skip" or "keep" for rows with null or NaN.
        customObjects: custom classes and functions by name.

    Raises:
        ValueError: before a job starts, on unknown columns, shapes that do not fit the model, output columns already
            present, an uncompiled model, or more workers than slots; and from the workers on null, NaN, ragged arrays
            and labels outside [0, number of classes).
        WorkerError: on an exception in the model itself, with the worker's traceback.

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
        weightCol: str | None = None,
        validationIndicatorCol: str | None = None,
        validationSplit: float = 0.0,
        epochs: int = 1,
        batchSize: int = 32,
        shuffle: bool = True,
        numWorkers: int | None = None,
        cpusPerWorker: int | None = None,
        averagingFrequency: int | str = 10,
        optimizerState: str = "average",
        callbacks: list[Any] | None = None,
        seed: int = 0,
        verbose: int = 1,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._setDefault(probabilityCol="probability", rawPredictionCol="rawPrediction")
        self._set(**self._input_kwargs)

    _classifies = True

    def _output_params(self) -> list[str]:
        return ["predictionCol", "probabilityCol", "rawPredictionCol"]

    def _check_outputs(self, outputs: Any) -> None:
        shape = outputs[0].shape
        if len(outputs) != 1 or len(shape) != 1 or shape[0] is None:
            raise ValueError(
                f"The model is not a classifier. Received: outputs {[(t.name, t.shape) for t in outputs]}. Expected: "
                "one output of shape (number of classes,), or (1,) for two classes. KerasEstimator trains any model."
            )
        params.check_thresholds(tensors.set_value(self, "thresholds"), max(2, shape[0]))

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> KerasClassificationModel:
        fitted = KerasClassificationModel(model=archive)
        names = dataset.schema[self.getLabelCol()].metadata.get("ml_attr", {}).get("vals", [])
        fitted._fit_attributes = {"numClasses": max(2, outputs[0].shape[-1]), "labels": names}
        return fitted


class KerasRegressor(_Trained, Estimator):
    """Trains a Keras regressor: `prediction` is a double, or an array of doubles where the model gives several numbers.

    Args:
        model: a compiled keras.Model, or the path or bytes of a `.keras` archive. The model itself is never changed.
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
        batchSize: rows per minibatch and worker. Default 32.
        shuffle: a new order of a shard's rows in each epoch. Default True.
        numWorkers: default: what the session offers now.
        cpusPerWorker: CPU threads of a worker. Default: `spark.task.cpus`.
        averagingFrequency: minibatches between two averagings, or "epoch". Default 10.
        optimizerState: "average" (default), "local" or "reset".
        callbacks: Keras callbacks; they run on the driver.
        seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
        verbose: 0 silent, 1 progress bar (default), 2 one line per epoch.
        handleInvalid: "error" (default), "skip" or "keep" for rows with null or NaN.
        customObjects: custom classes and functions by name.

    Raises:
        ValueError: before a job starts, on unknown columns, shapes that do not fit the model, output columns already
            present, an uncompiled model, or more workers than slots; and from the workers on null, NaN, ragged arrays
            and labels outside [0, number of classes).
        WorkerError: on an exception in the model itself, with the worker's traceback.

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
        batchSize: int = 32,
        shuffle: bool = True,
        numWorkers: int | None = None,
        cpusPerWorker: int | None = None,
        averagingFrequency: int | str = 10,
        optimizerState: str = "average",
        callbacks: list[Any] | None = None,
        seed: int = 0,
        verbose: int = 1,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._set(**self._input_kwargs)

    def _check_outputs(self, outputs: Any) -> None:
        if len(outputs) != 1:
            raise ValueError(
                f"The model has {len(outputs)} outputs {[tensor.name for tensor in outputs]}. Expected: one. "
                "KerasEstimator trains any model."
            )

    def _make_model(self, dataset: Any, archive: KerasArchive, outputs: Any) -> KerasRegressionModel:
        return KerasRegressionModel(model=archive)
