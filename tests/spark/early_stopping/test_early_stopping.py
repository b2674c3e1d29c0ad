"""Early stopping stops where Keras would and where its conditions say, and returns the best model."""

from __future__ import annotations

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F

from spark_keras import EarlyStopping, EarlyStoppingModel, KerasClassificationModel, KerasClassifier, KerasRegressor
from spark_keras.early_stopping import Condition, MaxEpochs, NonFiniteScore, TargetScore
from spark_keras.early_stopping.estimator import _FileStore
from spark_keras.early_stopping.stopper import Stopper
from spark_keras.training.checkpoints.in_use import exclusive

# --- decisions, without Spark --------------------------------------------------------------------------------------


class Scripted:
    """Scores by epoch."""

    name = "val_loss"

    def __init__(self, scores, mode):
        self.scores, self.mode = scores, mode
        self.epoch = 0

    def check(self, model, held_out):
        pass

    def __call__(self, logs, current):
        return logs["val_loss"]


def tiny():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def run(stopper, model, scores):
    """What a fit does, without training; the model's bias tells the epoch."""
    stopper.begins(model, None, lambda: None)
    stopper.set_params({"epochs": len(scores)})
    model.stop_training = False
    stopper.on_train_begin()
    for epoch, score in enumerate(scores):
        stopper.on_epoch_begin(epoch)
        model.layers[-1].bias.assign([epoch + 1.0])
        stopper.on_epoch_end(epoch, {"val_loss": score})
        if model.stop_training:
            break
    stopper.on_train_end()
    return stopper.result()


def make(scores=(), mode="min", conditions=(), every=1, patience=None, min_delta=0.0, baseline=None, start=0):
    score = Scripted(scores, mode)
    return Stopper(score, conditions, None, False, every, patience, min_delta, baseline, start)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_stops_and_finds_the_best_epoch_as_keras_does_on_random_scores(mode):
    random = np.random.default_rng(0)
    model = tiny()
    for _ in range(60):
        scores = random.normal(size=12).round(2).tolist()
        patience, start = int(random.integers(0, 5)), int(random.integers(0, 4))
        min_delta, baseline = random.choice([0.0, 0.3]), [None, 0.2][random.integers(0, 2)]
        result = run(make(scores, mode, (), 1, patience, min_delta, baseline, start), model, scores)

        plain = keras.callbacks.EarlyStopping(
            mode=mode, patience=patience, min_delta=min_delta, baseline=baseline, start_from_epoch=start
        )
        plain.set_model(model)
        plain.on_train_begin()
        model.stop_training = False
        for epoch, score in enumerate(scores):
            plain.on_epoch_end(epoch, {"val_loss": score})
            if model.stop_training:
                break
        assert result.totalEpochs == epoch + 1
        assert result.bestEpoch == plain.best_epoch + 1
        assert result.bestScore == plain.best
        assert result.reason == ("patience" if plain.stopped_epoch else "maxEpochs")


def test_the_model_at_the_end_is_that_of_the_best_epoch():
    model = tiny()
    result = run(make(patience=3), model, [3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    assert (result.totalEpochs, result.bestEpoch, result.bestScore) == (5, 2, 1.0)
    assert float(model.layers[-1].bias.value.numpy()[0]) == 2.0
    assert result.scores == {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.0, 5: 2.0}


def test_plain_attributes_are_all_that_a_resumed_training_needs():
    scores = [3.0, 1.0, 2.0, 1.5, 1.2, 1.1, 0.5]
    whole = run(make(patience=4), tiny(), scores)
    first, model = make(patience=4), tiny()
    run(first, model, scores[:3])
    resumed = make(patience=4)
    resumed.begins(model, None, lambda: None)
    resumed.set_params({"epochs": len(scores)})
    resumed.on_train_begin()
    for name in ("_scores", "_best_epoch", "_best", "_epoch", "_trained", "_seconds"):
        setattr(resumed, name, getattr(first, name))
    model.stop_training = False
    for epoch in range(3, len(scores)):
        resumed.on_epoch_begin(epoch)
        resumed.on_epoch_end(epoch, {"val_loss": scores[epoch]})
        if model.stop_training:
            break
    resumed.on_train_end()
    for name in ("reason", "scores", "bestEpoch", "bestScore", "totalEpochs"):
        assert getattr(resumed.result(), name) == getattr(whole, name)
    assert float(model.layers[-1].bias.value.numpy()[0]) == 2.0


def test_every_nth_epoch_is_scored_and_the_last_one_too():
    # 7 epochs, scored after 3, 6 and 7: worse from the start, so patience of 3 epochs is over after 6.
    assert list(run(make(every=3), tiny(), [1.0] * 7).scores) == [3, 6, 7]
    result = run(make(every=3, patience=3), tiny(), [9.0, 9.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    assert (result.reason, result.totalEpochs, result.bestEpoch) == ("patience", 6, 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_score_ends_the_training_and_is_never_the_best(bad):
    result = run(make(conditions=[NonFiniteScore()]), tiny(), [2.0, bad, 1.0])
    assert (result.reason, result.totalEpochs, result.bestEpoch) == ("nonFiniteScore", 2, 1)
    # Passed over, also in the first epoch, where Keras would call it the best for ever.
    result = run(make(patience=5), tiny(), [bad, 2.0, bad, 1.0])
    assert (result.totalEpochs, result.bestEpoch, result.bestScore) == (4, 4, 1.0)


def test_maximised_scores_are_maximised_by_conditions_too():
    up = run(make(mode="max", conditions=[TargetScore(0.9)]), tiny(), [0.5, 0.7, 0.95, 0.99])
    assert (up.reason, up.totalEpochs, up.bestScore) == ("targetScore", 3, 0.95)
    down = run(make(mode="min", conditions=[TargetScore(0.6)]), tiny(), [0.9, 0.7, 0.5])
    assert (down.reason, down.totalEpochs) == ("targetScore", 3)


class ThreeAlike(Condition):
    def __init__(self, within=0.1):
        self.within = within

    def check(self, progress):
        last = list(progress.scores.values())[-3:]
        return "three scores alike" if len(last) == 3 and max(last) - min(last) < self.within else None

    def get_config(self):
        return {"within": self.within}


def test_conditions_combine_and_ones_own_are_asked():
    result = run(make(conditions=[ThreeAlike() & MaxEpochs(5)]), tiny(), [1.0] * 9)
    assert (result.reason, result.totalEpochs) == ("allOf", 5)
    assert result.details == "three scores alike and 5 epochs were trained"
    result = run(make(conditions=[ThreeAlike() | MaxEpochs(2)]), tiny(), [1.0] * 9)
    assert (result.reason, result.totalEpochs) == ("anyOf", 2)
    result = run(make(conditions=[ThreeAlike(within=0.5)]), tiny(), [3.0, 2.0, 1.0, 1.1, 1.2, 1.0])
    assert (result.reason, result.details, result.totalEpochs) == ("threeAlike", "three scores alike", 5)


# --- fits ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def iris():
    from sklearn.datasets import load_iris

    return labelled_frame(*load_iris(return_X_y=True))


def softmax_regression(rate):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def stopping(rate=0.1, estimator=None, **params):
    options = {
        "model": softmax_regression(rate),
        "epochs": 200,
        "batchSize": 25,
        "averagingFrequency": 2,
        "verbose": 0,
    } | (estimator or {})
    params = {"monitor": "loss"} | params
    if "scoreFunction" in params or "evaluator" in params:
        del params["monitor"]
    return EarlyStopping(estimator=KerasClassifier(**options), **params)


def test_at_most_5_epochs_on_iris_give_5_scores(spark, iris):
    fitted = stopping(maxEpochs=5).fit(iris)
    assert (fitted.result.reason, fitted.result.totalEpochs) == ("maxEpochs", 5)
    assert list(fitted.result.scores.values()) == fitted.summary.history["loss"]
    assert fitted.result.bestEpoch == 1 + int(np.argmin(fitted.summary.history["loss"]))


def test_score_above_a_bound_ends_a_training_that_diverges(spark, iris):
    result = stopping(10.0, worstScore=7.5, maxEpochs=5).fit(iris).result
    assert result.reason == "worstScore" and result.totalEpochs < 5
    assert result.scores[result.totalEpochs] > 7.5


def test_without_progress_patience_of_5_stops_after_6_epochs(spark, iris):
    # float32 sums over shuffled rows may differ in the last bits.
    result = stopping(0.0, patience=5, minDelta=1e-5).fit(iris).result
    assert (result.reason, result.totalEpochs, result.bestEpoch) == ("patience", 6, 1)


@pytest.mark.slow
def test_time_limit_is_kept_between_rounds(spark, iris):
    # One epoch of 150 000 minibatches, each a round, would take minutes.
    long = iris.crossJoin(spark.range(1000)).select("features", "label")
    result = stopping(maxSeconds=3.0, estimator={"epochs": 1, "batchSize": 1, "averagingFrequency": 1}).fit(long).result
    assert (result.reason, result.totalEpochs) == ("maxSeconds", 1)
    assert 3 <= result.seconds < 20
    # The epoch that is cut short is validated and scored, whichever is due.
    between = {"epochs": 5, "batchSize": 1, "averagingFrequency": 1, "validationSplit": 0.05}
    shorter = iris.crossJoin(spark.range(100)).select("features", "label")
    fitted = stopping(monitor="val_loss", maxSeconds=0.5, evaluateEvery=3, estimator=between).fit(shorter)
    assert list(fitted.result.scores) == [1] and fitted.result.bestEpoch == 1


def rows_of(task):
    """(x, y, whether held out, model, monitor) of tasks on which a network soon overfits, or learns in steps."""
    random = np.random.default_rng(len(task))
    x = random.normal(size=(120, 6)).astype("float32")
    held_out = np.arange(120) % 3 == 0
    keras.utils.set_random_seed(1)
    hidden = keras.layers.Dense(48, activation="relu")
    if task == "regression":
        y = (x[:, 0] - x[:, 1] + random.normal(size=120)).astype("float32")
        model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.02), "mse")
        return x, y, held_out, model, "val_loss"
    if task == "two classes":
        y = (x[:, 0] * x[:, 1] + 0.5 * random.normal(size=120) > 0).astype("float32")
        model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(1, activation="sigmoid")])
        model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
        return x, y, held_out, model, "val_auc"
    y = np.argmax(x[:, :3] + random.normal(size=(120, 3)), axis=1).astype("float32")
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return x, y, held_out, model, "val_accuracy"


@pytest.mark.parametrize("task", ["regression", "two classes", "three classes"])
@pytest.mark.slow
def test_stop_epoch_and_best_epoch_are_those_of_plain_keras(spark, task):
    x, y, held_out, model, monitor = rows_of(task)
    df = labelled_frame(x, y).withColumn("held_out", F.col("id") % 3 == 0)
    kind = KerasRegressor if task == "regression" else KerasClassifier
    estimator = kind(
        model=model, epochs=60, shuffle=False, numWorkers=1, validationIndicatorCol="held_out", batchSize=20, verbose=0
    )
    fitted = EarlyStopping(estimator=estimator, monitor=monitor, patience=4, keepLast=True).fit(df)

    plain = keras.models.clone_model(model)
    plain.compile_from_config(model.get_compile_config())
    plain.set_weights(model.get_weights())
    callback = keras.callbacks.EarlyStopping(monitor, patience=4, restore_best_weights=True)
    order = [i for i in training_order(df, task) if not held_out[i]]
    history = plain.fit(
        x[order],
        y[order],
        batch_size=20,
        epochs=60,
        shuffle=False,
        validation_data=(x[held_out], y[held_out]),
        callbacks=[callback],
        verbose=0,
    ).history
    assert fitted.result.reason == "patience" and callback.stopped_epoch
    assert fitted.result.totalEpochs == len(history[monitor]) == fitted.summary.epochs
    assert fitted.result.bestEpoch == callback.best_epoch + 1
    assert fitted.result.bestScore == pytest.approx(callback.best, abs=1e-4)
    for ours, theirs in zip(fitted.toKeras().get_weights(), plain.get_weights()):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    # The last model is another one, and has trained further.
    last, best = (each.toKeras().optimizer.iterations.numpy() for each in (fitted.lastModel, fitted.bestModel))
    assert (last, best) == (4 * fitted.result.totalEpochs, 4 * fitted.result.bestEpoch)


def training_order(df, task):
    """The ids in the order in which one worker trains them: by the hash of what it reads."""
    # Class indices travel as they are, values as the model's floats.
    label = F.col("label").cast("double" if task == "three classes" else "float")
    return [row.id for row in df.orderBy(F.xxhash64("features", label)).select("id").collect()]


@pytest.mark.slow
def test_score_function_and_evaluator_may_start_jobs_while_the_workers_hold_all_slots(spark, iris):
    estimator = {"numWorkers": 2, "validationSplit": 0.3, "epochs": 2}
    seen = []

    def right(model):
        # Two ways that both need Spark, on local[2].
        seen.append(model.transform(iris).where("prediction = label").count())
        assert model.evaluate(iris)["accuracy"] == pytest.approx(seen[-1] / 150, abs=1e-6)
        return seen[-1]

    fitted = stopping(estimator=estimator, scoreFunction=right, mode="max", maxEpochs=2).fit(iris)
    assert list(fitted.result.scores.values()) == seen and len(seen) == 2
    assert fitted.result.monitor == "right" and fitted.result.bestScore == max(seen)
    assert fitted.transform(iris).where("prediction = label").count() == max(seen)
    undisturbed = stopping(estimator=estimator, maxEpochs=2).fit(iris)
    assert fitted.summary.history == undisturbed.summary.history

    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    judged = stopping(estimator=estimator, evaluator=evaluator, maxEpochs=1).fit(iris)
    # The same rows as Keras' own accuracy of the validation.
    assert judged.result.scores[1] == pytest.approx(undisturbed.summary.history["val_accuracy"][0], abs=1e-6)
    assert judged.result.monitor == "accuracy"


def test_validation_is_left_out_between_scores(spark, iris):
    fitted = stopping(monitor="val_loss", evaluateEvery=2, maxEpochs=5, estimator={"validationSplit": 0.3}).fit(iris)
    assert list(fitted.result.scores) == [2, 4, 5]
    assert len(fitted.summary.history["val_loss"]) == 3 and len(fitted.summary.history["loss"]) == 5


class FailIn(keras.callbacks.Callback):
    """Fails when an epoch begins. What it knows is no plain data, so that no checkpoint brings it back."""

    def __init__(self, epoch):
        super().__init__()
        self.own = SimpleNamespace(epoch=epoch, begun=[])

    def on_epoch_begin(self, epoch, logs=None):
        self.own.begun.append(epoch + 1)
        if epoch + 1 == self.own.epoch:
            raise RuntimeError("power cut")


@pytest.mark.slow
def test_failing_training_gives_the_best_model_so_far_on_request(spark, iris):
    failing = {"callbacks": [FailIn(4)]}
    with pytest.warns(RuntimeWarning, match="RuntimeError: power cut"):
        fitted = stopping(maxEpochs=9, onError="keepBest", estimator=failing).fit(iris)
    three = stopping(maxEpochs=3).fit(iris)
    assert (fitted.result.reason, fitted.result.totalEpochs) == ("error", 3)
    assert (fitted.result.bestEpoch, fitted.result.scores) == (three.result.bestEpoch, three.result.scores)
    for ours, theirs in zip(fitted.toKeras().get_weights(), three.toKeras().get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    assert not fitted.hasSummary
    with pytest.raises(RuntimeError, match="power cut"):
        stopping(maxEpochs=9, estimator=failing).fit(iris)
    with pytest.raises(RuntimeError, match="power cut"):
        # Nothing was scored yet.
        stopping(maxEpochs=9, onError="keepBest", estimator={"callbacks": [FailIn(1)]}).fit(iris)


@pytest.mark.parametrize("kept", ["memory", "folder"])
@pytest.mark.slow
def test_resumed_training_stops_where_an_undisturbed_one_does(spark, iris, tmp_path, kept):
    params = {"patience": 3, "minDelta": 0.02, "maxEpochs": 12}
    same = {"model": softmax_regression(0.1)}
    if kept == "folder":
        params["modelDir"] = str(tmp_path / "best")
    undisturbed = stopping(**params, estimator={**same, "callbacks": [FailIn(99)]}).fit(iris)
    fails_in = undisturbed.result.totalEpochs - 1
    checkpoints = {**same, "checkpointDir": str(tmp_path / "checkpoints")}
    with pytest.raises(RuntimeError, match="power cut"):
        stopping(**params, estimator={"callbacks": [FailIn(fails_in)], **checkpoints}).fit(iris)
    seen = FailIn(1000)
    resumed = stopping(**params, estimator={"callbacks": [seen], **checkpoints}).fit(iris)
    assert seen.own.begun == list(range(fails_in, undisturbed.result.totalEpochs + 1))
    for name in ("reason", "details", "scores", "bestEpoch", "bestScore", "totalEpochs"):
        assert getattr(resumed.result, name) == getattr(undisturbed.result, name), name
    for ours, theirs in zip(resumed.toKeras().get_weights(), undisturbed.toKeras().get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_best_model_is_kept_in_a_folder_on_request(spark, iris, tmp_path):
    fitted = stopping(maxEpochs=3, modelDir=f"file://{tmp_path}/best").fit(iris)
    kept = keras.saving.load_model(tmp_path / "best" / "best.keras")
    for ours, theirs in zip(fitted.toKeras().get_weights(), kept.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


class ReplaceTheBest(keras.callbacks.Callback):
    """Another program writes to the folder."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            keras.saving.save_model(softmax_regression(0.1), self.path, overwrite=True)


def test_a_folder_with_another_model_than_the_best_is_refused(spark, iris, tmp_path):
    callbacks = [ReplaceTheBest(str(tmp_path / "best.keras"))]
    with pytest.raises(ValueError, match="The best model was replaced.*`modelDir` belongs to one fit"):
        # The first epoch is the best, because a score is better the larger it is.
        stopping(
            maxEpochs=3,
            scoreFunction=lambda model: 1.0,
            mode="max",
            modelDir=str(tmp_path),
            estimator={"callbacks": callbacks},
        ).fit(iris)


def test_a_folder_belongs_to_one_fit(spark, iris, tmp_path):
    with exclusive("modelDir", f"{tmp_path}/"), pytest.raises(ValueError, match="`modelDir` is in use by another fit"):
        stopping(maxEpochs=1, modelDir=str(tmp_path)).fit(iris)
    # Checkpoints may be beside the best model.
    together = stopping(maxEpochs=1, modelDir=str(tmp_path), estimator={"checkpointDir": str(tmp_path)}).fit(iris)
    assert together.result.bestEpoch == 1


def test_a_better_model_than_the_last_checkpoint_knows_is_not_lost(tmp_path, spark):
    model, other = tiny(), tiny()
    store = _FileStore(spark, str(tmp_path))
    kept = store.save(model)
    model.layers[-1].bias.assign([5.0])
    later = store.save(model)
    # In the process that goes on after the first one has died.
    resumed = _FileStore(spark, str(tmp_path))
    with pytest.warns(RuntimeWarning, match="later one than the checkpoint tells"):
        resumed.restore(other, kept)
    assert float(other.layers[-1].bias.value.numpy()[0]) == 5.0
    store.restore(other, later)
    with pytest.raises(ValueError, match="was replaced by another one"):
        store.restore(other, kept)


def number_of_classes(model):
    return float(model.numClasses)


@pytest.mark.slow
def test_pipeline_with_early_stopping_is_saved_and_loaded(spark, iris, tmp_path):
    stage = stopping(
        maxEpochs=3, scoreFunction=number_of_classes, mode="max", conditions=[ThreeAlike(9.0)], keepLast=True
    )
    fitted = Pipeline(stages=[stage]).fit(iris)
    assert fitted.stages[-1].result.reason == "threeAlike"
    fitted.write().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))
    assert loaded.stages[-1].result == fitted.stages[-1].result
    assert loaded.stages[-1].uid == stage.uid
    assert isinstance(loaded.stages[-1], EarlyStoppingModel) and loaded.stages[-1].lastModel is not None
    rows = [model.transform(iris).orderBy("id").select("prediction").collect() for model in (fitted, loaded)]
    assert rows[0] == rows[1]

    Pipeline(stages=[stage]).write().save(str(tmp_path / "estimator"))
    again = Pipeline.load(str(tmp_path / "estimator")).getStages()[-1]
    assert again.getConditions() == [ThreeAlike(9.0)] and again.getMode() == "max"
    assert again.getScoreFunction().__name__ == "number_of_classes"
    assert again.getEstimator().getModel() == stage.getEstimator().getModel()
    judged = EarlyStopping(estimator=stage.getEstimator(), evaluator=RegressionEvaluator(metricName="mae"))
    judged.save(str(tmp_path / "judged"))
    assert EarlyStopping.load(str(tmp_path / "judged")).getEvaluator().getMetricName() == "mae"


@pytest.mark.slow
def test_cross_validator_searches_over_the_params_of_the_inner_estimator(spark, iris):
    stage = stopping(patience=0, maxEpochs=2, estimator={"numWorkers": 1})
    grid = ParamGridBuilder().addGrid(stage.getEstimator().epochs, [2]).addGrid(stage.maxEpochs, [1, 2]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    best = CrossValidator(estimator=stage, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1).fit(iris)
    assert isinstance(best.bestModel, EarlyStoppingModel)
    assert len(best.avgMetrics) == 2 and best.bestModel.result.totalEpochs in (1, 2)
    assert best.transform(iris).count() == 150


@pytest.mark.parametrize(
    "params, message",
    [
        ({}, "Nothing says when to stop"),
        ({"monitor": "val_loss", "patience": 1}, "`monitor` needs validation rows"),
        ({"monitor": "lost", "patience": 1}, r"Unknown Param `monitor`. Received: 'lost'. Expected: one of \['loss', "),
        ({"evaluator": MulticlassClassificationEvaluator, "patience": 1}, "`evaluator` needs validation rows"),
        ({"scoreFunction": number_of_classes, "patience": 1}, '`mode` is "min" or "max"'),
        ({"scoreFunction": number_of_classes, "monitor": "loss", "patience": 1}, "exclude each other"),
    ],
)
def test_what_cannot_work_is_refused_before_a_job_starts(spark, iris, params, message):
    params = {name: value() if isinstance(value, type) else value for name, value in params.items()}
    both = "monitor" in params and "scoreFunction" in params
    stage = stopping(**params)
    if both:
        stage.setMonitor("loss")
    with pytest.raises(ValueError, match=message):
        stage.fit(iris)


def test_what_is_no_keras_estimator_is_refused(spark):
    with pytest.raises(TypeError, match="Invalid value for Param `estimator`.*a Pipeline holds an EarlyStopping"):
        EarlyStopping(estimator=Pipeline(stages=[]))
    with pytest.raises(TypeError, match="Invalid value for Param `conditions`"):
        EarlyStopping(conditions=["soon"])
    with pytest.raises(ValueError, match="Param `estimator` is not set"):
        EarlyStopping(patience=1).fit(spark.range(1))


def test_a_stopped_model_has_what_its_best_model_has(spark, iris):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    best = KerasClassificationModel(model=model)._set(labelCol="label", featuresCol="features")
    best._fit_attributes = {"numClasses": 3, "labels": ["setosa", "versicolor", "virginica"]}
    fitted = EarlyStoppingModel(best)
    public = [name for name in dir(best) if not name.startswith("_") and name not in ("summary", "params")]
    assert not [name for name in public if not hasattr(fitted, name)]
    assert fitted.numClasses == 3 and fitted.labels == best.labels and not fitted.hasSummary
    assert fitted.score(iris) == best.score(iris)
    report = fitted.evaluateClassification(iris)
    assert report.classes == best.labels
    assert report.accuracy == pytest.approx(fitted.evaluate(iris)["accuracy"])
    assert "loss" in fitted.scoreExamples(iris).columns
    assert fitted.setPredictionCol("kind") is fitted and best.getPredictionCol() == fitted.getPredictionCol() == "kind"
    assert "kind" in fitted.transform(iris).columns
    with pytest.raises(AttributeError, match="evaluateRegression"):
        fitted.evaluateRegression(iris)
    assert fitted.params == []
    with pytest.raises(RuntimeError, match="No training summary"):
        _ = fitted.summary
