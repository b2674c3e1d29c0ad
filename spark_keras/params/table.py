"""All Params of the stages that hold a Keras model. After a change run scripts/write_params.py."""

from __future__ import annotations

import functools
import math
from typing import Any

from pyspark.ml.param import TypeConverters

from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params import converters, outer_optimizer
from spark_keras.params.row import Decides, Mixin, Row, Table
from spark_keras.params.values import param_or_none

NOTHING, ROWS, BITS, BITS_IF_CHANGED = Decides.NOTHING, Decides.ROWS, Decides.BITS, Decides.BITS_IF_CHANGED

# Params of each mixin.
_model = functools.partial(Row, "HasModel")
_labels = functools.partial(Row, "HasLabels")
_output_labels = functools.partial(Row, "HasOutputLabels")
_outputs = functools.partial(Row, "HasOutputs")
_output_layer = functools.partial(Row, "HasOutputLayer")
_classes = functools.partial(Row, "HasClasses")
_class_weight = functools.partial(Row, "HasClassWeight")
_inference = functools.partial(Row, "HasInference")
_training = functools.partial(Row, "HasTraining")

_ROWS = (
    _model(
        "model",
        "a compiled keras.Model, a fitted stage to go on from, or the path or bytes of a .keras archive or .h5 file; "
        "held as bytes",
        KerasArchive.of,
        decides=NOTHING,
        accepts="Any",
        json=False,
    ),
    _training(
        "modelFn",
        "a function that builds and compiles the model: modelFn(**modelParams); used when `model` is not set",
        converters.accepted("modelFn", callable, "a function that returns a compiled keras.Model"),
        type="Callable[..., Any]",
        decides=NOTHING,
        json=False,
    ),
    _training("modelParams", "keyword arguments for modelFn", converters.json_dict, decides=NOTHING, default={}),
    _model(
        "featuresCol",
        "column of a model with one input: vector, (nested) array or number",
        decides=ROWS,
        default="features",
    ),
    _model(
        "featuresCols",
        "scalar columns to put side by side into one features tensor, instead of featuresCol",
        TypeConverters.toListString,
        type="list[str]",
        decides=ROWS,
    ),
    _model(
        "inputCols",
        'columns of a model with several inputs: {"input name": "column"}, or a list in the order of the model\'s '
        "inputs; for a model that takes nested inputs, dicts and lists inside each other",
        converters.input_columns,
        type="dict[str, str] | list[str]",
        decides=ROWS,
    ),
    _labels(
        "labelCol",
        'number, boolean, array or vector; a model that computes its own loss can do without; "" for none; the '
        "features column, for an autoencoder",
        decides=ROWS,
        default="label",
    ),
    _output_labels(
        "labelCols",
        'label columns of a model with several outputs: {"output name": "column"}, or a list in the order of the '
        "model's outputs; instead of labelCol; an output without a loss or metric needs none",
        converters.named_columns("labelCols"),
        decides=ROWS,
    ),
    _model(
        "predictionCol",
        "column for a classifier's class or a regressor's number, as a double, or for any model's only output, as an "
        'array with the model\'s shape; "" leaves it out',
        decides=NOTHING,
        default="prediction",
    ),
    _outputs(
        "outputCols",
        'columns for the model\'s outputs: {"output name": "column"}, or a list in the order of the model\'s '
        'outputs; an output named "" is left out',
        converters.named_columns("outputCols"),
        decides=NOTHING,
    ),
    _outputs(
        "outputFormat",
        'how outputs are written: "array", with the model\'s shape, or "vector", flat in row-major order, for '
        "Spark's own stages",
        converters.one_of("outputFormat", "array", "vector"),
        decides=NOTHING,
        default="array",
    ),
    _output_layer(
        "outputLayer",
        "name of an inner layer whose activations are given instead of the model's outputs; of one inside a nested "
        'model its path, such as "backbone/embedding", or its name alone where only one layer has it',
        TypeConverters.toString,
        type="str",
        decides=NOTHING,
    ),
    _classes(
        "probabilityCol",
        "column for a vector of probabilities, in [0, 1]; none is written of margins",
        decides=NOTHING,
        default="probability",
    ),
    _classes(
        "rawPredictionCol",
        "column for a vector of what the model gives",
        decides=NOTHING,
        default="rawPrediction",
    ),
    _classes(
        "thresholds",
        "one number for each class: the class with the largest probability / threshold is predicted; numbers are "
        "positive, and at most one may be 0",
        converters.thresholds,
        decides=NOTHING,
    ),
    _classes(
        "outputType",
        'what the model gives: "probabilities", "logits" or "margins"; "auto": as its last activation, else its loss '
        "says",
        converters.one_of("outputType", "auto", "probabilities", "logits", "margins"),
        decides=NOTHING,
        default="auto",
    ),
    _classes(
        "threshold",
        "of a model that gives one margin: the second of two classes is predicted where the margin is larger",
        converters.number("threshold", lambda margin: not math.isnan(margin), "a number"),
        decides=NOTHING,
        default=0.0,
    ),
    _labels(
        "weightCol",
        "weights of rows, as Keras' sample_weight: a number, or of a KerasEstimator an array with one for each time "
        "step",
        decides=ROWS,
    ),
    _output_labels(
        "weightCols",
        'weight columns of a model with several outputs: {"output name": "column"}, or a list in the order of the '
        "model's outputs; instead of weightCol",
        converters.named_columns("weightCols"),
        decides=ROWS,
    ),
    _class_weight(
        "classWeight",
        "what each class weighs while rows are trained, as Keras' class_weight: {class index: weight}, 1 for a class "
        'that is not named; or "balanced": n / (k · n_c) for a class with n_c of the n labels of k classes, as in '
        "scikit-learn, counted over the rows to train on; multiplied with weightCol",
        converters.class_weight,
        decides=NOTHING,
    ),
    _training("validationIndicatorCol", "boolean column, true for rows to validate on", decides=ROWS),
    _training(
        "validationSplit",
        "share of the rows held out for validation, in [0, 1); chosen by the hash of their content",
        converters.number("validationSplit", lambda share: 0 <= share < 1, "0 ≤ value < 1"),
        decides=ROWS | BITS,
        default=0.0,
    ),
    _training("epochs", "passes over the rows", converters.integer("epochs", 1), decides=BITS, default=1),
    _training(
        "initialEpoch",
        "the epoch to begin with, from 0 on: of 10 epochs, 6 are trained from epoch 4 on, as with Keras' initial_epoch",
        converters.integer("initialEpoch", 0),
        decides=BITS_IF_CHANGED,
        default=0,
    ),
    _training(
        "batchSize",
        "rows per minibatch, of each worker or of all together as `globalBatch` tells",
        converters.integer("batchSize", 1),
        decides=BITS,
        default=32,
    ),
    _inference(
        "batchSize",
        "rows in one forward pass, which bounds its memory",
        converters.integer("batchSize", 1),
        decides=NOTHING,
        default=1024,
    ),
    _training(
        "shuffle",
        "whether each epoch trains the rows of a shard in a new order, derived from the seed",
        TypeConverters.toBoolean,
        type="bool",
        decides=BITS,
        default=True,
    ),
    _training(
        "numWorkers",
        "number of workers; not set: what the cluster offers now",
        converters.integer("numWorkers", 1),
        decides=ROWS,
    ),
    _training(
        "cpusPerWorker",
        "CPU threads of each worker; not set: spark.task.cpus",
        converters.integer("cpusPerWorker", 1),
        decides=ROWS,
    ),
    _training(
        "maxShardMemory",
        'bytes of rows that a worker keeps in memory, such as 2147483648 or "2g"; larger shards live in a file on the '
        "executor's local disk, to the same result; not set: a quarter of the worker's share of the memory",
        converters.max_shard_memory,
        decides=NOTHING,
        accepts="int | str",
    ),
    _training(
        "prefetch",
        "stacks of minibatches that a worker prepares ahead, while it waits or in a background thread; 0: none",
        converters.integer("prefetch", 0),
        decides=NOTHING,
        default=2,
    ),
    _training(
        "jitCompile",
        'how a round is compiled: "auto" as layers, batch size and length of the fit suggest; True with XLA; False '
        'without; "measure" as is fastest on a worker now, which another fit may not find again',
        converters.accepted(
            "jitCompile",
            lambda value: isinstance(value, bool) or value in ("auto", "measure"),
            '"auto", True, False or "measure"',
        ),
        type="bool | str",
        decides=BITS,
        default="auto",
    ),
    _training(
        "mode",
        'how workers train together: "synchronous": the driver averages them when all have trained their next '
        'minibatches; "asynchronous": it adds what each worker has trained when it comes, and no worker waits for '
        "another; faster where some are slow, without the promise of the same bits",
        converters.one_of("mode", "synchronous", "asynchronous"),
        decides=BITS_IF_CHANGED,
        default="synchronous",
    ),
    _training(
        "averagingFrequency",
        'minibatches between two averagings of the workers\' parameters, or "epoch"',
        converters.averaging_frequency,
        decides=BITS,
        default=10,
    ),
    _training(
        "globalBatch",
        "whether `batchSize` counts the rows of all workers together, as in tf.distribute, which share them (True), or "
        'those of each (False); "auto": workers share them, but each has 8 at least (16 with BatchNormalization), or '
        "`batchSize` where that is less; a stateful model's are those of each",
        converters.accepted(
            "globalBatch", lambda value: isinstance(value, bool) or value == "auto", '"auto", True or False'
        ),
        type="bool | str",
        decides=NOTHING,
        default="auto",
        absent=False,
    ),
    _training(
        "learningRateScaling",
        'how the learning rate grows with the rows that all workers train in a step: "none"; "linear": times these '
        'rows / batchSize, which is numWorkers where globalBatch is False; "sqrt": times the square root of that',
        converters.one_of("learningRateScaling", "none", "sqrt", "linear"),
        decides=BITS_IF_CHANGED,
        default="none",
    ),
    _training(
        "learningRateWarmup",
        "steps in which `learningRateScaling` sets in, along a line from the learning rate as it is",
        converters.integer("learningRateWarmup", 0),
        decides=BITS_IF_CHANGED,
        default=0,
    ),
    _training(
        "optimizerState",
        "what becomes of the optimizer's variables (Adam's moments, momentum) when parameters are averaged: "
        '"average" averages them, too; "local" leaves each worker its own; "reset" starts them anew in each round',
        converters.one_of("optimizerState", "average", "local", "reset"),
        decides=BITS,
        default="average",
    ),
    _training(
        "outerOptimizer",
        "a Keras optimizer, its name or its configuration, that takes what an averaging has changed for a gradient; "
        "held as its name or configuration; unset: the averaged parameters are the new ones, as with SGD(1.0)",
        outer_optimizer.held,
        decides=BITS_IF_CHANGED,
        accepts="Any",
    ),
    _training(
        "averaging",
        'where parameters are averaged, to the same bits: "driver"; "workers", who send slices of them to each other, '
        'so that the driver\'s traffic does not grow with the model; "auto" as sizes of model and cluster suggest',
        converters.one_of("averaging", "driver", "workers", "auto"),
        decides=NOTHING,
        default="driver",
    ),
    _training(
        "combine",
        'what an averaging does with what the workers have changed in the trained weights: it applies the "mean"; or '
        'the "sum", as Deeplearning4j shares gradients: a step as of all their minibatches together, as large as '
        "their number",
        converters.one_of("combine", "mean", "sum"),
        decides=BITS_IF_CHANGED,
        default="mean",
    ),
    _training(
        "compression",
        "how workers and driver send each other what an averaging changes in the trained weights: rounded to "
        '"float16" or "bfloat16"; or by "threshold", the signs of the largest tenth (Strom 2015); what is not sent '
        'is added to the next change; needs optimizerState="local" or "reset"; unset: whole states travel',
        converters.one_of("compression", "float16", "bfloat16", "threshold"),
        decides=BITS_IF_CHANGED,
    ),
    _training(
        "overlap",
        "whether workers train their next minibatches while the driver averages the last ones, and take the average "
        'into account a round late; needs optimizerState="local"',
        TypeConverters.toBoolean,
        type="bool",
        decides=BITS_IF_CHANGED,
        default=False,
    ),
    _training(
        "cacheFrozenFeatures",
        "whether each worker computes once what the frozen layers at the beginning of the network give for a row, "
        "keeps these features and trains the rest on them; they take memory, or a file, beside the rows",
        TypeConverters.toBoolean,
        type="bool",
        decides=BITS_IF_CHANGED,
        default=False,
    ),
    _training(
        "callbacks",
        "Keras callbacks; they run on the driver, at epoch ends (batch hooks: after each averaging)",
        converters.callbacks,
        decides=NOTHING,
        default=[],
        json=False,
    ),
    _training(
        "maxFailures",
        "how often in a row, without an answer between, a worker may fail: with so many failures the fit fails, too; a "
        "worker that dies before is replaced, to the same result",
        converters.integer("maxFailures", 1),
        decides=NOTHING,
        default=4,
    ),
    _training(
        "workerTimeout",
        "seconds without a sign of life (up to 64 minibatches trained) after which a worker is replaced",
        converters.seconds("workerTimeout"),
        decides=NOTHING,
        default=600.0,
    ),
    _training(
        "joinTimeout",
        "seconds that a fit waits for a free slot for each of its workers, and for a sign of life from a worker that "
        "loads its rows",
        converters.seconds("joinTimeout"),
        decides=NOTHING,
        default=600.0,
    ),
    _training(
        "nonFinite",
        'what happens when a worker\'s round makes a variable NaN or infinite: "error" ends the fit and names worker, '
        'round and variable; "skip" leaves this update out of the average and counts it in the summary. With '
        "keras.callbacks.TerminateOnNaN among the callbacks, that one decides",
        converters.one_of("nonFinite", "error", "skip"),
        decides=BITS,
        default="error",
    ),
    _training(
        "checkpointDir",
        "folder, on any file system that Spark can write, of this fit's checkpoints; a fit of the same rows, model and "
        "Params goes on from the last one, to the same result",
        TypeConverters.toString,
        type="str",
        decides=NOTHING,
    ),
    _training(
        "checkpointInterval",
        'epochs between two checkpoints, or a time such as "30s", "5m" or "1h", which may end within an epoch',
        converters.checkpoint_interval,
        decides=NOTHING,
        default=1,
    ),
    _training(
        "seed",
        "of shuffling, dropout, validationSplit and modelFn's initial weights",
        type="int",
        decides=ROWS | BITS,
        # pyspark's own default is a hash that differs from process to process.
        default=0,
    ),
    _training(
        "verbose",
        '0: silent; 1 or "auto": a progress bar in terminals and notebooks, silent in jobs; 2: one line per epoch',
        converters.verbose,
        decides=NOTHING,
        default=1,
        accepts="int | bool | str",
    ),
    _model(
        "handleInvalid",
        'what happens to rows with null or NaN in a column that is used: "error" refuses them, "skip" leaves them out, '
        '"keep" gives them null predictions (a fit leaves them out and counts them in the summary)',
        converters.one_of("handleInvalid", "error", "skip", "keep"),
        decides=NOTHING,
        default="error",
    ),
    _model(
        "customObjects",
        "custom layers, losses and metrics by name, as Keras' custom_objects; not needed for registered classes",
        converters.by_name("customObjects", 'a dict {"name": class or function}'),
        decides=NOTHING,
        default={},
        json=False,
    ),
)

_MIXINS = {
    "HasModel": Mixin(
        "A model, the columns that feed it, and the column for its predictions.",
        ("TakesModel", "shared.HasFeaturesCol", "shared.HasPredictionCol", "shared.HasHandleInvalid"),
    ),
    "HasLabels": Mixin("Labels and weights of rows.", ("shared.HasLabelCol", "shared.HasWeightCol")),
    "HasOutputLabels": Mixin("Labels and weights for a model with several outputs.", ("Params",)),
    "HasOutputs": Mixin("Columns for outputs as the model gives them.", ("Params",)),
    "HasOutputLayer": Mixin("An inner layer in place of the outputs.", ("Params",)),
    "HasClasses": Mixin(
        "Meaning of a classifier's output, and the columns for it.",
        ("shared.HasProbabilityCol", "shared.HasRawPredictionCol", "shared.HasThresholds"),
    ),
    "HasClassWeight": Mixin("Weights of classes.", ("Params",)),
    "HasInference": Mixin("A model that is applied.", ("HasModel",)),
    "HasTraining": Mixin("A fit.", ("HasModel", "HasLabels", "shared.HasValidationIndicatorCol", "shared.HasSeed")),
}

_CONSTRUCTORS = {
    "KerasEstimator": ("HasTraining", "HasOutputLabels", "HasOutputs", "HasClassWeight"),
    "KerasClassifier": ("HasTraining", "HasClasses", "HasClassWeight"),
    "KerasRegressor": ("HasTraining",),
    "KerasTransformer": ("HasInference", "HasOutputs", "HasOutputLayer"),
}

TABLE = Table(_ROWS, _MIXINS, _CONSTRUCTORS)

# Params whose values are live Python objects.
OBJECT_PARAMS = {row.name for row in _ROWS if not row.json}


def decisive(stage: Any) -> dict[str, Any]:
    """Values of the Params that decide the bits of a fit, by name, as the identity of its checkpoints has them."""
    found = {}
    for row in TABLE.deciding(BITS | BITS_IF_CHANGED):
        value = param_or_none(stage, row.name)
        if row.decides & BITS or value not in (None, row.default):
            found[row.name] = value
    return found
