"""The plan of a fit: FLOPs against closed forms, decisions against what the fit then does, and no job for it."""

from __future__ import annotations

import dataclasses
import json
import math

import keras
import pytest

from spark_keras import KerasEstimator, KerasRegressor
from spark_keras.cluster import statistics
from spark_keras.model import KerasRegressionModel
from spark_keras.telemetry.summary import KerasTrainingSummary

layers = keras.layers
ROWS = 200


def built(*stack, shape):
    model = keras.Sequential([keras.Input(shape), *stack])
    model.compile("sgd", "mse")
    return model


def regressor(**params):
    model = built(layers.Dense(4, activation="relu"), layers.Dense(1), shape=(3,))
    return KerasRegressor(**{"model": model, "verbose": 0, "featuresCols": ["a", "b", "c"], **params})


def frame(spark, rows=ROWS):
    part = f"id / {rows}"
    return spark.range(rows).selectExpr(f"{part} AS a", f"2 * {part} AS b", "id % 2 AS c", f"4 * {part} AS label")


# --- the rows that Spark knows -------------------------------------------------------------------------------------


def test_row_statistics_are_exact_or_not_there(spark):
    cached = frame(spark).where("a >= 0")
    assert statistics.row_statistics(frame(spark))[0] == ROWS
    assert statistics.row_statistics(frame(spark).sort("a").repartition(3).select("a"))[0] == ROWS
    assert statistics.row_statistics(cached)[0] is None
    cached.cache().count()
    assert statistics.row_statistics(cached)[0] == ROWS
    assert statistics.row_statistics(cached.select("a"))[0] == ROWS
    assert statistics.row_statistics(cached.limit(7))[0] in (None, 7)
    cached.unpersist()
    nothing_known = spark.createDataFrame(spark.sparkContext.parallelize([(1.0,)]), "a double")
    assert statistics.row_statistics(nothing_known) == (None, None)


# --- plans and fits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, rows",
    [
        pytest.param({}, ROWS, id="defaults"),
        pytest.param({"numWorkers": 1, "averagingFrequency": "epoch", "batchSize": 7, "epochs": 2}, ROWS, id="Params"),
        # 70,000 rows of 16 bytes on each worker are more than a MiB; those to train on alone are not.
        pytest.param({"maxShardMemory": "1m", "validationSplit": 0.3, "batchSize": 1000}, 140_000, id="file"),
    ],
)
def test_fit_does_what_the_plan_says(spark, params, rows):
    estimator = regressor(**params)
    df = frame(spark, rows)
    planned = estimator.trainingPlan(df)
    summary = estimator.fit(df).summary
    assert planned.numWorkers == summary.numWorkers
    assert planned.averagingFrequency == summary.averagingFrequency
    assert planned.batchSize == summary.batchSize
    assert planned.kernel == summary.kernel
    assert {planned.shardStorage} == set(summary.shardStorage)
    known = summary.plan["planned"]
    assert known["rowsExact"] and known["rows"] == sum(summary.rows)
    assert known["rounds"] * summary.epochs == summary.rounds
    assert known["minibatches"] == math.ceil(max(summary.rows) / summary.batchSize)
    if "validationSplit" not in params:
        assert planned.rowsExact and planned.rows == rows
        assert known == json.loads(json.dumps(dataclasses.asdict(planned)))


def test_measured_times_agree_with_each_other_and_with_the_phases(spark):
    summary = regressor(epochs=3, batchSize=5, averagingFrequency=4).fit(frame(spark)).summary
    measured = summary.plan["measured"]
    # 100 rows on each worker: five rounds of four minibatches.
    assert 0 < 4 * measured["stepMilliseconds"] <= measured["roundMilliseconds"]
    assert measured["roundMilliseconds"] < 1e3 * measured["epochSeconds"] < 1e3 * summary.seconds["train"]


def test_a_param_wins_and_the_plan_says_so(spark):
    by_rule = regressor().trainingPlan(frame(spark))
    chosen = {"numWorkers": 1, "averagingFrequency": 3, "batchSize": 8, "cpusPerWorker": 2, "maxShardMemory": "1m"}
    chosen |= {"mode": "asynchronous"}
    by_param = regressor(**chosen).trainingPlan(frame(spark, 70_000))
    assert (by_rule.numWorkers, by_rule.threads, by_rule.averagingFrequency, by_rule.batchSize) == (2, 1, 10, 16)
    assert not any("Param" in reason for reason in by_rule.reasons.values())
    assert (by_param.numWorkers, by_param.threads, by_param.averagingFrequency, by_param.batchSize) == (1, 2, 3, 8)
    assert by_param.shardStorage == "file"
    for field, param in {"threads": "cpusPerWorker", "shardStorage": "maxShardMemory"}.items():
        assert f"Param {param}" in by_param.reasons[field]
    assert (by_rule.mode, by_param.mode) == ("synchronous", "asynchronous")
    for param in ("numWorkers", "mode", "averagingFrequency", "batchSize"):
        assert by_param.reasons[param] == f"Param {param}"


def test_averaging_is_where_its_param_says(spark):
    planned = regressor(averaging="workers").trainingPlan(frame(spark))
    assert (planned.averaging, planned.reasons["averaging"]) == ("workers", "Param averaging")
    assert "then averaging among the workers" in str(planned)


def test_workers_of_one_machine_leave_averaging_to_the_driver_by_rule(spark):
    planned = regressor(averaging="auto").trainingPlan(frame(spark))
    assert (planned.averaging, planned.reasons["averaging"]) == ("driver", "all workers are on one machine")
    assert "then averaging on the driver" in str(planned)


def test_the_plan_tells_rows_of_a_step_and_the_factor_of_the_learning_rate(spark):
    of_each = regressor(numWorkers=2, globalBatch=False, learningRateScaling="sqrt").trainingPlan(frame(spark))
    assert (of_each.batchSize, of_each.learningRateFactor) == (32, math.sqrt(2))
    assert of_each.reasons["learningRateFactor"] == "Param learningRateScaling"
    assert of_each.reasons["batchSize"] == "the default"
    of_all = regressor(numWorkers=2, batchSize=64, globalBatch=True, learningRateScaling="linear")
    planned = of_all.trainingPlan(frame(spark))
    assert (planned.batchSize, planned.learningRateFactor) == (32, 1.0)
    assert planned.reasons["batchSize"] == "Param batchSize, 64 rows of all workers"


def test_workers_share_a_batch_by_default_but_for_minibatches_that_are_small_or_of_a_stateful_layer(spark):
    def told(workers, **params):
        plan = regressor(numWorkers=workers, learningRateScaling="linear", **params).trainingPlan(frame(spark))
        return plan.batchSize, plan.learningRateFactor, plan.reasons["batchSize"]

    assert told(1) == (32, 1.0, "the default")
    assert told(2) == (16, 1.0, "the default, 32 rows of all workers")
    assert told(2, batchSize=12) == (8, 16 / 12, "Param batchSize, 12 rows of all workers, but 8 on each at least")
    assert told(2, batchSize=6) == (6, 2.0, "Param batchSize, 6 rows of all workers, but 6 on each at least")
    normalized = built(layers.Dense(4), layers.BatchNormalization(), layers.Dense(1), shape=(3,))
    of_statistics = "Param batchSize, 20 rows of all workers, but 16 on each at least for BatchNormalization"
    assert told(2, model=normalized, batchSize=20) == (16, 1.6, of_statistics)
    layers_of_state = layers.Reshape((3, 1)), layers.LSTM(2, stateful=True, name="memory"), layers.Dense(1)
    stateful = keras.Sequential([keras.Input(batch_shape=(20, 3)), *layers_of_state])
    stateful.compile("sgd", "mse")
    of_each = 20, 2.0, "Param batchSize, of each worker for stateful layer 'memory'"
    assert told(2, model=stateful, batchSize=20) == of_each


def test_kernel_and_its_reason_follow_the_rule(spark):
    short = regressor(globalBatch=False).trainingPlan(frame(spark))
    # 100 rows on each worker are 4 minibatches.
    long = regressor(globalBatch=False, epochs=2000).trainingPlan(frame(spark))
    unknown = regressor().trainingPlan(
        spark.createDataFrame(frame(spark).rdd, "a double, b double, c long, label double")
    )
    assert (short.kernel, long.kernel, unknown.kernel) == ("graph", "xla", "xla")
    assert "4 minibatches per worker are too few" in short.reasons["kernel"]
    assert "8,000 minibatches" in long.reasons["kernel"]
    assert "rows unknown" in unknown.reasons["kernel"]
    recurrent = built(layers.Reshape((3, 1)), layers.LSTM(2, name="memory"), layers.Dense(1), shape=(3,))
    assert "'memory' (LSTM)" in regressor(model=recurrent, epochs=500).trainingPlan(frame(spark)).reasons["kernel"]


def test_explaining_starts_no_job(spark, capsys):
    estimator, df = regressor(), frame(spark)
    spark.sparkContext.setJobGroup("explaining", "explaining")
    try:
        estimator.explainPlan(df, extended=True)
        assert list(spark.sparkContext.statusTracker().getJobIdsForGroup("explaining")) == []
        df.count()
        assert list(spark.sparkContext.statusTracker().getJobIdsForGroup("explaining")) != []
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    text = capsys.readouterr().out
    for part in ("== Training plan ==", "Epoch: 200 rows in 1 round", "+- Round: 10 minibatches on each of 2 workers"):
        assert part in text
    # Three features and a label of four bytes; 3 x 4 + 4 + 4 + 1 parameters.
    for part in ("+- Step: 16 rows", "Model: 21 parameters", "96 FLOPs per row", "Shard: 16 bytes per row, in memory"):
        assert part in text
    assert "== Decisions ==" in text and "== Layers ==" in text
    assert estimator.explainPlan(df) is None
    assert capsys.readouterr().out == f"{estimator.trainingPlan(df)}\n"


def test_estimated_rows_are_marked(spark, tmp_path):
    path = f"file://{tmp_path}/rows"
    frame(spark).write.parquet(path)
    planned = regressor().trainingPlan(spark.read.parquet(path))
    assert planned.rows > 0 and not planned.rowsExact
    assert f"Epoch: about {planned.rows:,} rows" in str(planned)
    held_out = regressor(validationSplit=0.25).trainingPlan(frame(spark))
    assert held_out.rows == 150 and not held_out.rowsExact


def test_what_fit_refuses_the_plan_refuses(spark):
    with pytest.raises(ValueError, match="Unknown column in Param `labelCol`"):
        regressor(labelCol="missing").explainPlan(frame(spark))
    with pytest.raises(ValueError, match="Neither Param `model` nor `modelFn` is set"):
        KerasEstimator().explainPlan(frame(spark))


# --- the summary ---------------------------------------------------------------------------------------------------


def test_plan_is_saved_with_the_model(spark, tmp_path):
    fitted = regressor().fit(frame(spark))
    fitted.save(str(tmp_path / "m"))
    loaded = KerasRegressionModel.load(str(tmp_path / "m")).summary
    assert loaded == fitted.summary
    assert set(loaded.plan) == {"planned", "measured"}


def test_summary_without_a_plan_is_read(spark):
    fields = json.loads(regressor().fit(frame(spark)).summary.toJSON())
    del fields["plan"]
    assert KerasTrainingSummary.fromJSON(json.dumps(fields)).plan == {}
