"""What is written as JSON is JSON, for every parser; and is read back as it was."""

from __future__ import annotations

import json
import math

import msgspec

from spark_keras import DataFrameAnalysis, plain_json
from spark_keras.analysis.column_analysis import ColumnAnalysis, Histogram
from spark_keras.analysis.model import Correlations
from spark_keras.early_stopping.result import EarlyStoppingResult
from spark_keras.preparation import Schema, TransformProcess, col
from spark_keras.telemetry.summary import KerasTrainingSummary

NUMBERS = [0.1, math.inf, -math.inf, math.nan]


def strict(text):
    """As msgspec reads it, which refuses what RFC 8259 does not have."""
    found = msgspec.json.decode(text)
    assert found == json.loads(text)
    return found


def test_numbers_that_json_does_not_have_are_objects_and_come_back():
    text = plain_json.dumps({"a": NUMBERS, "NaN": "NaN", "b": ({"float": "1"}, {"float": 1.0})})
    assert strict(text)["a"] == [0.1, {"float": "Infinity"}, {"float": "-Infinity"}, {"float": "NaN"}]
    again = plain_json.loads(text)
    assert again["a"][:3] == NUMBERS[:3] and math.isnan(again["a"][3])
    assert again["NaN"] == "NaN" and again["b"] == [{"float": "1"}, {"float": 1.0}]
    # As earlier versions wrote them.
    assert plain_json.loads("[Infinity, -Infinity, 1]") == [math.inf, -math.inf, 1]


def test_an_analysis_with_undefined_correlations():
    column = ColumnAnalysis(name="x", histogram=Histogram((0.0, 1.0), (2,)), mostFrequent=(("NaN", 2), ("Infinity", 1)))
    text = DataFrameAnalysis([column], Correlations(("x", "y"), ((1.0, math.nan), (math.nan, 1.0)))).toJSON()
    assert strict(text)["correlations"]["values"][0] == [1.0, {"float": "NaN"}]
    again = DataFrameAnalysis.fromJSON(text)
    assert again["x"] == column and math.isnan(again.correlations.values[0][1])


def test_summaries_of_trainings_that_diverged():
    summary = KerasTrainingSummary(
        {"loss": NUMBERS}, 4, 1, 10, 32, [64], [0], {}, 8, "xla", {"total": 1.0}, plan={"measured": {"s": math.nan}}
    )
    assert strict(summary.toJSON())["history"]["loss"][3] == {"float": "NaN"}
    again = KerasTrainingSummary.fromJSON(summary.toJSON())
    assert again.history["loss"][:3] == NUMBERS[:3] and math.isnan(again.history["loss"][3])
    result = EarlyStoppingResult("nonFiniteScore", "", "loss", dict(enumerate(NUMBERS)), None, None, 4, 1.0)
    assert strict(result.toJSON())["scores"]["2"] == {"float": "-Infinity"}
    scores = EarlyStoppingResult.fromJSON(result.toJSON()).scores
    assert scores[1] == math.inf and math.isnan(scores[3])


def test_a_process_with_infinite_and_undefined_constants():
    schema = Schema().double("x")
    process = TransformProcess(schema).replaceWhere("x", -math.inf, col("x") >= math.inf).constant("y", math.nan)
    text = process.toJSON()
    assert '{"float": "Infinity"}' in text and strict(text)["version"] == 1
    assert TransformProcess.fromJSON(text).toJSON() == text
