"""All that is settled before a fit starts a job: its model, the columns that feed it, the number of workers."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import keras
from pyspark.sql import DataFrame, SparkSession

from spark_keras.cluster import addresses, session, slots
from spark_keras.columns import labels, mismatch, names, summable
from spark_keras.columns.training_columns import training_columns
from spark_keras.executor.process import ProcessSettings
from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import first_step, held, own_code, rate_scaling, signature
from spark_keras.keras_model import optimizers as optimizer_parts
from spark_keras.keras_model import state as states
from spark_keras.keras_model.rate_scaling import RateScaling
from spark_keras.keras_model.seeding import Seeding
from spark_keras.keras_model.signature import Tensor
from spark_keras.params import outer_optimizer
from spark_keras.params.values import param_or_none
from spark_keras.training.frozen_features import divided, undivided
from spark_keras.training.plan import Decision
from spark_keras.training.settings import shared_rows
from spark_keras.training.strategies.place import place
from spark_keras.training.wire import connections
from spark_keras.training.worker.closure import AmongWorkers, Compressing, WorkerTask


class Prepared(NamedTuple):
    """All that is settled and checked before a job starts.

    Args:
        model: the driver's.
        trained: what the workers train of it: all, or what comes behind features that they keep.
        outputs: its output tensors.
        task: of the workers.
        workers: their number, and why.
        batch: rows per minibatch and worker, and why.
        outer: the outer optimizer; None for plain averaging.
        averaging: where states are averaged, "driver" or "workers".
    """

    model: keras.Model
    trained: keras.Model
    outputs: tuple[Tensor, ...]
    task: WorkerTask
    workers: Decision
    batch: Decision
    outer: keras.optimizers.Optimizer | None
    averaging: Decision


def prepare(dataset: DataFrame, estimator: Any) -> Prepared:
    """Binds columns to a new model's tensors, and checks all that can be checked before a job starts."""
    spark = dataset.sparkSession
    if estimator.getInitialEpoch() >= estimator.getEpochs():
        warnings.warn(
            f"Param `initialEpoch` leaves nothing to do. Received: {estimator.getInitialEpoch()}, where `epochs` is "
            f"{estimator.getEpochs()}, so that no epoch is trained. Expected: less than `epochs`, as with Keras' "
            "initial_epoch.",
            RuntimeWarning,
            stacklevel=2,
        )
    names.check_new(dataset, estimator._new_columns())
    workers = _workers(estimator, spark)
    count: int = workers.value
    seeding = Seeding(estimator.getSeed())
    with seeding:
        model, trusted = _new_model(estimator)
    known = signature.outputs_of_graph(model)
    if known is not None:
        estimator._check_outputs(dataset, model, known)
    # Between these, Spark may have to look at a row, for which nobody else should wait.
    spec, outputs = training_columns(dataset, estimator, model, estimator._classifies, seeding)
    if known is None:
        estimator._check_outputs(dataset, model, outputs)
    mismatch.warn_of_losses(model, outputs)
    asked = held.asked_batch(model)
    if asked is not None:
        spec = spec._replace(sample_rows=asked[1])
    with seeding:
        with mismatch.metrics_explained(model, spec, outputs):
            first_step.build(model, spec.sample())
        labels.refuse_without_loss(model, spec)
    summable.refuse_not_summable(model, spec, outputs)
    batch = _batch(estimator, count, model, asked)
    batch_size: int = batch.value
    if asked is not None and asked[1] != batch_size:
        raise ValueError(
            f"Param `batchSize` does not fit the model. Received: {batch_size}. Expected: {asked[1]}, "
            f"because its layer {asked[0]!r} is stateful and takes minibatches of so many rows."
        )
    _check_optimizer(estimator, model)
    _check_mode(estimator, model)
    _check_changes(estimator)
    _check_overlap(estimator)
    outer = outer_optimizer.optimizer(param_or_none(estimator, "outerOptimizer"), estimator.getCustomObjects())
    trained, features, code = divided(model, spec) if estimator.getCacheFrozenFeatures() else undivided(model)
    architecture = architectures.architecture(trained, spec.names_in_structures)
    settings = ProcessSettings.of_driver(_threads(estimator, spark), estimator.getCustomObjects())
    code += own_code.pickled(trained, architecture)
    averaging = _averaging(estimator, spark, model, outer, count)
    task = WorkerTask(
        endpoint=connections.Endpoint(""),  # known when the fit's own socket is open
        settings=settings._replace(custom_objects=settings.custom_objects + code),
        architecture=architecture,
        safe_mode=not trusted,
        columns=spec,
        batch_size=batch_size,
        shuffle=estimator.getShuffle(),
        seed=estimator.getSeed(),
        workers=count,
        rate_scaling=_rate_scaling(estimator, batch_size * count),
        max_shard_memory=param_or_none(estimator, "maxShardMemory"),
        prefetch=estimator.getPrefetch(),
        among_workers=_among_workers(estimator, spark) if averaging.value == "workers" else None,
        compressing=_compressing(estimator),
        overlap=estimator.getOverlap(),
        frozen_features=features,
    )
    return Prepared(model, trained, outputs, task, workers, batch, outer, averaging)


def _new_model(estimator: Any) -> tuple[keras.Model, bool]:
    """(a compiled model of this fit's own, whether it comes from this process)."""
    if estimator.isSet("model"):
        archive = estimator.getOrDefault("model")
        model, trusted, origin = archive.load(estimator.getCustomObjects()), archive.trusted, "model"
    elif estimator.isSet("modelFn"):
        model, trusted, origin = estimator.getModelFn()(**estimator.getModelParams()), True, "modelFn"
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"Param `modelFn` did not return a model. Received: {model!r} from "
                f"modelFn(**{estimator.getModelParams()}). Expected: a compiled keras.Model."
            )
    else:
        raise ValueError("Neither Param `model` nor `modelFn` is set. Expected: one of them.")
    if not getattr(model, "compiled", False):
        raise ValueError(
            f"The model of Param `{origin}` is not compiled. Received: {model.name!r} without optimizer and loss. "
            "Expected: a model after model.compile(optimizer=…, loss=…)."
        )
    return model, trusted


def _threads(estimator: Any, spark: SparkSession) -> int:
    return int(param_or_none(estimator, "cpusPerWorker") or slots.task_cpus(spark))


def _workers(estimator: Any, spark: SparkSession) -> Decision:
    cpus, found = slots.task_cpus(spark), slots.slots(spark)
    wanted = param_or_none(estimator, "numWorkers")
    if found is None:
        unknown = "the session does not tell how many tasks it can run at the same time"
        return Decision(wanted or 1, f"Param numWorkers; {unknown}" if wanted else f"a guess: {unknown}")
    capacity = max(1, found * cpus // max(cpus, _threads(estimator, spark)))
    if wanted is None:
        return Decision(capacity, "as many as the session can run at the same time")
    if wanted > capacity and not session.slots_can_grow(spark):
        of_threads = "tasks at the same time (cores / spark.task.cpus)"
        if _threads(estimator, spark) > cpus:
            of_threads = "workers of so many threads (cores / cpusPerWorker)"
        raise ValueError(
            f"More workers than slots. Received: numWorkers={wanted}. Expected: at most {capacity}, because the "
            f"session can run so many {of_threads} now. Leave numWorkers unset to take what there is, or give the "
            "session more cores."
        )
    return Decision(wanted, "Param numWorkers")


def _averaging(
    estimator: Any, spark: SparkSession, model: keras.Model, outer: keras.optimizers.Optimizer | None, workers: int
) -> Decision:
    if estimator.getMode() == "asynchronous":
        return Decision("driver", "asynchronous workers have no average")
    for param in ("compression", "combine", "overlap"):
        if estimator.getAveraging() == "auto" and not _is_plain(estimator, param):
            return Decision("driver", f"Param {param}")
    wanted, optimizer_state = estimator.getAveraging(), estimator.getOptimizerState()
    hosts = slots.hosts(spark) if wanted == "auto" else 1
    chosen, reason = place(wanted, states.layout_of(model), optimizer_state, outer, workers, hosts)
    by_param = estimator.isSet("averaging") and wanted != "auto"
    return Decision(chosen, "Param averaging" if by_param else reason)


def _among_workers(estimator: Any, spark: SparkSession) -> AmongWorkers:
    ports = addresses.ports(spark, "spark.keras.worker.port")
    return AmongWorkers(
        estimator.getOptimizerState(), param_or_none(estimator, "outerOptimizer"), (ports.start, ports.stop)
    )


def _compressing(estimator: Any) -> Compressing | None:
    coding = param_or_none(estimator, "compression")
    return None if coding is None else Compressing(coding, estimator.getOptimizerState())


def _is_plain(estimator: Any, param: str) -> bool:
    """Tells if changes are not compressed, their mean is applied, or workers wait for it."""
    return param_or_none(estimator, param) in (None, "mean", False)


def _batch(estimator: Any, workers: int, model: keras.Model, asked: tuple[str, int] | None) -> Decision:
    """Rows per minibatch of each worker.

    Args:
        asked: a stateful layer, and the rows that it takes.
    """
    rows, shared = int(estimator.getBatchSize()), estimator.getGlobalBatch()
    reason = "Param batchSize" if estimator.isSet("batchSize") else "the default"
    if workers == 1 or shared is False:
        return Decision(rows, reason)
    of_all = f"{reason}, {rows} rows of all workers"
    if shared == "auto":
        if asked is not None:
            return Decision(rows, f"{reason}, of each worker for stateful layer {asked[0]!r}")
        batch_statistics = held.batch_statistics(model)
        size = shared_rows(rows, workers, batch_statistics)
        if size * workers >= rows + workers:
            for_layer = " for BatchNormalization" if batch_statistics else ""
            return Decision(size, f"{of_all}, but {size} on each at least{for_layer}")
        return Decision(size, of_all)
    if rows % workers:
        raise ValueError(
            f"Param `batchSize` cannot be dealt to the workers. Received: batchSize={rows} and globalBatch=True with "
            f"{workers} workers. Expected: a multiple of {workers}, so that each has as many rows of a step."
        )
    return Decision(rows // workers, of_all)


def _rate_scaling(estimator: Any, rows: int) -> RateScaling:
    """Of the learning rates, for steps in which all workers together train so many rows."""
    warm_up = estimator.getLearningRateWarmup()
    if warm_up and estimator.getOptimizerState() == "reset":
        raise ValueError(
            f'Param `learningRateWarmup` does not go with `optimizerState`. Received: {warm_up} and "reset", which '
            'counts the optimizer\'s steps anew in each round. Expected: 0, or "average" or "local".'
        )
    times = rows / estimator.getBatchSize()
    return RateScaling(rate_scaling.factor(estimator.getLearningRateScaling(), times), warm_up)


def _check_optimizer(estimator: Any, model: keras.Model) -> None:
    optimizers = [model.optimizer, *held.of(model).optimizers.values()]
    if estimator.getOptimizerState() == "reset" and any(map(optimizer_parts.keeps_averages, optimizers)):
        raise ValueError(
            'Param `optimizerState` does not go with the optimizer. Received: "reset" and use_ema=True, whose '
            'averages would begin anew with each round. Expected: "average" or "local", or an optimizer without '
            "them."
        )
    # Those of `model.optimizer` travel by the index of the variable.
    innermost = optimizer_parts.innermost(model.optimizer)
    if any(
        optimizer_parts.excludes_from_weight_decay(each)
        for each in optimizers
        if optimizer_parts.innermost(each) is not innermost
    ):
        raise ValueError(
            "An optimizer that is not `model.optimizer`, or is inside of a MultiOptimizer, was told to "
            "exclude_from_weight_decay(…), which does not reach the workers. Expected: an optimizer without weight "
            "decay for those variables."
        )


def _check_mode(estimator: Any, model: keras.Model) -> None:
    """Refuses what needs the mean of all workers."""
    if estimator.getMode() == "synchronous":
        return
    if estimator.getAveraging() == "workers":
        raise ValueError(
            'Param `averaging` does not go with mode="asynchronous". Received: "workers". Expected: "driver", which '
            'adds each update when it comes, or mode="synchronous".'
        )
    outer = param_or_none(estimator, "outerOptimizer")
    if outer is not None:
        raise ValueError(
            f'Param `outerOptimizer` does not go with mode="asynchronous". Received: {outer!r}. Expected: none: '
            "it steps from the mean of all workers, for which asynchronous ones do not wait."
        )
    optimizers = [model.optimizer, *held.of(model).optimizers.values()]
    if any(map(optimizer_parts.accumulates_gradients, optimizers)):
        raise ValueError(
            'Param `mode` does not go with the optimizer. Received: "asynchronous" and gradient_accumulation_steps. '
            'Expected: an optimizer without them, or "synchronous": asynchronous workers begin at any step, also where '
            "gradients are half added up."
        )


def _check_overlap(estimator: Any) -> None:
    """Refuses what does not go with workers that train ahead of the average."""
    if not estimator.getOverlap():
        return
    params = "optimizerState", "averaging", "mode", "combine", "compression", "outerOptimizer"
    received = {param: param_or_none(estimator, param) for param in params}
    wanted = {
        "optimizerState": ("local",),
        "averaging": ("driver", "auto"),
        "mode": ("synchronous",),
        "combine": ("mean",),
    }
    for param, value in received.items():
        choices = wanted.get(param, (None,))
        if value not in choices:
            raise ValueError(
                f"Param `overlap` does not go with `{param}`. Received: overlap=True and {param}={value!r}. Expected: "
                f"{param}={choices[0]!r}, because each worker corrects what it has trained since by the plain average "
                "of the weights on the driver."
            )


def _check_changes(estimator: Any) -> None:
    """Refuses what does not go with compressed or summed changes."""
    compression = param_or_none(estimator, "compression")
    if compression is not None and estimator.getOptimizerState() == "average":
        raise ValueError(
            f"Param `compression` does not go with `optimizerState`. Received: {compression!r} and "
            'optimizerState="average". Expected: "local" or "reset", which leave the optimizer\'s variables with the '
            "workers: they would be most of what travels, and a rounded change could make a variance negative."
        )
    others = {"averaging": estimator.getAveraging() == "workers", "mode": estimator.getMode() == "asynchronous"}
    others["outerOptimizer"] = compression is not None and param_or_none(estimator, "outerOptimizer") is not None
    for param in ("compression", "combine"):
        for other, is_set in others.items():
            if is_set and not _is_plain(estimator, param):
                raise ValueError(
                    f"Param `{param}` does not go with `{other}`. Received: {param_or_none(estimator, param)!r} and "
                    f"{other}={param_or_none(estimator, other)!r}. Expected: one of them as it is by default, "
                    "because the driver combines what synchronous workers have changed, and sends it on."
                )
