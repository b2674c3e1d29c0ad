"""Stages that earlier releases have saved load, and give what they gave then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden.write_stages import applied, frame
from pyspark.ml import Pipeline, PipelineModel

import spark_keras
from spark_keras.preparation import TransformProcess

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

RELEASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir() and folder.name[0].isdigit())
SAVED = [(release, folder.name) for release in RELEASES for folder in sorted((GOLDEN / release).iterdir())]
SAVED = [each for each in SAVED if (GOLDEN.joinpath(*each)).is_dir()]
CLASSES = {"TransformProcess": TransformProcess, "Pipeline": Pipeline, "PipelineModel": PipelineModel}


def load(release, name):
    stage = CLASSES.get(name) or getattr(spark_keras, name)
    return stage.load(str(GOLDEN / release / name))


@pytest.fixture(scope="module")
def df():
    from conftest import LOCAL, session_for

    return frame(session_for(LOCAL)).coalesce(1).cache()


def test_every_public_stage_is_among_the_saved_ones():
    from pyspark.ml.param import Params

    public = [getattr(spark_keras, name) for name in spark_keras.__all__]
    stages = {each.__name__ for each in public if isinstance(each, type) and issubclass(each, Params)}
    assert stages | set(CLASSES) <= {name for release, name in SAVED if release == RELEASES[0]}


@pytest.mark.compat
@pytest.mark.parametrize("release, name", SAVED)
def test_saved_stage_loads_with_its_params_and_gives_what_it_gave(df, release, name):
    stage = load(release, name)
    metadata = json.loads(next((GOLDEN / release / name / "metadata").glob("part-*")).read_text())
    assert stage.uid == metadata["uid"]
    for param, value in metadata["paramMap"].items():
        if name not in ("Pipeline", "PipelineModel"):
            assert stage.getOrDefault(param) == value, param
    for param, value in metadata["defaultParamMap"].items():
        assert stage.getOrDefault(param) == metadata["paramMap"].get(param, value), param
    expected = json.loads((GOLDEN / release / "expected.json").read_text())[name]
    if expected:
        few = df.select("id", "a", "b", "colour", "amount", "at") if name == "TransformProcess" else df
        rows = applied(stage, few, expected["columns"])
        assert len(rows) == len(expected["rows"])
        for row, then in zip(rows, expected["rows"]):
            for value, before in zip(row, then):
                assert np.allclose(value, before, atol=1e-5)


@pytest.mark.oldest
@pytest.mark.parametrize("name", [name for release, name in SAVED if release == RELEASES[0]])
def test_metadata_tell_the_version_that_saved_them(df, name, tmp_path):
    load(RELEASES[0], name).write().save(str(tmp_path / "stage"))
    parts = [json.loads(part.read_text()) for part in tmp_path.glob("**/metadata/part-*")]
    ours = [metadata for metadata in parts if metadata["class"].startswith("spark_keras.")]
    assert ours and {metadata.get("sparkKerasVersion") for metadata in ours} == {spark_keras.__version__}


def test_json_tells_the_version_that_wrote_it(df):
    for name in ("TransformProcess", "DataFrameAnalysis"):
        text = load(RELEASES[0], name).toJSON()
        assert json.loads(text)["sparkKerasVersion"] == spark_keras.__version__


def test_version_is_known_without_keras():
    code = "import sys, spark_keras; print(spark_keras.__version__, 'keras' in sys.modules, 'pyspark' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert told == [spark_keras.__version__, "False", "False"]


def test_saved_estimators_train_and_saved_models_have_their_summary(df):
    fitted = load(RELEASES[0], "Pipeline").fit(df)
    assert len(fitted.stages[-1].summary.history["loss"]) == 2
    assert len(load(RELEASES[0], "EarlyStopping").fit(df).result.scores) == 2
    for name in ("KerasClassificationModel", "KerasModel", "KerasRegressionModel"):
        summary = load(RELEASES[0], name).summary
        assert summary.epochs == 2 and len(summary.history["loss"]) == 2
    result = load(RELEASES[0], "EarlyStoppingModel").result
    assert len(result.scores) == 2


def test_a_saved_estimator_trains_with_the_rows_per_minibatch_that_it_had(df, tmp_path):
    estimator = load(RELEASES[0], "KerasClassifier")
    assert (estimator.getBatchSize(), estimator.getGlobalBatch()) == (4, False)
    estimator.save(str(tmp_path / "again"))
    assert spark_keras.KerasClassifier.load(str(tmp_path / "again")).getGlobalBatch() is False
    assert spark_keras.KerasClassifier().getGlobalBatch() == "auto"


def test_a_saved_analysis_tells_what_it_told(df):
    analysis = load(RELEASES[0], "DataFrameAnalysis")
    a = np.array([row.a for row in df.collect()])
    assert analysis.rows == 24
    assert analysis["a"].mean == pytest.approx(a.mean()) and analysis["a"].max == a.max()
    assert dict(analysis["colour"].mostFrequent) == {"red": 8, "green": 8, "blue": 8}
    assert analysis["features"].tensorShape == (2,)
