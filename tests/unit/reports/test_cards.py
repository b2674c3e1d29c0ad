"""How objects show themselves: a short text anywhere, a card in a notebook."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from small_models import classifier_model

import spark_keras as sk
from spark_keras.analysis.column_analysis import ColumnAnalysis
from spark_keras.analysis.model import Correlations
from spark_keras.evaluation.curves import Curve
from spark_keras.evaluation.regression import RegressionFigures
from spark_keras.preparation import ColumnQuality, DataQuality, Schema, TransformProcess
from spark_keras.telemetry.summary import KerasTrainingSummary
from spark_keras.training.plan import Plan

BAD = "<script>alert(1)</script>"


def summary(epochs=3, name="loss"):
    history = {name: [1.5 / (epoch + 1) for epoch in range(epochs)], f"val_{name}": [2.5] * epochs}
    seconds = {"total": 12.345, "train": 10.0}
    return KerasTrainingSummary(history, epochs, 2, 10, 32, [600, 634], [0, 0], {}, 40 * epochs, "xla", seconds)


def fitted(names=("cat", "dog", "eel"), trained=None):
    model = sk.KerasClassificationModel(classifier_model())
    model._fit_attributes = {"numClasses": len(names), "labels": list(names)}
    model._summary = trained or summary()
    return model


def evaluation(names=("cat", "dog")):
    # 3 rows right, 1 wrong.
    cells = np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([1.0, 2.0, 1.0])
    return sk.ClassificationEvaluation(list(names), cells, None, [curve(names[1])])


def curve(name="dog"):
    scores, rates = np.array([0.9, 0.4]), np.array([0.5, 1.0])
    nothing = np.zeros(0)
    points = scores, rates * 2, np.array([0.0, 1.0])
    return Curve(name, 2.0, 1.0, 0.75, 0.8, scores, rates, rates / 2, rates, nothing, nothing, nothing, nothing, points)


def labels(names=("red", "blue")):
    counts = (np.array([2.0, 1.0]) for _ in range(4))
    return sk.MultiLabelEvaluation(list(names), *counts, 6.0, 0.5, 0.6, (0.7, 0.8, 0.75), [curve(names[1])])


def stopped(details="no improvement since epoch 2"):
    return sk.EarlyStoppingResult("patience", details, "val_loss", {1: 0.5, 2: 0.25, 3: 0.375}, 2, 0.25, 3, 7.25)


def plan():
    reasons = {"numWorkers": "Param numWorkers", "kernel": f"the fastest {BAD}"}
    numbers = 123_456, True, 40, 67, 804, 3216, 402, 100, 10
    return Plan(2, 1, "synchronous", 10, "driver", "mean", False, "none", 32, 1.0, "xla", "memory", *numbers, reasons)


def regression(name="delay"):
    return sk.RegressionEvaluation(
        [RegressionFigures(name, 20.0, 4.0, 2.0, 1.5, 1.0, 5.0, 0.5, 0.9, 0.9, 0.1, 0.95)], []
    )


def schema(name="country"):
    return Schema().categorical(name, [BAD, "FR"]).double("amount", minimum=0)


def column(name="city"):
    return ColumnAnalysis(
        name=name, kind="string", rows=9, count=8, nulls=1, distinct=2, mostFrequent=((BAD, 7), ("b", 1))
    )


def stopped_model(**options):
    return sk.EarlyStoppingModel(fitted(**options), None, stopped())


UNFINISHED = [
    sk.KerasClassifier,
    sk.KerasRegressor,
    sk.KerasEstimator,
    sk.KerasTransformer,
    sk.KerasClassificationModel,
    sk.EarlyStopping,
    sk.EarlyStoppingModel,
    sk.DataFrameAnalyzer,
    sk.DataFrameAnalysis,
    sk.TensorAnalyzer,
    sk.TensorAnalysis,
    TransformProcess,
    Schema,
]
FINISHED = {
    "KerasClassifier": lambda: sk.KerasClassifier(model=classifier_model(), epochs=7),
    "KerasClassificationModel": fitted,
    "KerasTrainingSummary": lambda: summary(1000),
    "EarlyStopping": lambda: sk.EarlyStopping(estimator=sk.KerasClassifier(model=classifier_model()), patience=3),
    "EarlyStoppingModel": stopped_model,
    "EarlyStoppingResult": stopped,
    "Plan": plan,
    "ClassificationEvaluation": evaluation,
    "MultiLabelEvaluation": labels,
    "RegressionEvaluation": regression,
    "Curve": curve,
    "Schema": lambda: Schema().double(*(f"column {number}" for number in range(200))),
    "TransformProcess": lambda: TransformProcess(schema()).remove("amount"),
    "DataQuality": lambda: DataQuality((ColumnQuality("age", "integer", 5, 1, 0, ("x",)),)),
    "DataFrameAnalysis": lambda: sk.DataFrameAnalysis([column()]),
    "ColumnAnalysis": column,
    "Correlations": lambda: Correlations(("a", "b"), ((1.0, 0.5), (0.5, 1.0))),
}


class Tags(HTMLParser):
    """The elements of a page; all that are opened are closed."""

    def __init__(self, page):
        super().__init__()
        self.names, self._open = [], []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        assert not [name for name, _ in attributes if name.startswith("on")]
        self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


@pytest.mark.parametrize("cls", UNFINISHED, ids=lambda cls: cls.__name__)
def test_what_is_not_configured_shows_itself(cls):
    made = cls()
    assert repr(made).startswith(f"{cls.__name__}: ") and len(repr(made).splitlines()) == 1
    assert getattr(made, "uid", "") in repr(made)
    assert cls.__name__ in made._repr_html_() or cls is sk.DataFrameAnalysis


@pytest.mark.parametrize("name", FINISHED)
def test_text_is_short_and_card_is_html(name):
    made = FINISHED[name]()
    assert repr(made).startswith(f"{name}: ") and len(repr(made).splitlines()) <= 4 and len(repr(made)) < 500
    assert getattr(made, "uid", "") in repr(made)
    tags = Tags(made._repr_html_()).names
    assert "script" not in tags and {"table", "svg", "iframe"} & set(tags)


def test_text_tells_what_matters():
    text = " ".join(repr(fitted()).split())
    assert all(
        fact in text for fact in ("Sequential", "9 parameters", "numClasses=3", "labels=cat, dog, eel", "loss=0.5")
    )
    assert "epochs=3, loss=0.5, val_loss=2.5, rows=1,234, workers=2" in repr(summary())
    assert "rows=4, classes=2, accuracy=0.75" in repr(evaluation())
    assert "rows=123,456" in repr(plan()) and "kernel=xla" in repr(plan())
    assert "bestScore=0.25, bestEpoch=2, totalEpochs=3" in repr(stopped())
    estimator = sk.KerasClassifier(model=classifier_model(), epochs=7, labelCol="kind")
    assert "epochs=7, labelCol=kind" in " ".join(repr(estimator).split()) and "batchSize" not in repr(estimator)
    as_by_default = sk.KerasClassifier(epochs=1, validationSplit=0, nonFinite="error", customObjects={}, callbacks=[])
    assert repr(as_by_default) == f"KerasClassifier: uid={as_by_default.uid}"


def test_fitted_model_shows_its_layers_and_learning_curves():
    card = fitted()._repr_html_()
    model = classifier_model()
    for layer in model.layers:
        row = re.search(rf"<tr><td>{layer.name.rstrip('_0123456789')}\w*</td>.*?</tr>", card)[0]
        assert f"<td>{type(layer).__name__}</td><td>(?, 3)</td>" in row and f">{layer.count_params()}</td>" in row
    lines = re.findall(r'<polyline[^>]*points="([^"]+)"', card)
    assert [len(line.split()) for line in lines] == [3, 3]


def test_best_epoch_is_marked():
    card = stopped()._repr_html_()
    line, (at, up) = (
        re.search(r'points="([^"]+)"', card)[1].split(),
        re.search(r'cx="([^"]+)" cy="([^"]+)"', card).groups(),
    )
    assert line.index(f"{at},{up}") == 1 and "no improvement" in card


@pytest.mark.parametrize(
    "made",
    [
        lambda: fitted(["ok", BAD, "other"]),
        lambda: fitted(trained=summary(name=BAD)),
        lambda: stopped_model(names=[BAD, "ok", "other"]),
        lambda: stopped(BAD),
        plan,
        lambda: evaluation(["ok", BAD]),
        lambda: labels(["ok", BAD]),
        lambda: regression(BAD),
        lambda: curve(BAD),
        schema,
        lambda: schema(BAD),
        lambda: TransformProcess(schema(BAD)).rename({BAD: "named"}),
        lambda: DataQuality((ColumnQuality(BAD, BAD, 5, 1, 0, (BAD,)),)),
        lambda: column(BAD),
        lambda: sk.DataFrameAnalysis([column(BAD)]),
        lambda: Correlations((BAD,), ((1.0,),)),
        lambda: sk.DataFrameAnalyzer(inputCols=[BAD]),
        lambda: sk.KerasClassifier(labelCol=BAD),
    ],
)
def test_names_and_values_are_escaped(made):
    card = made()._repr_html_()
    assert "script" not in Tags(card).names and "alert(1)" in card and "<script>alert" not in card


def test_no_secret_is_shown():
    estimator = sk.KerasClassifier(
        modelFn=classifier_model,
        modelParams={"token": "hunter2"},
        checkpointDir="s3a://key:hunter2@bucket/folder?signature=hunter2",
        callbacks=[keras.callbacks.CSVLogger("hunter2.csv")],
        customObjects={"hunter": "hunter2"},
    )
    for shown in (repr(estimator), estimator._repr_html_()):
        assert (
            "hunter2" not in shown and "bucket/folder" in shown and "classifier_model" in shown and "CSVLogger" in shown
        )


class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def test_card_of_a_model_that_cannot_be_rebuilt_says_why(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Doubled()])
    model.save(tmp_path / "own.keras")
    card = sk.KerasTransformer(model=str(tmp_path / "own.keras"))._repr_html_()
    assert "Doubled" in card and "customObjects" in card
    assert (
        "(?, 2)"
        in sk.KerasTransformer(model=str(tmp_path / "own.keras"), customObjects={"Doubled": Doubled})._repr_html_()
    )


def test_looking_draws_no_random_numbers():
    estimator = sk.KerasClassifier(model=keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="looked_at")]))
    before = random.getstate(), np.random.get_state()[1].tolist()
    assert "looked_at" in estimator._repr_html_()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
