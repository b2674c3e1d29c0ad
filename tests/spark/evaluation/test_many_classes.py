"""Reports on many classes take the memory of their rows, and their figures are those of scikit-learn."""

from __future__ import annotations

import contextlib
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics

from spark_keras import ClassificationEvaluation
from spark_keras.evaluation import class_counts
from spark_keras.evaluation.class_counts import Counting
from spark_keras.evaluation.partial import Sums
from spark_keras.evaluation.steps import Rules

CLASSES, ROWS = 20_000, 2000
MB = 2**20


@contextlib.contextmanager
def memory_below(limit):
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def drawn(seed=0):
    """Labels, predictions of which a third is right, and weights."""
    random = np.random.default_rng(seed)
    y, other = random.integers(0, CLASSES, (2, ROWS))
    return y, np.where(random.uniform(size=ROWS) < 1 / 3, y, other), random.uniform(0.5, 2.0, ROWS)


def counted(rules, batches):
    """What the driver has of one partition's rows."""
    made = class_counts.count(Counting(rules, None, 0), batches)
    return Sums.of(SimpleNamespace(**row) for batch in made for row in batch.to_pylist())


def doubles(width, values):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width).cast(pa.list_(pa.float64()))


@pytest.mark.slow
def test_figures_of_20000_classes_are_those_of_scikit_learn(spark):
    y, predicted, w = drawn()
    pdf = pd.DataFrame({"label": y, "prediction": predicted.astype(float), "w": w})
    df = spark.createDataFrame(pdf).repartition(3).cache()
    df.count()
    names = [f"class {index}" for index in range(CLASSES)]
    with memory_below(50 * MB):
        report = ClassificationEvaluation.of(df, weightCol="w", classes=names)
        found = {
            (name, average): getattr(report, name)(average)
            for name in ("precision", "recall", "f1")
            for average in ("macro", "micro", "weighted")
        }
        accuracy, balanced, mcc = report.accuracy, report.balancedAccuracy, report.mcc
        table, pairs = report.toPandas(), report.confusionPairs
        text, page = str(report), report._repr_html_()
    for (name, average), value in found.items():
        expected = getattr(metrics, f"{name}_score")(y, predicted, average=average, sample_weight=w, zero_division=0.0)
        assert value == pytest.approx(expected)
    assert accuracy == pytest.approx(metrics.accuracy_score(y, predicted, sample_weight=w))
    assert mcc == pytest.approx(metrics.matthews_corrcoef(y, predicted, sample_weight=w))
    options = {"sample_weight": w, "zero_division": 0.0}
    expected = metrics.recall_score(y, predicted, labels=np.unique(y), average="macro", **options)
    assert balanced == pytest.approx(expected)
    each = metrics.precision_recall_fscore_support(y, predicted, labels=range(CLASSES), **options)
    np.testing.assert_allclose(table[["precision", "recall", "F1", "rows"]].to_numpy().T, each)
    assert "class 19999" in text and "class 19999" in page
    expected = pdf.groupby(["label", "prediction"], as_index=False)["w"].sum()
    assert pairs["true"].tolist() == [names[index] for index in expected["label"]]
    assert pairs["predicted"].tolist() == [names[int(index)] for index in expected["prediction"]]
    np.testing.assert_allclose(pairs["rows"], expected["w"])


def test_a_matrix_of_more_than_5000_classes_is_refused_and_drawn_in_stretches():
    y, predicted, w = drawn(1)
    report = ClassificationEvaluation(list(map(str, range(CLASSES))), (y, predicted, w), None, [])
    message = "Received: 20000 classes. Expected: at most 5000; `confusionPairs` has"
    with memory_below(1 * MB), pytest.raises(ValueError, match=message):
        _ = report.confusionMatrix
    (axis,) = report.plot().axes
    drawing = axis.images[0].get_array()
    # Stretches of 20 classes.
    counts = np.zeros((1000, 1000))
    np.add.at(counts, (y // 20, predicted // 20), w)
    np.testing.assert_allclose(drawing, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9))
    assert axis.get_xlim() == (-0.5, CLASSES - 0.5)
    allowed = ClassificationEvaluation(list(map(str, range(5000))), (y % 5000, predicted % 5000, w), None, [])
    assert allowed.confusionMatrix.shape == (5000, 5000)


@pytest.mark.parametrize("kind", ["scores", "one-hot labels"])
def test_a_batch_of_long_arrays_is_counted_in_parts(kind):
    random = np.random.default_rng(2)
    rows = 400
    y, predicted, w = (array[:rows] for array in drawn(3))
    scores = random.uniform(0, 0.5, (rows, CLASSES)) if kind == "scores" else np.zeros((rows, CLASSES))
    if kind == "scores":
        scores[np.arange(rows), predicted] = 0.9
        rules = Rules("scores", "index", "index", "probability")
        columns = {"label": pa.array(y.astype(float)), "scores": doubles(CLASSES, scores)}
    else:
        scores[np.arange(rows), y] = 1.0
        rules = Rules("prediction", "index", "index", classes=CLASSES, one_hot=True)
        columns = {"label": doubles(CLASSES, scores), "prediction": pa.array(predicted.astype(float))}
    batch = pa.RecordBatch.from_pydict({**columns, "weight": pa.array(w)})
    with memory_below(batch.nbytes / 1.5):
        sums = counted(rules, iter([batch]))
    true, found, weights = class_counts.pairs(sums)
    expected = pd.DataFrame({"y": y, "p": predicted, "w": w}).groupby(["y", "p"])["w"].sum()
    assert list(zip(true, found)) == expected.index.tolist()
    np.testing.assert_allclose(weights, expected)
    assert sums.total("rows") == rows
    if kind == "scores":
        for k in (1, 100):
            right = metrics.top_k_accuracy_score(y, scores, k=k, labels=range(CLASSES), sample_weight=w)
            assert sums.dense("ranks", CLASSES)[:k].sum() / w.sum() == pytest.approx(right)
