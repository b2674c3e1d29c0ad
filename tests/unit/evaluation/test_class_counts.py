"""Counts of many classes take the memory of their rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from spark_keras.evaluation import class_counts
from spark_keras.evaluation.class_counts import Counting
from spark_keras.evaluation.partial import Sums
from spark_keras.evaluation.steps import Rules


def counted(rules, batches):
    """What the driver has of one partition's rows."""
    made = class_counts.count(Counting(rules, None, 0), batches)
    return Sums.of(SimpleNamespace(**row) for batch in made for row in batch.to_pylist())


def test_pairs_of_a_million_classes_and_more_keep_apart():
    high = 2**20 + 5
    label, prediction = np.array([0.0, high, 1.0, high]), np.array([high, 0.0, 5.0, high])
    batch = pa.RecordBatch.from_pydict({"label": label, "prediction": prediction, "weight": np.ones(4)})
    true, predicted, _ = class_counts.pairs(counted(Rules("prediction", "index", "index", classes=high + 1), [batch]))
    assert list(zip(true, predicted)) == [(0, high), (1, 5), (high, 0), (high, high)]


def test_many_different_pairs_are_sorted_a_few_times_only(monkeypatch):
    sums, sorts, unique = Sums(), [], np.unique
    monkeypatch.setattr(np, "unique", lambda array, **options: sorts.append(len(array)) or unique(array, **options))
    for start in range(0, 2**20, 2**12):
        sums.add("cells", np.arange(start, start + 2**12) * 7, 0.5)
    index, values = sums["cells"]
    assert len(index) == 2**20 and (values == 0.5).all()
    assert sum(sorts) < 5 * 2**20
