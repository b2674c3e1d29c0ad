"""Constructors of the stages, which take their Params by name.

Written by scripts/write_params.py: change `spark_keras.params.table`, not this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spark_keras.params import mixins
from spark_keras.params.keyword_only import keyword_only
from spark_keras.params.table import TABLE


class KerasEstimatorParams(mixins.HasTraining, mixins.HasOutputLabels, mixins.HasOutputs, mixins.HasClassWeight):
    """Params of a `KerasEstimator`."""

    @TABLE.documented("KerasEstimator")
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
        mode: str = "synchronous",
        averagingFrequency: int | str = 10,
        globalBatch: bool | str = "auto",
        learningRateScaling: str = "none",
        learningRateWarmup: int = 0,
        optimizerState: str = "average",
        outerOptimizer: Any = None,
        averaging: str = "driver",
        combine: str = "mean",
        compression: str | None = None,
        overlap: bool = False,
        cacheFrozenFeatures: bool = False,
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
        """Takes each Param by its name."""
        super().__init__()
        self._set(**self._input_kwargs)


class KerasClassifierParams(mixins.HasTraining, mixins.HasClasses, mixins.HasClassWeight):
    """Params of a `KerasClassifier`."""

    @TABLE.documented("KerasClassifier")
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
        mode: str = "synchronous",
        averagingFrequency: int | str = 10,
        globalBatch: bool | str = "auto",
        learningRateScaling: str = "none",
        learningRateWarmup: int = 0,
        optimizerState: str = "average",
        outerOptimizer: Any = None,
        averaging: str = "driver",
        combine: str = "mean",
        compression: str | None = None,
        overlap: bool = False,
        cacheFrozenFeatures: bool = False,
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
        """Takes each Param by its name."""
        super().__init__()
        self._set(**self._input_kwargs)


class KerasRegressorParams(mixins.HasTraining):
    """Params of a `KerasRegressor`."""

    @TABLE.documented("KerasRegressor")
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
        mode: str = "synchronous",
        averagingFrequency: int | str = 10,
        globalBatch: bool | str = "auto",
        learningRateScaling: str = "none",
        learningRateWarmup: int = 0,
        optimizerState: str = "average",
        outerOptimizer: Any = None,
        averaging: str = "driver",
        combine: str = "mean",
        compression: str | None = None,
        overlap: bool = False,
        cacheFrozenFeatures: bool = False,
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
        """Takes each Param by its name."""
        super().__init__()
        self._set(**self._input_kwargs)


class KerasTransformerParams(mixins.HasInference, mixins.HasOutputs, mixins.HasOutputLayer):
    """Params of a `KerasTransformer`."""

    @TABLE.documented("KerasTransformer")
    @keyword_only
    def __init__(
        self,
        *,
        model: Any = None,
        featuresCol: str = "features",
        featuresCols: list[str] | None = None,
        inputCols: dict[str, str] | list[str] | None = None,
        predictionCol: str = "prediction",
        outputCols: dict[str, str] | list[str] | None = None,
        outputFormat: str = "array",
        outputLayer: str | None = None,
        batchSize: int = 1024,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        """Takes each Param by its name."""
        super().__init__()
        self._set(**self._input_kwargs)
