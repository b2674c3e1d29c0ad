"""Messages about unknown names ask for the one that may be meant."""

from __future__ import annotations

import numpy as np
import pytest

import spark_keras as sk
from spark_keras.analysis import relations
from spark_keras.analysis.column_analysis import ColumnAnalysis
from spark_keras.columns.names import unknown_column
from spark_keras.preparation import ColumnQuality, DataQuality, Schema
from spark_keras.similar_names import did_you_mean

COLUMNS = ["sepal length", "Species", "address.city"]
CELLS = np.array([0, 1]), np.array([0, 1]), np.array([1.0, 1.0])


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("sepal lenght", "sepal length"),
        ("SEPAL_LENGTH", "sepal length"),
        ("species", "Species"),
        ("adress.city", "address.city"),
        ("petal", None),
        (7, None),
    ],
)
def test_the_most_similar_name_is_asked_for(typed, meant):
    assert did_you_mean(typed, COLUMNS) == (f" Did you mean {meant!r}?" if meant else "")
    assert str(unknown_column("labelCol", typed, COLUMNS)).endswith(f"{COLUMNS}.{did_you_mean(typed, COLUMNS)}")


@pytest.mark.parametrize(
    "cls, typed, meant",
    [
        (sk.KerasClassifier, "batch_size", "batchSize"),
        (sk.KerasRegressor, "epoch", "epochs"),
        (sk.KerasEstimator, "inputcols", "inputCols"),
        (sk.KerasTransformer, "featureCol", "featuresCol"),
        (sk.EarlyStopping, "patient", "patience"),
        (sk.DataFrameAnalyzer, "inputCol", "inputCols"),
        (sk.TensorAnalyzer, "inputCol", "inputCols"),
    ],
)
def test_unknown_param_is_refused_with_a_similar_one(cls, typed, meant):
    expected = (
        rf"Unknown Param of {cls.__name__}. Received: '{typed}'. Expected: one of \[.*\]. Did you mean '{meant}'\?"
    )
    with pytest.raises(TypeError, match=expected):
        cls(**{typed: 1})
    with pytest.raises(TypeError, match=expected):
        cls()._set(**{typed: 1})


def test_constructors_take_no_positional_arguments():
    with pytest.raises(TypeError, match="forces keyword arguments"):
        sk.KerasClassifier(3)


@pytest.mark.parametrize(
    "look",
    [
        lambda: sk.DataFrameAnalysis([ColumnAnalysis(name="amount")])["amuont"],
        lambda: DataQuality((ColumnQuality("amount", "double", 1, 0, 0),))["amuont"],
        lambda: Schema().double("amount")["amuont"],
        lambda: relations.check_label([type("Field", (), {"name": "amount"})], "amuont"),
        lambda: sk.ClassificationEvaluation(["a", "b"], CELLS, None, [type("C", (), {"name": "amount"})]).curve(
            "amuont"
        ),
    ],
)
def test_objects_ask_for_a_similar_column(look):
    with pytest.raises((KeyError, ValueError), match="'amuont'.*Expected: one of .*Did you mean 'amount'"):
        look()
