"""Params of the stages, as mixins with getters and setters; what they accept is in `converters`.

pyspark's own mixins are used wherever one exists; those lack setters, which are added here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasHandleInvalid,
    HasLabelCol,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasSeed,
    HasThresholds,
    HasValidationIndicatorCol,
    HasWeightCol,
)

from spark_keras.keras_model import stages
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params import converters
from spark_keras.params.pickling import Picklable


class HasModel(Picklable, converters.NoneIsUnset):
    """What is trained or applied."""

    model: Param[KerasArchive] = Param(
        Params._dummy(),
        "model",
        "a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a .keras archive or .h5 file; "
        "held as bytes",
        KerasArchive.of,
    )  # type: ignore[arg-type]

    customObjects: Param[dict[str, Any]] = Param(
        Params._dummy(),
        "customObjects",
        "custom layers, losses and metrics by name, as Keras' custom_objects; not needed for registered classes",
        converters.objects,
    )  # type: ignore[arg-type]

    def _set(self, **kwargs: Any) -> Any:
        stage = stages.with_model(kwargs.get("model"))
        if stage is not None and stage.isSet("customObjects") and "customObjects" not in kwargs:
            # What its model was made of, and this one is.
            kwargs["customObjects"] = {**stage.getCustomObjects(), **self.getOrDefault("customObjects")}
        return super()._set(**kwargs)

    def getModel(self) -> KerasArchive:
        """Value of `model` or its default."""
        return self.getOrDefault(self.model)

    def setModel(self, value: Any) -> Any:
        """Sets `model`."""
        return self._set(model=value)

    def getCustomObjects(self) -> dict[str, Any]:
        """Value of `customObjects` or its default."""
        return self.getOrDefault(self.customObjects)

    def setCustomObjects(self, value: dict[str, Any]) -> Any:
        """Sets `customObjects`."""
        return self._set(customObjects=value)


class HasModelFn(Params):
    """A function that builds the model, so that ParamGridBuilder can search over architectures."""

    modelFn: Param[Callable[..., Any]] = Param(
        Params._dummy(),
        "modelFn",
        "a function that builds and compiles the model: modelFn(**modelParams); used when `model` is not set",
        converters.function,
    )  # type: ignore[arg-type]

    modelParams: Param[dict[str, Any]] = Param(
        Params._dummy(), "modelParams", "keyword arguments for modelFn", converters.json_dict
    )  # type: ignore[arg-type]

    def getModelFn(self) -> Callable[..., Any]:
        """Value of `modelFn` or its default."""
        return self.getOrDefault(self.modelFn)

    def setModelFn(self, value: Callable[..., Any]) -> Any:
        """Sets `modelFn`."""
        return self._set(modelFn=value)

    def getModelParams(self) -> dict[str, Any]:
        """Value of `modelParams` or its default."""
        return self.getOrDefault(self.modelParams)

    def setModelParams(self, value: dict[str, Any]) -> Any:
        """Sets `modelParams`."""
        return self._set(modelParams=value)


class HasInputs(Params):
    """Which columns feed the model."""

    featuresCols: Param[list[str]] = Param(
        Params._dummy(),
        "featuresCols",
        "scalar columns to put side by side into one features tensor, instead of featuresCol",
        TypeConverters.toListString,
    )  # type: ignore[arg-type]

    inputCols: Param[dict[str, str] | list[str]] = Param(
        Params._dummy(),
        "inputCols",
        'columns of a model with several inputs: {"input name": "column"}, or a list in the order of the model\'s '
        "inputs; for a model that takes nested inputs, dicts and lists inside each other",
        converters.input_columns,
    )  # type: ignore[arg-type]

    def getFeaturesCols(self) -> list[str]:
        """Value of `featuresCols` or its default."""
        return self.getOrDefault(self.featuresCols)

    def setFeaturesCols(self, value: list[str]) -> Any:
        """Sets `featuresCols`."""
        return self._set(featuresCols=value)

    def getInputCols(self) -> dict[str, str] | list[str]:
        """Value of `inputCols` or its default."""
        return self.getOrDefault(self.inputCols)

    def setInputCols(self, value: dict[str, str] | list[str]) -> Any:
        """Sets `inputCols`."""
        return self._set(inputCols=value)


class HasOutputs(Params):
    """Where the model's outputs go."""

    outputCols: Param[dict[str, str] | list[str]] = Param(
        Params._dummy(),
        "outputCols",
        'columns for the model\'s outputs: {"output name": "column"}, or a list in the order of the model\'s '
        'outputs; an output named "" is left out',
        converters.named_columns("outputCols"),
    )  # type: ignore[arg-type]

    def getOutputCols(self) -> dict[str, str] | list[str]:
        """Value of `outputCols` or its default."""
        return self.getOrDefault(self.outputCols)

    def setOutputCols(self, value: dict[str, str] | list[str]) -> Any:
        """Sets `outputCols`."""
        return self._set(outputCols=value)


class HasInferenceBatchSize(Params):
    """How many rows are predicted at a time."""

    batchSize: Param[int] = Param(
        Params._dummy(),
        "batchSize",
        "rows in one forward pass, which bounds its memory",
        converters.integer("batchSize", 1),
    )  # type: ignore[arg-type]

    def getBatchSize(self) -> int:
        """Value of `batchSize` or its default."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Any:
        """Sets `batchSize`."""
        return self._set(batchSize=value)


class HasLabels(Params):
    """Labels of a model with several outputs."""

    labelCols: Param[dict[str, str] | list[str]] = Param(
        Params._dummy(),
        "labelCols",
        'label columns of a model with several outputs: {"output name": "column"}, or a list in the order of the '
        "model's outputs; instead of labelCol; an output without a loss or metric needs none",
        converters.named_columns("labelCols"),
    )  # type: ignore[arg-type]

    def getLabelCols(self) -> dict[str, str] | list[str]:
        """Value of `labelCols` or its default."""
        return self.getOrDefault(self.labelCols)

    def setLabelCols(self, value: dict[str, str] | list[str]) -> Any:
        """Sets `labelCols`."""
        return self._set(labelCols=value)


class HasTraining(Params):
    """How the model is trained."""

    epochs: Param[int] = Param(Params._dummy(), "epochs", "passes over the rows", converters.integer("epochs", 1))  # type: ignore[arg-type]

    initialEpoch: Param[int] = Param(
        Params._dummy(),
        "initialEpoch",
        "the epoch to begin with, from 0 on: of 10 epochs, 6 are trained from epoch 4 on, as with Keras' initial_epoch",
        converters.integer("initialEpoch", 0),
    )  # type: ignore[arg-type]

    batchSize: Param[int] = Param(
        Params._dummy(), "batchSize", "rows per minibatch and worker", converters.integer("batchSize", 1)
    )  # type: ignore[arg-type]

    shuffle: Param[bool] = Param(
        Params._dummy(),
        "shuffle",
        "whether each epoch trains the rows of a shard in a new order, derived from the seed",
        TypeConverters.toBoolean,
    )  # type: ignore[arg-type]

    validationSplit: Param[float] = Param(
        Params._dummy(),
        "validationSplit",
        "share of the rows held out for validation, in [0, 1); chosen by the hash of their content",
        converters.fraction,
    )  # type: ignore[arg-type]

    numWorkers: Param[int] = Param(
        Params._dummy(),
        "numWorkers",
        "number of workers; not set: what the cluster offers now",
        converters.integer("numWorkers", 1),
    )  # type: ignore[arg-type]

    cpusPerWorker: Param[int] = Param(
        Params._dummy(),
        "cpusPerWorker",
        "CPU threads of each worker; not set: spark.task.cpus",
        converters.integer("cpusPerWorker", 1),
    )  # type: ignore[arg-type]

    maxShardMemory: Param[int] = Param(
        Params._dummy(),
        "maxShardMemory",
        'bytes of rows that a worker keeps in memory, such as 2147483648 or "2g"; larger shards live in a file on the '
        "executor's local disk, to the same result; not set: a quarter of the worker's share of the memory",
        converters.max_shard_memory,
    )  # type: ignore[arg-type]

    prefetch: Param[int] = Param(
        Params._dummy(),
        "prefetch",
        "stacks of minibatches that a worker prepares ahead, while it waits or in a background thread; 0: none",
        converters.integer("prefetch", 0),
    )  # type: ignore[arg-type]

    jitCompile: Param[bool | str] = Param(
        Params._dummy(),
        "jitCompile",
        'how a round is compiled: "auto" as layers, batch size and length of the fit suggest; True with XLA; False '
        'without; "measure" as is fastest on a worker now, which another fit may not find again',
        converters.jit_compile,
    )  # type: ignore[arg-type]

    averagingFrequency: Param[int | str] = Param(
        Params._dummy(),
        "averagingFrequency",
        'minibatches between two averagings of the workers\' parameters, or "epoch"',
        converters.averaging_frequency,
    )  # type: ignore[arg-type]

    optimizerState: Param[str] = Param(
        Params._dummy(),
        "optimizerState",
        "what becomes of the optimizer's variables (Adam's moments, momentum) when parameters are averaged: "
        '"average" averages them, too; "local" leaves each worker its own; "reset" starts them anew in each round',
        converters.one_of("optimizerState", "average", "local", "reset"),
    )  # type: ignore[arg-type]

    callbacks: Param[list[Any]] = Param(
        Params._dummy(),
        "callbacks",
        "Keras callbacks; they run on the driver, at epoch ends (batch hooks: after each averaging)",
        converters.callbacks,
    )  # type: ignore[arg-type]

    verbose: Param[int] = Param(
        Params._dummy(),
        "verbose",
        '0: silent; 1 or "auto": a progress bar in terminals and notebooks, silent in jobs; 2: one line per epoch',
        converters.verbose,
    )  # type: ignore[arg-type]

    def getEpochs(self) -> int:
        """Value of `epochs` or its default."""
        return self.getOrDefault(self.epochs)

    def setEpochs(self, value: int) -> Any:
        """Sets `epochs`."""
        return self._set(epochs=value)

    def getInitialEpoch(self) -> int:
        """Value of `initialEpoch` or its default."""
        return self.getOrDefault(self.initialEpoch)

    def setInitialEpoch(self, value: int) -> Any:
        """Sets `initialEpoch`."""
        return self._set(initialEpoch=value)

    def getBatchSize(self) -> int:
        """Value of `batchSize` or its default."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Any:
        """Sets `batchSize`."""
        return self._set(batchSize=value)

    def getShuffle(self) -> bool:
        """Value of `shuffle` or its default."""
        return self.getOrDefault(self.shuffle)

    def setShuffle(self, value: bool) -> Any:
        """Sets `shuffle`."""
        return self._set(shuffle=value)

    def getValidationSplit(self) -> float:
        """Value of `validationSplit` or its default."""
        return self.getOrDefault(self.validationSplit)

    def setValidationSplit(self, value: float) -> Any:
        """Sets `validationSplit`."""
        return self._set(validationSplit=value)

    def getNumWorkers(self) -> int:
        """Value of `numWorkers` or its default."""
        return self.getOrDefault(self.numWorkers)

    def setNumWorkers(self, value: int) -> Any:
        """Sets `numWorkers`."""
        return self._set(numWorkers=value)

    def getCpusPerWorker(self) -> int:
        """Value of `cpusPerWorker` or its default."""
        return self.getOrDefault(self.cpusPerWorker)

    def setCpusPerWorker(self, value: int) -> Any:
        """Sets `cpusPerWorker`."""
        return self._set(cpusPerWorker=value)

    def getMaxShardMemory(self) -> int:
        """Value of `maxShardMemory` in bytes or its default."""
        return self.getOrDefault(self.maxShardMemory)

    def setMaxShardMemory(self, value: int | str) -> Any:
        """Sets `maxShardMemory`."""
        return self._set(maxShardMemory=value)

    def getPrefetch(self) -> int:
        """Value of `prefetch` or its default."""
        return self.getOrDefault(self.prefetch)

    def setPrefetch(self, value: int) -> Any:
        """Sets `prefetch`."""
        return self._set(prefetch=value)

    def getJitCompile(self) -> bool | str:
        """Value of `jitCompile` or its default."""
        return self.getOrDefault(self.jitCompile)

    def setJitCompile(self, value: bool | str) -> Any:
        """Sets `jitCompile`."""
        return self._set(jitCompile=value)

    def getAveragingFrequency(self) -> int | str:
        """Value of `averagingFrequency` or its default."""
        return self.getOrDefault(self.averagingFrequency)

    def setAveragingFrequency(self, value: int | str) -> Any:
        """Sets `averagingFrequency`."""
        return self._set(averagingFrequency=value)

    def getOptimizerState(self) -> str:
        """Value of `optimizerState` or its default."""
        return self.getOrDefault(self.optimizerState)

    def setOptimizerState(self, value: str) -> Any:
        """Sets `optimizerState`."""
        return self._set(optimizerState=value)

    def getCallbacks(self) -> list[Any]:
        """Value of `callbacks` or its default."""
        return self.getOrDefault(self.callbacks)

    def setCallbacks(self, value: list[Any]) -> Any:
        """Sets `callbacks`."""
        return self._set(callbacks=value)

    def getVerbose(self) -> int:
        """Value of `verbose` or its default."""
        return self.getOrDefault(self.verbose)

    def setVerbose(self, value: int) -> Any:
        """Sets `verbose`."""
        return self._set(verbose=value)


# --- setters for pyspark's own mixins ------------------------------------------------------------------------------


class FeaturesParams(HasFeaturesCol):
    """The features column."""

    def setFeaturesCol(self, value: str) -> Any:
        """Sets `featuresCol`."""
        return self._set(featuresCol=value)


class LabelParams(HasLabelCol, HasWeightCol):
    """Label and row weight."""

    def setLabelCol(self, value: str) -> Any:
        """Sets `labelCol`."""
        return self._set(labelCol=value)

    def setWeightCol(self, value: str) -> Any:
        """Sets `weightCol`."""
        return self._set(weightCol=value)


class ValidationParams(HasValidationIndicatorCol, HasSeed):
    """Validation rows and the seed."""

    def setValidationIndicatorCol(self, value: str) -> Any:
        """Sets `validationIndicatorCol`."""
        return self._set(validationIndicatorCol=value)

    def setSeed(self, value: int) -> Any:
        """Sets `seed`."""
        return self._set(seed=value)


class PredictionParams(HasPredictionCol):
    """The prediction column."""

    def setPredictionCol(self, value: str) -> Any:
        """Sets `predictionCol`."""
        return self._set(predictionCol=value)


class ClassificationParams(HasRawPredictionCol, HasProbabilityCol, HasThresholds):
    """A classifier's other output columns."""

    thresholds: Param[list[float]] = Param(  # type: ignore[assignment]
        Params._dummy(),
        "thresholds",
        "one number for each class: the class with the largest probability / threshold is predicted; numbers are "
        "positive, and at most one may be 0",
        converters.thresholds,  # type: ignore[arg-type]
    )

    def setRawPredictionCol(self, value: str) -> Any:
        """Sets `rawPredictionCol`."""
        return self._set(rawPredictionCol=value)

    def setProbabilityCol(self, value: str) -> Any:
        """Sets `probabilityCol`."""
        return self._set(probabilityCol=value)

    def setThresholds(self, value: list[float]) -> Any:
        """Sets `thresholds`."""
        return self._set(thresholds=value)


class InvalidParams(HasHandleInvalid):
    """What happens to rows with null or NaN."""

    handleInvalid: Param[str] = Param(  # type: ignore[assignment]
        Params._dummy(),
        "handleInvalid",
        'what happens to rows with null or NaN in a column that is used: "error" refuses them, "skip" leaves them out, '
        '"keep" gives them null predictions (a fit leaves them out and counts them in the summary)',
        converters.one_of("handleInvalid", "error", "skip", "keep"),  # type: ignore[arg-type]
    )

    def setHandleInvalid(self, value: str) -> Any:
        """Sets `handleInvalid`."""
        return self._set(handleInvalid=value)
