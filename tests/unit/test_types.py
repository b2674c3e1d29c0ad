"""What a type checker, and so an editor, tells the users of the package."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import mypy.api
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

# Expressions over what `FILE` knows, and their types.
REVEALED = {
    "KerasEstimator(model=model).fit(df)": "spark_keras.model.KerasModel",
    "KerasClassifier(model=model).fit(df)": "spark_keras.model.KerasClassificationModel",
    "KerasRegressor(model=model).fit(df)": "spark_keras.model.KerasRegressionModel",
    "KerasClassifier(model=model).fit(df, [{}, {}])": "list[spark_keras.model.KerasClassificationModel]",
    "KerasClassifier(model=model).setEpochs(3)": "spark_keras.estimator.KerasClassifier",
    "KerasClassifier(model=model).setEpochs(3).setSeed(1).fit(df)": "spark_keras.model.KerasClassificationModel",
    "KerasClassifier(model=model).copy({})": "spark_keras.estimator.KerasClassifier",
    "KerasClassifier.load('a')": "spark_keras.estimator.KerasClassifier",
    "KerasModel.read().safeMode(False).load('a')": "spark_keras.model.KerasModel",
    "KerasClassifier(model=model).fit(df).evaluateClassification(df).accuracy": "float",
    "KerasTransformer(model=model).setBatchSize(8)": "spark_keras.model.KerasTransformer",
    "EarlyStopping(estimator=KerasRegressor(model=model), patience=3).fit(df)": (
        "spark_keras.early_stopping.estimator.EarlyStoppingModel"
    ),
    "EarlyStopping().setPatience(3)": "spark_keras.early_stopping.estimator.EarlyStopping",
    "EarlyStopping().copy()": "spark_keras.early_stopping.estimator.EarlyStopping",
    "EarlyStopping().fit(df).result.bestEpoch": "int | None",
    "DataFrameAnalyzer().setBins(3).fit(df)": "spark_keras.analysis.model.DataFrameAnalysis",
    "DataFrameAnalysis.load('a')": "spark_keras.analysis.model.DataFrameAnalysis",
    "TensorAnalyzer().fit(df)": "spark_keras.analysis.tensor_shapes.TensorAnalysis",
    "TransformProcess(df).remove('a')": "spark_keras.preparation.process.TransformProcess",
    "TransformProcess(df).remove('a').keepWhere(col('b') > 1).named('big')": (
        "spark_keras.preparation.process.TransformProcess"
    ),
    "TransformProcess(df).groupBy('a').agg(n=countRows())": "spark_keras.preparation.process.TransformProcess",
    "TransformProcess.load('a')": "spark_keras.preparation.process.TransformProcess",
    "Schema().double('a', minimum=0).string('b')": "spark_keras.preparation.schema.Schema",
    "WorkerError('a')": "spark_keras.training.workers.errors.WorkerError",
}

# Statements that are refused, and what the error names.
REFUSED = {
    "KerasClassifier(model=model, epochs='three')": 'Argument "epochs" to "KerasClassifier"',
    "KerasEstimator(model=model, validationSplit='a tenth')": 'Argument "validationSplit" to "KerasEstimator"',
    "KerasRegressor(model=model, featuresCols='x')": 'Argument "featuresCols" to "KerasRegressor"',
    "KerasClassifier(model=model, epoch=3)": 'Unexpected keyword argument "epoch" for "KerasClassifier"',
    "KerasClassifier(model)": 'Too many positional arguments for "KerasClassifier"',
    "KerasClassifier().setEpochs('three')": 'Argument 1 to "setEpochs"',
    "KerasClassifier().fit(df).setEpoch(3)": '"KerasClassificationModel" has no attribute "setEpoch"',
    "EarlyStopping(patience='three')": 'Argument "patience" to "EarlyStopping"',
    "TransformProcess(['a'])": 'Argument 1 to "TransformProcess"',
    "TransformProcess(df).remove(3)": 'Argument 1 to "remove"',
    "TransformProcess(df).delete('a')": '"TransformProcess" has no attribute "delete"',
    "spark_keras.KerasClasifier": 'Module has no attribute "KerasClasifier"',
}

FILE = """
import keras
import spark_keras
from pyspark.sql import DataFrame
from spark_keras import (
    DataFrameAnalysis,
    DataFrameAnalyzer,
    EarlyStopping,
    KerasClassifier,
    KerasEstimator,
    KerasModel,
    KerasRegressor,
    KerasTransformer,
    TensorAnalyzer,
    WorkerError,
)
from spark_keras.preparation import Schema, TransformProcess, col, countRows

def use(model: keras.Model, df: DataFrame) -> None:
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What mypy tells of each expression and statement."""
    lines = [*(f"reveal_type({expression})" for expression in REVEALED), *REFUSED]
    head = FILE.count("\n") + 1
    path = tmp_path_factory.mktemp("user") / "uses.py"
    path.write_text(FILE + textwrap.indent("\n".join(lines), "    "))
    # With the settings and so with the cache of `scripts/lint`, which has seen pyspark and this package.
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    output, errors, _ = mypy.api.run([*options, "--no-error-summary", str(path)])
    assert not errors
    found: dict[str, list[str]] = {line: [] for line in lines}
    for message in output.splitlines():
        number, text = re.fullmatch(r".*?uses\.py:(\d+): (.*)", message).groups()
        found[lines[int(number) - head]].append(text)
    return found


@pytest.mark.parametrize("expression", REVEALED)
def test_a_type_checker_knows_the_type(told, expression):
    expected = REVEALED[expression]
    (message,) = told[f"reveal_type({expression})"]
    assert message == f'note: Revealed type is "{expected}"'


@pytest.mark.parametrize("statement", REFUSED)
def test_a_type_checker_refuses_what_is_wrong(told, statement):
    (message,) = [message for message in told[statement] if message.startswith("error: ")]
    assert REFUSED[statement] in message
