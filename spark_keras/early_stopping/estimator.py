"""EarlyStopping, an Estimator around an estimator, and its model."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyspark.ml import Estimator, Model
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param
from pyspark.sql import DataFrame, SparkSession
from typing_extensions import Self

from spark_keras.cluster import files, session
from spark_keras.early_stopping.conditions import (
    Condition,
    MaxSeconds,
    NonFiniteScore,
    TargetScore,
    WorstScore,
)
from spark_keras.early_stopping.params import EarlyStoppingParams
from spark_keras.early_stopping.persistence import NestedSaved
from spark_keras.early_stopping.result import EarlyStoppingResult
from spark_keras.early_stopping.scores import EvaluatorScore, FunctionScore, MonitorScore
from spark_keras.early_stopping.stopper import Stopper
from spark_keras.keras_model import state as states
from spark_keras.keras_model.archive import KerasArchive
from spark_keras.params.keyword_only import keyword_only
from spark_keras.params.pickling import Picklable
from spark_keras.params.shown import ShowsParams
from spark_keras.params.values import param_or_none
from spark_keras.training.checkpoints.in_use import exclusive
from spark_keras.training.trainer import Trainer

# Params that are the number of a condition.
_LIMITS = {"targetScore": TargetScore, "worstScore": WorstScore, "maxSeconds": MaxSeconds}


class EarlyStopping(Picklable, Estimator["EarlyStoppingModel"], EarlyStoppingParams, NestedSaved):
    """Trains with a Keras estimator until a condition says stop, and returns the best model.

    After each `evaluateEvery` epochs the model gets a score. The model with the best one is kept, and conditions are
    asked whether to stop: the first that says so ends the training. Epochs are numbered from 1.

    Args:
        estimator: a KerasClassifier, KerasRegressor or KerasEstimator.
        monitor: a result of the training. Default "val_loss", which needs validation rows.
        mode: "auto" (default): the direction that Keras infers; "min"; "max".
        evaluator: a Spark evaluator instead of `monitor`; it scores the rows that the estimator validates on.
        scoreFunction: a function of the fitted model of the moment instead of `monitor`. It may start Spark jobs: the
            workers give up their slots meanwhile, which costs seconds.
        evaluateEvery: epochs from one score to the next. Default 1. Validation is left out in between.
        patience: epochs without improvement, as in Keras. Not set: does not stop for that.
        minDelta: a score that is better by less is no improvement. Default 0.
        baseline: as in Keras: only a score better than this one starts patience anew.
        startFromEpoch: as in Keras: so many epochs are not looked at. Default 0.
        maxEpochs: epochs at most. Default: the estimator's `epochs`.
        maxSeconds: seconds of training at most, counted from its first round; looked at between rounds. The epoch that
            is cut short is scored, too.
        targetScore: stops at a score as good as this one.
        worstScore: stops at a score worse than this one.
        stopOnNonFinite: stops at a score that is NaN or infinite. Default True; else such an epoch is passed over.
        conditions: further conditions; see `spark_keras.early_stopping.Condition`.
        keepLast: whether the model has the last one beside the best. Default False.
        modelDir: a folder for the best model of the moment, `best.keras`, on any file system that Spark reaches.
            Default: it is kept in the driver's memory.
        onError: "raise" (default), or "keepBest": a training that fails returns its best model so far.

    Raises:
        ValueError: before a job starts, where nothing could stop the training but the estimator's `epochs`, on an
            unknown monitor, on a direction that Keras cannot infer, and whatever the estimator refuses.

    Example:
        >>> stopping = EarlyStopping(estimator=classifier, monitor="val_accuracy", patience=3)
        >>> fitted = stopping.fit(df)
        >>> fitted.result.bestEpoch, fitted.result.reason
        (7, 'patience')
    """

    # Set by `keyword_only`.
    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        estimator: Estimator[Any] | None = None,
        monitor: str = "val_loss",
        mode: str = "auto",
        evaluator: Evaluator | None = None,
        scoreFunction: Callable[[Any], float] | None = None,
        evaluateEvery: int = 1,
        patience: int | None = None,
        minDelta: float = 0.0,
        baseline: float | None = None,
        startFromEpoch: int = 0,
        maxEpochs: int | None = None,
        maxSeconds: float | None = None,
        targetScore: float | None = None,
        worstScore: float | None = None,
        stopOnNonFinite: bool = True,
        conditions: list[Condition] | None = None,
        keepLast: bool = False,
        modelDir: str | None = None,
        onError: str = "raise",
    ):
        super().__init__()
        self._setDefault(
            monitor="val_loss",
            mode="auto",
            evaluateEvery=1,
            minDelta=0.0,
            startFromEpoch=0,
            stopOnNonFinite=True,
            conditions=[],
            keepLast=False,
            onError="raise",
        )
        self._set(**self._input_kwargs)

    def copy(self, extra: dict[Param[Any], Any] | None = None) -> Self:
        """A copy with extra Params; those of the estimator reach the estimator, as in CrossValidator."""
        that = super().copy(extra)
        return that._set(estimator=self.getEstimator().copy(extra)) if self.isSet("estimator") else that

    def fitMultiple(
        self, dataset: DataFrame, paramMaps: Sequence[dict[Param[Any], Any]]
    ) -> Iterator[tuple[int, EarlyStoppingModel]]:
        """As the estimator's `fitMultiple`."""
        keeping = self.copy()
        if self.isSet("estimator"):
            keeping._set(estimator=self.getEstimator()._keeping_rows(paramMaps))
        return super(EarlyStopping, keeping).fitMultiple(dataset, paramMaps)

    def _parts(self) -> Iterator[str]:
        if self.isSet("estimator"):
            yield self.getEstimator()._repr_html_()

    def _fit(self, dataset: DataFrame) -> EarlyStoppingModel:
        if not self.isSet("estimator"):
            raise ValueError("Param `estimator` is not set. Expected: a Keras estimator.")
        estimator = self.getEstimator().copy()
        with estimator._kept_rows.during_fit(estimator):
            return self._stopped(dataset, estimator)

    def _stopped(self, dataset: DataFrame, estimator: Any) -> EarlyStoppingModel:
        spark = session.session_to_train_on(dataset)
        if self.isSet("maxEpochs"):
            estimator.setEpochs(self.getMaxEpochs())
        stopper = self._stopper(spark, estimator)
        alone = exclusive("modelDir", self.getModelDir()) if self.isSet("modelDir") else contextlib.nullcontext()
        try:
            with alone:
                best = Trainer(estimator, stopper).train(dataset)
        except Exception as error:
            stopped = self.getStopOnNonFinite() and isinstance(error, FloatingPointError)
            best = stopper.best_after(error) if stopped or self.getOnError() == "keepBest" else None
            if best is None:
                raise
            warnings.warn(
                f"The training failed, and its best model so far is returned: {stopper.result()}",
                RuntimeWarning,
                stacklevel=2,
            )
        result = stopper.result()
        if result.bestEpoch is None:
            warnings.warn(
                f"No epoch had a finite score, so the last model is returned: {result}", RuntimeWarning, stacklevel=2
            )
        fitted = EarlyStoppingModel(best, stopper.last, result)
        return fitted._resetUid(self.uid)

    def _stopper(self, spark: SparkSession, estimator: Any) -> Stopper:
        non_finite = [NonFiniteScore()] if self.getStopOnNonFinite() else []
        limits = [kind(self.getOrDefault(name)) for name, kind in _LIMITS.items() if self.isSet(name)]
        asked = ("patience", "maxEpochs", *_LIMITS)
        if not self.getConditions() and not any(self.isSet(name) for name in asked):
            raise ValueError(
                "Nothing says when to stop. Received: no condition. Expected: `patience` (Keras' default is 0), "
                "`maxSeconds`, `targetScore`, `worstScore` or `conditions`; or `maxEpochs`, to keep the best of so "
                "many epochs."
            )
        return Stopper(
            self._score(estimator),
            [*non_finite, *limits, *self.getConditions()],
            _FileStore(spark, self.getModelDir()) if self.isSet("modelDir") else None,
            keep_last=self.getKeepLast(),
            every=self.getEvaluateEvery(),
            patience=param_or_none(self, "patience"),
            min_delta=self.getMinDelta(),
            baseline=param_or_none(self, "baseline"),
            start_from_epoch=self.getStartFromEpoch(),
        )

    def _score(self, estimator: Any) -> Any:
        given = [name for name in ("monitor", "evaluator", "scoreFunction") if self.isSet(name)]
        if len(given) > 1:
            raise ValueError(f"Params {given} exclude each other. Expected: one of them says what the score is.")
        if self.isSet("evaluator"):
            return EvaluatorScore(self.getEvaluator())
        if self.isSet("scoreFunction"):
            return FunctionScore(self.getScoreFunction(), self.getMode())
        return MonitorScore(self.getMonitor(), self.getMode(), bool(estimator.getCallbacks()))


class _FileStore:
    """One model in a file, on any file system that Spark reaches; written from the driver, without a Spark job."""

    def __init__(self, spark: SparkSession, folder: str):
        self._spark, self._path = spark, f"{folder}/best.keras"
        # Whether the file is of this process, and not of an earlier attempt.
        self._own = False

    def save(self, model: Any) -> str:
        archive = KerasArchive.of(model)
        files.write_file(self._spark, self._path, archive.data)
        self._own = True
        return hashlib.sha256(archive.data).hexdigest()

    def restore(self, model: Any, kept: str) -> None:
        data = files.read_file(self._spark, self._path)
        if data is None:
            raise FileNotFoundError(f"The best model is gone. Expected: {self._path}, which this training has written.")
        archive = KerasArchive(data)
        if archive.digest != kept:
            found = (
                f"Received: {self._path} with SHA-256 {archive.digest}. Expected: {kept}, which this training has "
                "written. A folder in Param `modelDir` belongs to one fit."
            )
            if self._own:
                raise ValueError(f"The best model was replaced by another one. {found}")
            # The driver may have died between a better model and the next checkpoint.
            warnings.warn(
                f"The best model is a later one than the checkpoint tells, and is returned. {found}",
                RuntimeWarning,
                stacklevel=2,
            )
        # Only weights and the optimizer's variables: nothing in the file is executed.
        with archive.file() as path:
            model.load_weights(path)
        states.weights_have_changed(model)


class EarlyStoppingModel(Picklable, ShowsParams, Model, NestedSaved):
    """The best model of a training that was stopped, and how it was stopped.

    It has whatever its best model has: `evaluate`, `score`, `scoreExamples`, `evaluateClassification`, `summary`
    (none after a training that failed), `toKeras`, `numClasses`, `labels`, Params with their getters and setters, and
    so on. A setter reaches the best model; `copy` with extra Params the last one, too.

    Args:
        bestModel: the fitted model with the best score; `transform` applies it.
        lastModel: the fitted model of the end, where `keepLast` was set; else None.
        result: reason and details of the stop, scores, best epoch.
    """

    def __init__(self, bestModel: Any = None, lastModel: Any = None, result: EarlyStoppingResult | None = None):
        super().__init__()
        self.bestModel, self.lastModel = bestModel, lastModel
        self._result = result

    @property
    def result(self) -> EarlyStoppingResult:
        """Reason and time of the stop."""
        if self._result is None:
            raise RuntimeError("No result available: this model was not fitted.")
        return self._result

    def _learned(self) -> dict[str, Any]:
        """As text and card show it; a model that is not fitted has neither."""
        best = {} if self.bestModel is None else self.bestModel._facts()
        return {**({} if self._result is None else self._result._facts()), **best, "uid": self.uid}

    def _parts(self) -> Iterator[str]:
        for each in (self._result, self.bestModel):
            if each is not None:
                yield from each._parts()

    def __getattr__(self, name: str) -> Any:
        # Only what this class does not have itself; not while the object is being made or unpickled.
        best = None if name.startswith("_") else vars(self).get("bestModel")
        if best is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = getattr(best, name)
        return self._setter(found) if name.startswith("set") and callable(found) else found

    def _setter(self, found: Callable[..., Any]) -> Callable[..., EarlyStoppingModel]:
        @functools.wraps(found)
        def set_at_best(*values: Any, **named: Any) -> EarlyStoppingModel:
            found(*values, **named)
            return self

        return set_at_best

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return self.bestModel.transform(dataset)

    def copy(self, extra: dict[Param[Any], Any] | None = None) -> EarlyStoppingModel:
        """A copy with extra Params, which reach the best and the last model."""
        last = None if self.lastModel is None else self.lastModel.copy(extra)
        that = EarlyStoppingModel(self.bestModel.copy(extra), last, self._result)
        return that._resetUid(self.uid)
