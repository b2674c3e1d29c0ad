"""Executors whose Python cannot do the work are found before a session's first job, and three lines say what to set."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest
from conftest import CLUSTER, ROOT, session_for

from spark_keras import KerasRegressor, KerasTransformer
from spark_keras.cluster import interpreter, jobs


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(interpreter, "_checked", set())


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


def model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def three_lines(error):
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and max(map(len, lines)) < 500, lines
    return lines


def test_a_python_without_the_package_is_told_before_any_job(spark, unchecked, bare, monkeypatch):
    df = spark.range(4).selectExpr("array(float(id)) AS features", "double(id) AS label")
    monkeypatch.setattr(spark.sparkContext, "pythonExec", bare)
    status = spark.sparkContext.statusTracker()
    before = len(status.getJobIdsForGroup())
    for work in (
        lambda: KerasRegressor(model=model(), featuresCol="features", numWorkers=1).fit(df.coalesce(1)),
        lambda: KerasTransformer(model=model()).transform(df),
    ):
        with pytest.raises(interpreter.InterpreterError) as error:
            work()
        what, expected, remedy = three_lines(error)
        assert bare in what and "keras, numpy, pyarrow, zmq" in what
        assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in expected and sys.executable in expected
        assert f"PYSPARK_PYTHON={sys.executable}" in remedy
    assert len(status.getJobIdsForGroup()) <= before + 1  # one row is looked at for the label's shape


def test_nothing_is_asked_where_it_is_the_drivers_own(spark, unchecked, monkeypatch):
    monkeypatch.setattr(interpreter, "_ask_process", None)
    monkeypatch.setattr(interpreter, "_ask_executor", None)
    interpreter.check(spark)
    assert interpreter._checked == {spark.sparkContext.applicationId}


def test_a_session_is_asked_once(spark, unchecked, monkeypatch):
    asked = []
    answer = {
        "python": "/x/python",
        "version": list(sys.version_info[:3]),
        "found": dict.fromkeys(interpreter._MODULES),
    }
    answer["found"][interpreter.backend_module()] = None
    monkeypatch.setattr(interpreter, "_is_this", lambda python: False)
    monkeypatch.setattr(interpreter, "_ask_process", lambda *arguments: asked.append(arguments) or answer)
    interpreter.check(spark)
    interpreter.check(spark)
    assert len(asked) == 1


def test_another_name_of_the_same_python_has_all_that_is_needed(spark, unchecked, monkeypatch, tmp_path):
    """A wrapper script, as of pyenv or conda."""
    wrapper = tmp_path / "python3"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(spark.sparkContext, "pythonExec", str(wrapper))
    interpreter.check(spark)


@pytest.mark.parametrize("python", ["/nowhere/python", "false"])
def test_a_python_that_does_not_run_is_told(spark, unchecked, monkeypatch, python):
    monkeypatch.setattr(spark.sparkContext, "pythonExec", python)
    with pytest.raises(interpreter.InterpreterError, match=f"'{python}' does not run") as error:
        interpreter.check(spark)
    three_lines(error)


@pytest.mark.parametrize("spark", [CLUSTER], indirect=True)
def test_executors_of_their_own_are_asked_by_one_task(spark, unchecked, bare, monkeypatch):
    spark.sparkContext.parallelize([0], 1).map(lambda _: 0).collect()  # executors and their daemon have started
    interpreter.check(spark)
    status = spark.sparkContext.statusTracker()
    job = max(status.getJobIdsForGroup(f"{jobs._JOB_GROUP_PREFIX}interpreter"))
    (stage,) = status.getJobInfo(job).stageIds
    assert status.getStageInfo(stage).numTasks == 1
    for python, told in ((bare, "without .*keras, numpy"), ("/nowhere/python", "does not run: Cannot run")):
        monkeypatch.setattr(interpreter, "_checked", set())
        monkeypatch.setattr(spark.sparkContext, "pythonExec", python)
        with pytest.raises(interpreter.InterpreterError, match=told) as error:
            interpreter.check(spark)
        three_lines(error)


@pytest.mark.slow
def test_a_script_outside_of_its_virtual_environment_is_told(tmp_path, bare):
    script = tmp_path / "script.py"
    script.write_text(
        """
import keras
from pyspark.sql import SparkSession
from spark_keras import KerasRegressor

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
df = spark.createDataFrame([([1.0], 1.0)], "features array<float>, label double")
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
KerasRegressor(model=model).fit(df)
"""
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK")}
    environment["PATH"] = os.pathsep.join([os.path.dirname(bare), environment["PATH"]])
    environment.pop("PYTHONPATH", None)
    environment["KERAS_BACKEND"] = "jax"  # which is imported in half the time
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, runpy; sys.path.insert(0, {ROOT!r}); runpy.run_path({str(script)!r})"],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
    )
    assert run.returncode and f"PYSPARK_PYTHON={sys.executable}" in run.stderr, run.stderr[-3000:]


def test_sessions_of_tests_are_this_python():
    assert session_for("local[2]").sparkContext.pythonExec == sys.executable
