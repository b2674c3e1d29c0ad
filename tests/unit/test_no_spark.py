"""The guard of conftest.py: tests in this folder get no Spark."""

from __future__ import annotations

import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession


@pytest.mark.parametrize("start", [SparkContext, SparkContext.getOrCreate, SparkSession.builder.getOrCreate])
def test_a_unit_test_cannot_start_spark(start):
    with pytest.raises(pytest.fail.Exception, match="tests/spark"):
        start()


def test_a_unit_test_cannot_use_the_session_of_the_other_tests(request):
    with pytest.raises(pytest.fail.Exception, match="tests/spark"):
        request.getfixturevalue("spark")
    assert SparkSession.getActiveSession() is None
