"""Patterns of times that are refused at once."""

from __future__ import annotations

import pytest

from spark_keras.preparation import Schema, TransformProcess


@pytest.mark.parametrize(
    "pattern, message",
    [
        ("yyyy-MM-ddTHH", "with the letters \\['T'\\]"),
        ("YYYY", "with the letters \\['Y'\\]"),
        ("yyyy'T", "with a quote that does not end"),
        ("yyyy[-MM", "with a bracket that does not end"),
        ("", "Expected: a pattern such as"),
    ],
)
def test_invalid_time_patterns_are_refused_when_the_step_is_added(pattern, message):
    with pytest.raises(ValueError, match=f"Invalid pattern in step parseTime.*{message}"):
        TransformProcess(Schema().string("at")).parseTime("at", pattern)


def test_a_pattern_with_a_zone_reads_no_times_without_one():
    with pytest.raises(ValueError, match="which reads a zone, with zone=None"):
        TransformProcess(Schema().string("at")).parseTime("at", "yyyy-MM-dd XXX", zone=None)
