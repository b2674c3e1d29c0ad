"""Params with typed getters and setters.

Written by scripts/write_params.py: change `spark_keras.params.table`, not this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.ml.param import Param, Params, shared
from typing_extensions import Self

from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params.table import TABLE
from spark_keras.params.takes_model import TakesModel


class HasModel(TakesModel, shared.HasFeaturesCol, shared.HasPredictionCol, shared.HasHandleInvalid):
    """A model, the columns that feed it, and the column for its predictions."""

    model: Param[KerasArchive] = TABLE.param("HasModel", "model")
    featuresCols: Param[list[str]] = TABLE.param("HasModel", "featuresCols")
    inputCols: Param[dict[str, str] | list[str]] = TABLE.param("HasModel", "inputCols")
    handleInvalid: Param[str] = TABLE.param("HasModel", "handleInvalid")
    customObjects: Param[dict[str, Any]] = TABLE.param("HasModel", "customObjects")

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(featuresCol="features", predictionCol="prediction", handleInvalid="error", customObjects={})

    def getModel(self) -> KerasArchive:
        """Value of `model` or its default."""
        return self.getOrDefault(self.model)

    def setModel(self, value: Any) -> Self:
        """Sets `model`."""
        return self._set(model=value)

    def getFeaturesCol(self) -> str:
        """Value of `featuresCol` or its default."""
        return self.getOrDefault(self.featuresCol)

    def setFeaturesCol(self, value: str) -> Self:
        """Sets `featuresCol`."""
        return self._set(featuresCol=value)

    def getFeaturesCols(self) -> list[str]:
        """Value of `featuresCols` or its default."""
        return self.getOrDefault(self.featuresCols)

    def setFeaturesCols(self, value: list[str]) -> Self:
        """Sets `featuresCols`."""
        return self._set(featuresCols=value)

    def getInputCols(self) -> dict[str, str] | list[str]:
        """Value of `inputCols` or its default."""
        return self.getOrDefault(self.inputCols)

    def setInputCols(self, value: dict[str, str] | list[str]) -> Self:
        """Sets `inputCols`."""
        return self._set(inputCols=value)

    def getPredictionCol(self) -> str:
        """Value of `predictionCol` or its default."""
        return self.getOrDefault(self.predictionCol)

    def setPredictionCol(self, value: str) -> Self:
        """Sets `predictionCol`."""
        return self._set(predictionCol=value)

    def getHandleInvalid(self) -> str:
        """Value of `handleInvalid` or its default."""
        return self.getOrDefault(self.handleInvalid)

    def setHandleInvalid(self, value: str) -> Self:
        """Sets `handleInvalid`."""
        return self._set(handleInvalid=value)

    def getCustomObjects(self) -> dict[str, Any]:
        """Value of `customObjects` or its default."""
        return self.getOrDefault(self.customObjects)

    def setCustomObjects(self, value: dict[str, Any]) -> Self:
        """Sets `customObjects`."""
        return self._set(customObjects=value)


class HasLabels(shared.HasLabelCol, shared.HasWeightCol):
    """Labels and weights of rows."""

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(labelCol="label")

    def getLabelCol(self) -> str:
        """Value of `labelCol` or its default."""
        return self.getOrDefault(self.labelCol)

    def setLabelCol(self, value: str) -> Self:
        """Sets `labelCol`."""
        return self._set(labelCol=value)

    def getWeightCol(self) -> str:
        """Value of `weightCol` or its default."""
        return self.getOrDefault(self.weightCol)

    def setWeightCol(self, value: str) -> Self:
        """Sets `weightCol`."""
        return self._set(weightCol=value)


class HasOutputLabels(Params):
    """Labels and weights for a model with several outputs."""

    labelCols: Param[dict[str, str] | list[str]] = TABLE.param("HasOutputLabels", "labelCols")
    weightCols: Param[dict[str, str] | list[str]] = TABLE.param("HasOutputLabels", "weightCols")

    def getLabelCols(self) -> dict[str, str] | list[str]:
        """Value of `labelCols` or its default."""
        return self.getOrDefault(self.labelCols)

    def setLabelCols(self, value: dict[str, str] | list[str]) -> Self:
        """Sets `labelCols`."""
        return self._set(labelCols=value)

    def getWeightCols(self) -> dict[str, str] | list[str]:
        """Value of `weightCols` or its default."""
        return self.getOrDefault(self.weightCols)

    def setWeightCols(self, value: dict[str, str] | list[str]) -> Self:
        """Sets `weightCols`."""
        return self._set(weightCols=value)


class HasOutputs(Params):
    """Columns for outputs as the model gives them."""

    outputCols: Param[dict[str, str] | list[str]] = TABLE.param("HasOutputs", "outputCols")
    outputFormat: Param[str] = TABLE.param("HasOutputs", "outputFormat")

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(outputFormat="array")

    def getOutputCols(self) -> dict[str, str] | list[str]:
        """Value of `outputCols` or its default."""
        return self.getOrDefault(self.outputCols)

    def setOutputCols(self, value: dict[str, str] | list[str]) -> Self:
        """Sets `outputCols`."""
        return self._set(outputCols=value)

    def getOutputFormat(self) -> str:
        """Value of `outputFormat` or its default."""
        return self.getOrDefault(self.outputFormat)

    def setOutputFormat(self, value: str) -> Self:
        """Sets `outputFormat`."""
        return self._set(outputFormat=value)


class HasOutputLayer(Params):
    """An inner layer in place of the outputs."""

    outputLayer: Param[str] = TABLE.param("HasOutputLayer", "outputLayer")

    def getOutputLayer(self) -> str:
        """Value of `outputLayer` or its default."""
        return self.getOrDefault(self.outputLayer)

    def setOutputLayer(self, value: str) -> Self:
        """Sets `outputLayer`."""
        return self._set(outputLayer=value)


class HasClasses(shared.HasProbabilityCol, shared.HasRawPredictionCol, shared.HasThresholds):
    """Meaning of a classifier's output, and the columns for it."""

    thresholds: Param[list[float]] = TABLE.param("HasClasses", "thresholds")
    outputType: Param[str] = TABLE.param("HasClasses", "outputType")
    threshold: Param[float] = TABLE.param("HasClasses", "threshold")

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            probabilityCol="probability", rawPredictionCol="rawPrediction", outputType="auto", threshold=0.0
        )

    def getProbabilityCol(self) -> str:
        """Value of `probabilityCol` or its default."""
        return self.getOrDefault(self.probabilityCol)

    def setProbabilityCol(self, value: str) -> Self:
        """Sets `probabilityCol`."""
        return self._set(probabilityCol=value)

    def getRawPredictionCol(self) -> str:
        """Value of `rawPredictionCol` or its default."""
        return self.getOrDefault(self.rawPredictionCol)

    def setRawPredictionCol(self, value: str) -> Self:
        """Sets `rawPredictionCol`."""
        return self._set(rawPredictionCol=value)

    def getThresholds(self) -> list[float]:
        """Value of `thresholds` or its default."""
        return self.getOrDefault(self.thresholds)

    def setThresholds(self, value: list[float]) -> Self:
        """Sets `thresholds`."""
        return self._set(thresholds=value)

    def getOutputType(self) -> str:
        """Value of `outputType` or its default."""
        return self.getOrDefault(self.outputType)

    def setOutputType(self, value: str) -> Self:
        """Sets `outputType`."""
        return self._set(outputType=value)

    def getThreshold(self) -> float:
        """Value of `threshold` or its default."""
        return self.getOrDefault(self.threshold)

    def setThreshold(self, value: float) -> Self:
        """Sets `threshold`."""
        return self._set(threshold=value)


class HasClassWeight(Params):
    """Weights of classes."""

    classWeight: Param[dict[int, float] | str] = TABLE.param("HasClassWeight", "classWeight")

    def getClassWeight(self) -> dict[int, float] | str:
        """Value of `classWeight` or its default."""
        return self.getOrDefault(self.classWeight)

    def setClassWeight(self, value: dict[int, float] | str) -> Self:
        """Sets `classWeight`."""
        return self._set(classWeight=value)


class HasInference(HasModel):
    """A model that is applied."""

    batchSize: Param[int] = TABLE.param("HasInference", "batchSize")

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(batchSize=1024)

    def getBatchSize(self) -> int:
        """Value of `batchSize` or its default."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Self:
        """Sets `batchSize`."""
        return self._set(batchSize=value)


class HasTraining(HasModel, HasLabels, shared.HasValidationIndicatorCol, shared.HasSeed):
    """A fit."""

    modelFn: Param[Callable[..., Any]] = TABLE.param("HasTraining", "modelFn")
    modelParams: Param[dict[str, Any]] = TABLE.param("HasTraining", "modelParams")
    validationSplit: Param[float] = TABLE.param("HasTraining", "validationSplit")
    epochs: Param[int] = TABLE.param("HasTraining", "epochs")
    initialEpoch: Param[int] = TABLE.param("HasTraining", "initialEpoch")
    batchSize: Param[int] = TABLE.param("HasTraining", "batchSize")
    shuffle: Param[bool] = TABLE.param("HasTraining", "shuffle")
    numWorkers: Param[int] = TABLE.param("HasTraining", "numWorkers")
    cpusPerWorker: Param[int] = TABLE.param("HasTraining", "cpusPerWorker")
    maxShardMemory: Param[int] = TABLE.param("HasTraining", "maxShardMemory")
    prefetch: Param[int] = TABLE.param("HasTraining", "prefetch")
    jitCompile: Param[bool | str] = TABLE.param("HasTraining", "jitCompile")
    averagingFrequency: Param[int | str] = TABLE.param("HasTraining", "averagingFrequency")
    globalBatch: Param[bool] = TABLE.param("HasTraining", "globalBatch")
    learningRateScaling: Param[str] = TABLE.param("HasTraining", "learningRateScaling")
    learningRateWarmup: Param[int] = TABLE.param("HasTraining", "learningRateWarmup")
    optimizerState: Param[str] = TABLE.param("HasTraining", "optimizerState")
    outerOptimizer: Param[str | dict[str, Any]] = TABLE.param("HasTraining", "outerOptimizer")
    callbacks: Param[list[Any]] = TABLE.param("HasTraining", "callbacks")
    maxFailures: Param[int] = TABLE.param("HasTraining", "maxFailures")
    workerTimeout: Param[float] = TABLE.param("HasTraining", "workerTimeout")
    joinTimeout: Param[float] = TABLE.param("HasTraining", "joinTimeout")
    nonFinite: Param[str] = TABLE.param("HasTraining", "nonFinite")
    checkpointDir: Param[str] = TABLE.param("HasTraining", "checkpointDir")
    checkpointInterval: Param[int | str] = TABLE.param("HasTraining", "checkpointInterval")
    verbose: Param[int] = TABLE.param("HasTraining", "verbose")

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            modelParams={},
            validationSplit=0.0,
            epochs=1,
            initialEpoch=0,
            batchSize=32,
            shuffle=True,
            prefetch=2,
            jitCompile="auto",
            averagingFrequency=10,
            globalBatch=False,
            learningRateScaling="none",
            learningRateWarmup=0,
            optimizerState="average",
            callbacks=[],
            maxFailures=4,
            workerTimeout=600.0,
            joinTimeout=600.0,
            nonFinite="error",
            checkpointInterval=1,
            seed=0,
            verbose=1,
        )

    def getModelFn(self) -> Callable[..., Any]:
        """Value of `modelFn` or its default."""
        return self.getOrDefault(self.modelFn)

    def setModelFn(self, value: Callable[..., Any]) -> Self:
        """Sets `modelFn`."""
        return self._set(modelFn=value)

    def getModelParams(self) -> dict[str, Any]:
        """Value of `modelParams` or its default."""
        return self.getOrDefault(self.modelParams)

    def setModelParams(self, value: dict[str, Any]) -> Self:
        """Sets `modelParams`."""
        return self._set(modelParams=value)

    def getValidationIndicatorCol(self) -> str:
        """Value of `validationIndicatorCol` or its default."""
        return self.getOrDefault(self.validationIndicatorCol)

    def setValidationIndicatorCol(self, value: str) -> Self:
        """Sets `validationIndicatorCol`."""
        return self._set(validationIndicatorCol=value)

    def getValidationSplit(self) -> float:
        """Value of `validationSplit` or its default."""
        return self.getOrDefault(self.validationSplit)

    def setValidationSplit(self, value: float) -> Self:
        """Sets `validationSplit`."""
        return self._set(validationSplit=value)

    def getEpochs(self) -> int:
        """Value of `epochs` or its default."""
        return self.getOrDefault(self.epochs)

    def setEpochs(self, value: int) -> Self:
        """Sets `epochs`."""
        return self._set(epochs=value)

    def getInitialEpoch(self) -> int:
        """Value of `initialEpoch` or its default."""
        return self.getOrDefault(self.initialEpoch)

    def setInitialEpoch(self, value: int) -> Self:
        """Sets `initialEpoch`."""
        return self._set(initialEpoch=value)

    def getBatchSize(self) -> int:
        """Value of `batchSize` or its default."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Self:
        """Sets `batchSize`."""
        return self._set(batchSize=value)

    def getShuffle(self) -> bool:
        """Value of `shuffle` or its default."""
        return self.getOrDefault(self.shuffle)

    def setShuffle(self, value: bool) -> Self:
        """Sets `shuffle`."""
        return self._set(shuffle=value)

    def getNumWorkers(self) -> int:
        """Value of `numWorkers` or its default."""
        return self.getOrDefault(self.numWorkers)

    def setNumWorkers(self, value: int) -> Self:
        """Sets `numWorkers`."""
        return self._set(numWorkers=value)

    def getCpusPerWorker(self) -> int:
        """Value of `cpusPerWorker` or its default."""
        return self.getOrDefault(self.cpusPerWorker)

    def setCpusPerWorker(self, value: int) -> Self:
        """Sets `cpusPerWorker`."""
        return self._set(cpusPerWorker=value)

    def getMaxShardMemory(self) -> int:
        """Value of `maxShardMemory` or its default."""
        return self.getOrDefault(self.maxShardMemory)

    def setMaxShardMemory(self, value: int | str) -> Self:
        """Sets `maxShardMemory`."""
        return self._set(maxShardMemory=value)

    def getPrefetch(self) -> int:
        """Value of `prefetch` or its default."""
        return self.getOrDefault(self.prefetch)

    def setPrefetch(self, value: int) -> Self:
        """Sets `prefetch`."""
        return self._set(prefetch=value)

    def getJitCompile(self) -> bool | str:
        """Value of `jitCompile` or its default."""
        return self.getOrDefault(self.jitCompile)

    def setJitCompile(self, value: bool | str) -> Self:
        """Sets `jitCompile`."""
        return self._set(jitCompile=value)

    def getAveragingFrequency(self) -> int | str:
        """Value of `averagingFrequency` or its default."""
        return self.getOrDefault(self.averagingFrequency)

    def setAveragingFrequency(self, value: int | str) -> Self:
        """Sets `averagingFrequency`."""
        return self._set(averagingFrequency=value)

    def getGlobalBatch(self) -> bool:
        """Value of `globalBatch` or its default."""
        return self.getOrDefault(self.globalBatch)

    def setGlobalBatch(self, value: bool) -> Self:
        """Sets `globalBatch`."""
        return self._set(globalBatch=value)

    def getLearningRateScaling(self) -> str:
        """Value of `learningRateScaling` or its default."""
        return self.getOrDefault(self.learningRateScaling)

    def setLearningRateScaling(self, value: str) -> Self:
        """Sets `learningRateScaling`."""
        return self._set(learningRateScaling=value)

    def getLearningRateWarmup(self) -> int:
        """Value of `learningRateWarmup` or its default."""
        return self.getOrDefault(self.learningRateWarmup)

    def setLearningRateWarmup(self, value: int) -> Self:
        """Sets `learningRateWarmup`."""
        return self._set(learningRateWarmup=value)

    def getOptimizerState(self) -> str:
        """Value of `optimizerState` or its default."""
        return self.getOrDefault(self.optimizerState)

    def setOptimizerState(self, value: str) -> Self:
        """Sets `optimizerState`."""
        return self._set(optimizerState=value)

    def getOuterOptimizer(self) -> str | dict[str, Any]:
        """Value of `outerOptimizer` or its default."""
        return self.getOrDefault(self.outerOptimizer)

    def setOuterOptimizer(self, value: Any) -> Self:
        """Sets `outerOptimizer`."""
        return self._set(outerOptimizer=value)

    def getCallbacks(self) -> list[Any]:
        """Value of `callbacks` or its default."""
        return self.getOrDefault(self.callbacks)

    def setCallbacks(self, value: list[Any]) -> Self:
        """Sets `callbacks`."""
        return self._set(callbacks=value)

    def getMaxFailures(self) -> int:
        """Value of `maxFailures` or its default."""
        return self.getOrDefault(self.maxFailures)

    def setMaxFailures(self, value: int) -> Self:
        """Sets `maxFailures`."""
        return self._set(maxFailures=value)

    def getWorkerTimeout(self) -> float:
        """Value of `workerTimeout` or its default."""
        return self.getOrDefault(self.workerTimeout)

    def setWorkerTimeout(self, value: float) -> Self:
        """Sets `workerTimeout`."""
        return self._set(workerTimeout=value)

    def getJoinTimeout(self) -> float:
        """Value of `joinTimeout` or its default."""
        return self.getOrDefault(self.joinTimeout)

    def setJoinTimeout(self, value: float) -> Self:
        """Sets `joinTimeout`."""
        return self._set(joinTimeout=value)

    def getNonFinite(self) -> str:
        """Value of `nonFinite` or its default."""
        return self.getOrDefault(self.nonFinite)

    def setNonFinite(self, value: str) -> Self:
        """Sets `nonFinite`."""
        return self._set(nonFinite=value)

    def getCheckpointDir(self) -> str:
        """Value of `checkpointDir` or its default."""
        return self.getOrDefault(self.checkpointDir)

    def setCheckpointDir(self, value: str) -> Self:
        """Sets `checkpointDir`."""
        return self._set(checkpointDir=value)

    def getCheckpointInterval(self) -> int | str:
        """Value of `checkpointInterval` or its default."""
        return self.getOrDefault(self.checkpointInterval)

    def setCheckpointInterval(self, value: int | str) -> Self:
        """Sets `checkpointInterval`."""
        return self._set(checkpointInterval=value)

    def getSeed(self) -> int:
        """Value of `seed` or its default."""
        return self.getOrDefault(self.seed)

    def setSeed(self, value: int) -> Self:
        """Sets `seed`."""
        return self._set(seed=value)

    def getVerbose(self) -> int:
        """Value of `verbose` or its default."""
        return self.getOrDefault(self.verbose)

    def setVerbose(self, value: int | bool | str) -> Self:
        """Sets `verbose`."""
        return self._set(verbose=value)
