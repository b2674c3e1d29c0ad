"""Spark Connect: all that is not training does there what it does on a classic session, to the bit."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import LOCAL, ROOT, on_connect, session_for
from golden.write_stages import frame, numbers
from pyspark.errors import AnalysisException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder

import spark_keras
from spark_keras import KerasClassifier, KerasModel, KerasTransformer
from spark_keras.cluster import connect, files, interpreter
from spark_keras.preparation import TransformProcess

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1.0"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
CLASSES = {"TransformProcess": TransformProcess, "Pipeline": Pipeline, "PipelineModel": PipelineModel}


def class_of(name):
    return CLASSES.get(name) or getattr(spark_keras, name)


def golden(name):
    return class_of(name).load(str(GOLDEN / name))


def rows(df, *columns):
    """The columns, row by row in the order of the ids."""
    return [tuple(map(numbers, row)) for row in df.orderBy("id").select("id", *columns).collect()]


def given(spark, name, stage):
    """What a stage gives for the golden rows; None for an estimator."""
    if EXPECTED[name] is None:
        return None
    df = frame(spark)
    few = df.select("id", "a", "b", "colour", "amount", "at") if name == "TransformProcess" else df
    return rows(stage.transform(few), *EXPECTED[name]["columns"])


def told(stage):
    """All that is saved of a stage, stages in it included."""
    if isinstance(stage, (Pipeline, PipelineModel)):
        stages = stage.getStages() if isinstance(stage, Pipeline) else stage.stages
        return stage.uid, [told(each) for each in stages]
    found = {"class": type(stage).__name__, "uid": stage.uid}
    for param, value in stage.extractParamMap().items():
        if hasattr(value, "digest"):
            value = value.digest
        elif hasattr(value, "uid"):
            value = told(value)
        found[param.name] = str(value)
    for part in ("bestModel", "lastModel"):
        found[part] = getattr(stage, part, None) and told(getattr(stage, part))
    for part in ("_summary", "_result"):
        found[part] = getattr(stage, part, None) and getattr(stage, part).toJSON()
    return found | {"attributes": getattr(stage, "_fit_attributes", None)}


def figures(report):
    """A report as JSON, in which NaN is equal to itself."""

    def plain(value):
        if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return numbers(value)

    return json.dumps(report, default=plain)


def network(width=4):
    keras.utils.set_random_seed(5)
    layers = [keras.layers.Dense(width, "tanh", name="hidden"), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# --- stages ----------------------------------------------------------------------------------------------------------


def test_every_stage_loads_and_gives_what_it_gives_on_a_classic_session(same_on_connect):
    def use(spark):
        stages = {name: golden(name) for name in EXPECTED}
        return [(told(stage), given(spark, name, stage)) for name, stage in stages.items()]

    same_on_connect(use)


@on_connect
def test_every_stage_is_saved_for_both_kinds_of_sessions(spark, monkeypatch, tmp_path):
    path = tmp_path / "stage"
    golden("KerasTransformer").write().save(str(path))
    with pytest.raises(AnalysisException, match="already exists"):
        golden("TransformProcess").write().save(str(path))
    golden("TransformProcess").write().overwrite().save(str(path))
    assert [each.name for each in path.iterdir()] == ["metadata"]
    everything = Pipeline(stages=[golden(name) for name in EXPECTED])
    everything.write().overwrite().save(str(path))
    assert told(Pipeline.load(str(path))) == told(everything)
    monkeypatch.delenv("SPARK_CONNECT_MODE_ENABLED")
    session_for(LOCAL)
    assert told(Pipeline.load(str(path))) == told(everything)


def test_models_of_any_size_and_place_are_applied_alike(same_on_connect, tmp_path):
    # More than a MiB of archive, which is sent apart.
    large = network(100_000)
    large.save(tmp_path / "large.keras")
    (tmp_path / "folder").mkdir()
    network().save(tmp_path / "folder" / "small.keras")

    def apply(spark):
        df = frame(spark).selectExpr("*", "if(id % 5 = 0, null, features) AS gaps")
        by_path = {"model": f"file://{tmp_path}/large.keras", "predictionCol": "p"}
        by_layer = {"model": f"file://{tmp_path}/folder/small.keras", "outputLayer": "hidden", "outputFormat": "vector"}
        sent = KerasTransformer(**by_path)
        with pytest.raises(ValueError, match="is no file on the driver or on Spark's file system"):
            KerasTransformer(model=f"file://{tmp_path}/nothing.keras")
        return (
            rows(sent.transform(df), "p"),
            rows(sent.copy({sent.handleInvalid: "skip", sent.featuresCol: "gaps"}).transform(df), "p"),
            rows(sent.copy({sent.handleInvalid: "keep", sent.featuresCol: "gaps"}).transform(df), "p"),
            rows(KerasTransformer(**by_layer, featuresCols=["a", "b"]).transform(df), "prediction"),
            KerasModel(model=large).evaluate(df, metrics=["sparse_categorical_crossentropy"]),
        )

    found = same_on_connect(apply)
    assert [len(each) for each in found[:4]] == [24, 19, 24, 24]


def test_evaluations_are_those_of_a_classic_session(same_on_connect):
    labels = network()
    labels.layers[-1].activation = keras.activations.sigmoid
    labels.compile("adam", "binary_crossentropy")

    def evaluate(spark):
        df = frame(spark).coalesce(1)
        classifier, regressor = golden("KerasClassificationModel"), golden("KerasRegressionModel")
        several = KerasModel(model=labels).setLabelCol("labels")
        evaluator = MulticlassClassificationEvaluator(metricName="logLoss")
        return (
            classifier.evaluate(df),
            regressor.evaluate(df, metrics=["mae", keras.metrics.R2Score()]),
            golden("EarlyStoppingModel").score(df, regularization=False),
            rows(classifier.scoreExamples(df), "loss"),
            figures(classifier.evaluateClassification(df)),
            figures(regressor.evaluateRegression(df)),
            figures(several.evaluateMultiLabel(df.selectExpr("*", "array(label, 1 - label) AS labels"))),
            evaluator.evaluate(classifier.transform(df)),
        )

    same_on_connect(evaluate)


def test_a_cross_validated_model_is_saved_loaded_and_applied(same_on_connect, tmp_path):
    def use(spark):
        estimator = golden("KerasClassifier")
        grid = ParamGridBuilder().addGrid(estimator.epochs, [1, 2]).build()
        evaluator = MulticlassClassificationEvaluator()
        search = CrossValidator(estimator=estimator, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2)
        best = PipelineModel(stages=[golden("PipelineModel")])
        chosen = CrossValidatorModel(best, avgMetrics=[0.5, 0.75], stdMetrics=[0.0, 0.25])
        chosen._set(estimator=estimator, estimatorParamMaps=grid, evaluator=evaluator)
        path = str(tmp_path / type(spark).__module__)
        found = []
        for name, stage in (("search", search), ("model", chosen)):
            stage.write().overwrite().save(f"{path}/{name}")
            loaded = type(stage).load(f"{path}/{name}")
            maps = [[(param.name, value) for param, value in each.items()] for each in loaded.getEstimatorParamMaps()]
            found.append((maps, told(loaded.getEstimator())))
        return found, loaded.avgMetrics, rows(loaded.transform(frame(spark)), "prediction", "probability")

    found, average, _ = same_on_connect(use)
    assert found[0][0] == [[("epochs", 1)], [("epochs", 2)]] and average == [0.5, 0.75]


def test_a_stream_is_scored_as_on_a_classic_session(same_on_connect, tmp_path):
    frame(session_for(LOCAL)).select("id", "features").write.parquet(str(tmp_path / "rows"))

    def score(spark):
        stream = spark.readStream.schema("id int, features array<float>").parquet(str(tmp_path / "rows"))
        name = f"scored_{type(spark).__module__.replace('.', '_')}"
        scored = golden("KerasClassificationModel").transform(stream)
        query = scored.writeStream.format("memory").queryName(name).trigger(availableNow=True).start()
        assert query.awaitTermination(120)
        return rows(spark.table(name), "prediction", "probability")

    assert len(same_on_connect(score)) == 24


# --- what differs ----------------------------------------------------------------------------------------------------


@on_connect
def test_fits_are_refused_before_any_job_and_told_what_to_use_instead(spark, monkeypatch):
    df = frame(spark)
    classifier, evaluator = golden("KerasClassifier"), MulticlassClassificationEvaluator()
    search = {"estimator": classifier, "estimatorParamMaps": [{}, {}], "evaluator": evaluator, "numFolds": 2}
    estimators = [classifier, *map(golden, ("KerasEstimator", "KerasRegressor", "EarlyStopping"))]

    def refuse(*arguments, **options):
        pytest.fail("A job was started.")

    monkeypatch.setattr(type(spark.client), "_execute_and_fetch_as_iterator", refuse)
    for estimator in (*estimators, CrossValidator(**search), Pipeline(stages=[classifier])):
        with pytest.raises(
            NotImplementedError, match=r"of a Spark Connect session\. Expected: one of a classic session"
        ):
            estimator.fit(df)


@on_connect
def test_a_plan_says_what_the_session_does_not_tell(spark, capsys):
    for params, decision in (({}, "numWorkers 1 a guess:"), ({"numWorkers": 3}, "numWorkers 3 Param numWorkers;")):
        KerasClassifier(model=network(), averagingFrequency=5, **params).explainPlan(frame(spark))
        printed = " ".join(capsys.readouterr().out.split())
        assert f"{decision} the session does not tell how many tasks it can run at the same time" in printed
        assert "Epoch: unknown rows" in printed
        assert printed.endswith("A fit needs a classic session. This one is of Spark Connect.")


@on_connect
def test_executors_without_a_package_are_told_once_for_each_session(spark, monkeypatch):
    asked = []
    monkeypatch.setattr(
        interpreter, "_ask_executor", lambda *given, ask=interpreter._ask_executor: asked.append(1) or ask(*given)
    )
    monkeypatch.setattr(interpreter, "_checked", set())
    with monkeypatch.context() as patch:
        patch.setattr(interpreter, "_MODULES", (*interpreter._MODULES, "no_such_module"))
        with pytest.raises(interpreter.InterpreterError, match="without no_such_module") as error:
            golden("KerasTransformer").transform(frame(spark))
        assert len(str(error.value).splitlines()) == 3
    interpreter.check(spark)
    interpreter.check(spark)
    assert len(asked) == 2


@on_connect
def test_files_larger_than_a_message_and_folders_are_read_as_they_were_written(spark, monkeypatch, tmp_path):
    monkeypatch.setattr(connect, "PIECE_BYTES", 1000)
    monkeypatch.setattr(connect, "_WRITTEN_BYTES", 2**19)
    data = np.random.default_rng(0).bytes(2**20 + 1)
    for content in (data, data[:1000], data[:1], b""):
        (tmp_path / "plain").write_bytes(content)
        assert files.read_file(spark, f"file://{tmp_path}/plain") == content
        files.write_file(spark, f"{tmp_path}/of pieces", content)
        assert files.read_file(spark, f"{tmp_path}/of pieces") == content
    assert files.read_file(spark, f"{tmp_path}/nothing") is None
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(data[:2500])
    (tmp_path / "a" / "d").write_bytes(b"d")
    assert files.fetch_file(spark, f"file:{tmp_path}/a/", str(tmp_path / "copy"))
    assert ((tmp_path / "copy/b/c").read_bytes(), (tmp_path / "copy/d").read_bytes()) == (data[:2500], b"d")
    files.delete_folder(spark, str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    files.write_file(spark, f"{tmp_path}/of pieces", data)
    monkeypatch.delenv("SPARK_CONNECT_MODE_ENABLED")
    assert files.read_file(session_for(LOCAL), f"{tmp_path}/of pieces") == data


WITHOUT_JVM = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "py4j" or name.startswith("pyspark.core"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from golden.write_stages import frame
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession, is_remote
from spark_keras import KerasClassificationModel, KerasClassifier

spark = SparkSession.builder.getOrCreate()
assert is_remote()
golden, folder = sys.argv[1:]
df = frame(spark)
PipelineModel.load(f"{golden}/PipelineModel").write().overwrite().save(f"{folder}/pipeline")
print(PipelineModel.load(f"{folder}/pipeline").transform(df).agg({"prediction": "sum"}).first()[0])
print(KerasClassificationModel.load(f"{golden}/KerasClassificationModel").evaluate(df)["loss"])
KerasClassifier.load(f"{golden}/KerasClassifier").explainPlan(df)
assert not [name for name in sys.modules if name.startswith(("py4j", "pyspark.core"))]
"""


def test_a_client_needs_no_jvm(connect_port, tmp_path):
    """As with the package pyspark-client, which has neither py4j nor pyspark.core."""
    path = [ROOT, os.path.join(ROOT, "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {"SPARK_REMOTE": f"sc://127.0.0.1:{connect_port}", "PYTHONPATH": os.pathsep.join(path)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")}
    (tmp_path / "client.py").write_text(WITHOUT_JVM)
    command = [sys.executable, str(tmp_path / "client.py"), str(GOLDEN), str(tmp_path)]
    run = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr[-3000:]
    df = frame(session_for(LOCAL))
    predictions = golden("PipelineModel").transform(df).agg({"prediction": "sum"}).first()[0]
    losses = golden("KerasClassificationModel").evaluate(df)["loss"]
    assert run.stdout.splitlines()[:2] == [str(predictions), str(losses)]
    assert "== Training plan ==" in run.stdout
