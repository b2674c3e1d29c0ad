"""Constructors of the stages, which take their Params by name.

Written by scripts/write_params.py: change `spark_keras.params.table`, not this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark import keyword_only

from spark_keras.params import mixins


class KerasEstimatorParams(mixins.HasTraining, mixins.HasOutputLabels, mixins.HasOutputs, mixins.HasClassWeight):
    """Params of a `KerasEstimator`."""

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
        outerOptimizer: Any = None,
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
        """Takes each Param by its name.

        Args:
            model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a .keras archive or .h5
                file; held as bytes.
            modelFn: a function that builds and compiles the model: modelFn(**modelParams); used when `model` is not
                set.
            modelParams: keyword arguments for modelFn.
            featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
            featuresCols: scalar columns to put side by side into one features tensor, instead of featuresCol.
            inputCols: columns of a model with several inputs: {"input name": "column"}, or a list in the order of the
                model's inputs; for a model that takes nested inputs, dicts and lists inside each other.
            labelCol: number, boolean, array or vector; a model that computes its own loss can do without; "" for none;
                the features column, for an autoencoder. Default "label".
            labelCols: label columns of a model with several outputs: {"output name": "column"}, or a list in the order
                of the model's outputs; instead of labelCol; an output without a loss or metric needs none.
            predictionCol: column for a classifier's class or a regressor's number, as a double, or for any model's only
                output, as an array with the model's shape; "" leaves it out. Default "prediction".
            outputCols: columns for the model's outputs: {"output name": "column"}, or a list in the order of the
                model's outputs; an output named "" is left out.
            outputFormat: how outputs are written: "array", with the model's shape, or "vector", flat in row-major
                order, for Spark's own stages. Default "array".
            weightCol: weights of rows, as Keras' sample_weight: a number, or of a KerasEstimator an array with one for
                each time step.
            weightCols: weight columns of a model with several outputs: {"output name": "column"}, or a list in the
                order of the model's outputs; instead of weightCol.
            classWeight: what each class weighs while rows are trained, as Keras' class_weight: {class index: weight}, 1
                for a class that is not named; or "balanced": n / (k · n_c) for a class with n_c of the n labels of k
                classes, as in scikit-learn, counted over the rows to train on; multiplied with weightCol.
            validationIndicatorCol: boolean column, true for rows to validate on.
            validationSplit: share of the rows held out for validation, in [0, 1); chosen by the hash of their content.
                Default 0.0.
            epochs: passes over the rows. Default 1.
            initialEpoch: the epoch to begin with, from 0 on: of 10 epochs, 6 are trained from epoch 4 on, as with
                Keras' initial_epoch. Default 0.
            batchSize: rows per minibatch and worker. Default 32.
            shuffle: whether each epoch trains the rows of a shard in a new order, derived from the seed. Default True.
            numWorkers: number of workers; not set: what the cluster offers now.
            cpusPerWorker: CPU threads of each worker; not set: spark.task.cpus.
            maxShardMemory: bytes of rows that a worker keeps in memory, such as 2147483648 or "2g"; larger shards live
                in a file on the executor's local disk, to the same result; not set: a quarter of the worker's share of
                the memory.
            prefetch: stacks of minibatches that a worker prepares ahead, while it waits or in a background thread; 0:
                none. Default 2.
            jitCompile: how a round is compiled: "auto" as layers, batch size and length of the fit suggest; True with
                XLA; False without; "measure" as is fastest on a worker now, which another fit may not find again.
                Default "auto".
            averagingFrequency: minibatches between two averagings of the workers' parameters, or "epoch". Default 10.
            optimizerState: what becomes of the optimizer's variables (Adam's moments, momentum) when parameters are
                averaged: "average" averages them, too; "local" leaves each worker its own; "reset" starts them anew in
                each round. Default "average".
            outerOptimizer: a Keras optimizer, its name or its configuration, that takes what an averaging has changed
                for a gradient; held as its name or configuration; unset: the averaged parameters are the new ones, as
                with SGD(1.0).
            callbacks: Keras callbacks; they run on the driver, at epoch ends (batch hooks: after each averaging).
            maxFailures: how often in a row, without an answer between, a worker may fail: with so many failures the fit
                fails, too; a worker that dies before is replaced, to the same result. Default 4.
            workerTimeout: seconds without a sign of life (up to 64 minibatches trained) after which a worker is
                replaced. Default 600.0.
            joinTimeout: seconds that a fit waits for a free slot for each of its workers, and for a sign of life from a
                worker that loads its rows. Default 600.0.
            nonFinite: what happens when a worker's round makes a variable NaN or infinite: "error" ends the fit and
                names worker, round and variable; "skip" leaves this update out of the average and counts it in the
                summary. With keras.callbacks.TerminateOnNaN among the callbacks, that one decides. Default "error".
            checkpointDir: folder, on any file system that Spark can write, of this fit's checkpoints; a fit of the same
                rows, model and Params goes on from the last one, to the same result.
            checkpointInterval: epochs between two checkpoints, or a time such as "30s", "5m" or "1h", which may end
                within an epoch. Default 1.
            seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
            verbose: 0: silent; 1 or "auto": a progress bar in terminals and notebooks, silent in jobs; 2: one line per
                epoch. Default 1.
            handleInvalid: what happens to rows with null or NaN in a column that is used: "error" refuses them, "skip"
                leaves them out, "keep" gives them null predictions (a fit leaves them out and counts them in the
                summary). Default "error".
            customObjects: custom layers, losses and metrics by name, as Keras' custom_objects; not needed for
                registered classes.
        """
        super().__init__()
        self._set(**self._input_kwargs)


class KerasClassifierParams(mixins.HasTraining, mixins.HasClasses, mixins.HasClassWeight):
    """Params of a `KerasClassifier`."""

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
        outerOptimizer: Any = None,
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
        """Takes each Param by its name.

        Args:
            model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a .keras archive or .h5
                file; held as bytes.
            modelFn: a function that builds and compiles the model: modelFn(**modelParams); used when `model` is not
                set.
            modelParams: keyword arguments for modelFn.
            featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
            featuresCols: scalar columns to put side by side into one features tensor, instead of featuresCol.
            inputCols: columns of a model with several inputs: {"input name": "column"}, or a list in the order of the
                model's inputs; for a model that takes nested inputs, dicts and lists inside each other.
            labelCol: number, boolean, array or vector; a model that computes its own loss can do without; "" for none;
                the features column, for an autoencoder. Default "label".
            predictionCol: column for a classifier's class or a regressor's number, as a double, or for any model's only
                output, as an array with the model's shape; "" leaves it out. Default "prediction".
            probabilityCol: column for a vector of probabilities, in [0, 1]; none is written of margins. Default
                "probability".
            rawPredictionCol: column for a vector of what the model gives. Default "rawPrediction".
            thresholds: one number for each class: the class with the largest probability / threshold is predicted;
                numbers are positive, and at most one may be 0.
            outputType: what the model gives: "probabilities", "logits" or "margins"; "auto": as its last activation,
                else its loss says. Default "auto".
            threshold: of a model that gives one margin: the second of two classes is predicted where the margin is
                larger. Default 0.0.
            weightCol: weights of rows, as Keras' sample_weight: a number, or of a KerasEstimator an array with one for
                each time step.
            classWeight: what each class weighs while rows are trained, as Keras' class_weight: {class index: weight}, 1
                for a class that is not named; or "balanced": n / (k · n_c) for a class with n_c of the n labels of k
                classes, as in scikit-learn, counted over the rows to train on; multiplied with weightCol.
            validationIndicatorCol: boolean column, true for rows to validate on.
            validationSplit: share of the rows held out for validation, in [0, 1); chosen by the hash of their content.
                Default 0.0.
            epochs: passes over the rows. Default 1.
            initialEpoch: the epoch to begin with, from 0 on: of 10 epochs, 6 are trained from epoch 4 on, as with
                Keras' initial_epoch. Default 0.
            batchSize: rows per minibatch and worker. Default 32.
            shuffle: whether each epoch trains the rows of a shard in a new order, derived from the seed. Default True.
            numWorkers: number of workers; not set: what the cluster offers now.
            cpusPerWorker: CPU threads of each worker; not set: spark.task.cpus.
            maxShardMemory: bytes of rows that a worker keeps in memory, such as 2147483648 or "2g"; larger shards live
                in a file on the executor's local disk, to the same result; not set: a quarter of the worker's share of
                the memory.
            prefetch: stacks of minibatches that a worker prepares ahead, while it waits or in a background thread; 0:
                none. Default 2.
            jitCompile: how a round is compiled: "auto" as layers, batch size and length of the fit suggest; True with
                XLA; False without; "measure" as is fastest on a worker now, which another fit may not find again.
                Default "auto".
            averagingFrequency: minibatches between two averagings of the workers' parameters, or "epoch". Default 10.
            optimizerState: what becomes of the optimizer's variables (Adam's moments, momentum) when parameters are
                averaged: "average" averages them, too; "local" leaves each worker its own; "reset" starts them anew in
                each round. Default "average".
            outerOptimizer: a Keras optimizer, its name or its configuration, that takes what an averaging has changed
                for a gradient; held as its name or configuration; unset: the averaged parameters are the new ones, as
                with SGD(1.0).
            callbacks: Keras callbacks; they run on the driver, at epoch ends (batch hooks: after each averaging).
            maxFailures: how often in a row, without an answer between, a worker may fail: with so many failures the fit
                fails, too; a worker that dies before is replaced, to the same result. Default 4.
            workerTimeout: seconds without a sign of life (up to 64 minibatches trained) after which a worker is
                replaced. Default 600.0.
            joinTimeout: seconds that a fit waits for a free slot for each of its workers, and for a sign of life from a
                worker that loads its rows. Default 600.0.
            nonFinite: what happens when a worker's round makes a variable NaN or infinite: "error" ends the fit and
                names worker, round and variable; "skip" leaves this update out of the average and counts it in the
                summary. With keras.callbacks.TerminateOnNaN among the callbacks, that one decides. Default "error".
            checkpointDir: folder, on any file system that Spark can write, of this fit's checkpoints; a fit of the same
                rows, model and Params goes on from the last one, to the same result.
            checkpointInterval: epochs between two checkpoints, or a time such as "30s", "5m" or "1h", which may end
                within an epoch. Default 1.
            seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
            verbose: 0: silent; 1 or "auto": a progress bar in terminals and notebooks, silent in jobs; 2: one line per
                epoch. Default 1.
            handleInvalid: what happens to rows with null or NaN in a column that is used: "error" refuses them, "skip"
                leaves them out, "keep" gives them null predictions (a fit leaves them out and counts them in the
                summary). Default "error".
            customObjects: custom layers, losses and metrics by name, as Keras' custom_objects; not needed for
                registered classes.
        """
        super().__init__()
        self._set(**self._input_kwargs)


class KerasRegressorParams(mixins.HasTraining):
    """Params of a `KerasRegressor`."""

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
        outerOptimizer: Any = None,
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
        """Takes each Param by its name.

        Args:
            model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a .keras archive or .h5
                file; held as bytes.
            modelFn: a function that builds and compiles the model: modelFn(**modelParams); used when `model` is not
                set.
            modelParams: keyword arguments for modelFn.
            featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
            featuresCols: scalar columns to put side by side into one features tensor, instead of featuresCol.
            inputCols: columns of a model with several inputs: {"input name": "column"}, or a list in the order of the
                model's inputs; for a model that takes nested inputs, dicts and lists inside each other.
            labelCol: number, boolean, array or vector; a model that computes its own loss can do without; "" for none;
                the features column, for an autoencoder. Default "label".
            predictionCol: column for a classifier's class or a regressor's number, as a double, or for any model's only
                output, as an array with the model's shape; "" leaves it out. Default "prediction".
            weightCol: weights of rows, as Keras' sample_weight: a number, or of a KerasEstimator an array with one for
                each time step.
            validationIndicatorCol: boolean column, true for rows to validate on.
            validationSplit: share of the rows held out for validation, in [0, 1); chosen by the hash of their content.
                Default 0.0.
            epochs: passes over the rows. Default 1.
            initialEpoch: the epoch to begin with, from 0 on: of 10 epochs, 6 are trained from epoch 4 on, as with
                Keras' initial_epoch. Default 0.
            batchSize: rows per minibatch and worker. Default 32.
            shuffle: whether each epoch trains the rows of a shard in a new order, derived from the seed. Default True.
            numWorkers: number of workers; not set: what the cluster offers now.
            cpusPerWorker: CPU threads of each worker; not set: spark.task.cpus.
            maxShardMemory: bytes of rows that a worker keeps in memory, such as 2147483648 or "2g"; larger shards live
                in a file on the executor's local disk, to the same result; not set: a quarter of the worker's share of
                the memory.
            prefetch: stacks of minibatches that a worker prepares ahead, while it waits or in a background thread; 0:
                none. Default 2.
            jitCompile: how a round is compiled: "auto" as layers, batch size and length of the fit suggest; True with
                XLA; False without; "measure" as is fastest on a worker now, which another fit may not find again.
                Default "auto".
            averagingFrequency: minibatches between two averagings of the workers' parameters, or "epoch". Default 10.
            optimizerState: what becomes of the optimizer's variables (Adam's moments, momentum) when parameters are
                averaged: "average" averages them, too; "local" leaves each worker its own; "reset" starts them anew in
                each round. Default "average".
            outerOptimizer: a Keras optimizer, its name or its configuration, that takes what an averaging has changed
                for a gradient; held as its name or configuration; unset: the averaged parameters are the new ones, as
                with SGD(1.0).
            callbacks: Keras callbacks; they run on the driver, at epoch ends (batch hooks: after each averaging).
            maxFailures: how often in a row, without an answer between, a worker may fail: with so many failures the fit
                fails, too; a worker that dies before is replaced, to the same result. Default 4.
            workerTimeout: seconds without a sign of life (up to 64 minibatches trained) after which a worker is
                replaced. Default 600.0.
            joinTimeout: seconds that a fit waits for a free slot for each of its workers, and for a sign of life from a
                worker that loads its rows. Default 600.0.
            nonFinite: what happens when a worker's round makes a variable NaN or infinite: "error" ends the fit and
                names worker, round and variable; "skip" leaves this update out of the average and counts it in the
                summary. With keras.callbacks.TerminateOnNaN among the callbacks, that one decides. Default "error".
            checkpointDir: folder, on any file system that Spark can write, of this fit's checkpoints; a fit of the same
                rows, model and Params goes on from the last one, to the same result.
            checkpointInterval: epochs between two checkpoints, or a time such as "30s", "5m" or "1h", which may end
                within an epoch. Default 1.
            seed: of shuffling, dropout, validationSplit and modelFn's initial weights. Default 0.
            verbose: 0: silent; 1 or "auto": a progress bar in terminals and notebooks, silent in jobs; 2: one line per
                epoch. Default 1.
            handleInvalid: what happens to rows with null or NaN in a column that is used: "error" refuses them, "skip"
                leaves them out, "keep" gives them null predictions (a fit leaves them out and counts them in the
                summary). Default "error".
            customObjects: custom layers, losses and metrics by name, as Keras' custom_objects; not needed for
                registered classes.
        """
        super().__init__()
        self._set(**self._input_kwargs)


class KerasTransformerParams(mixins.HasInference, mixins.HasOutputs, mixins.HasOutputLayer):
    """Params of a `KerasTransformer`."""

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
        """Takes each Param by its name.

        Args:
            model: a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a .keras archive or .h5
                file; held as bytes.
            featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
            featuresCols: scalar columns to put side by side into one features tensor, instead of featuresCol.
            inputCols: columns of a model with several inputs: {"input name": "column"}, or a list in the order of the
                model's inputs; for a model that takes nested inputs, dicts and lists inside each other.
            predictionCol: column for a classifier's class or a regressor's number, as a double, or for any model's only
                output, as an array with the model's shape; "" leaves it out. Default "prediction".
            outputCols: columns for the model's outputs: {"output name": "column"}, or a list in the order of the
                model's outputs; an output named "" is left out.
            outputFormat: how outputs are written: "array", with the model's shape, or "vector", flat in row-major
                order, for Spark's own stages. Default "array".
            outputLayer: name of an inner layer whose activations are given instead of the model's outputs; of one
                inside a nested model its path, such as "backbone/embedding", or its name alone where only one layer has
                it.
            batchSize: rows in one forward pass, which bounds its memory. Default 1024.
            handleInvalid: what happens to rows with null or NaN in a column that is used: "error" refuses them, "skip"
                leaves them out, "keep" gives them null predictions (a fit leaves them out and counts them in the
                summary). Default "error".
            customObjects: custom layers, losses and metrics by name, as Keras' custom_objects; not needed for
                registered classes.
        """
        super().__init__()
        self._set(**self._input_kwargs)
