"""Spark Connect, in a process of its own."""

from __future__ import annotations

import pytest
from conftest import run_on_jax


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_analysis_and_preparation_work_on_spark_connect():
    # JAX, because it is imported in a fraction of the time.
    run_on_jax("tests/connect_checks.py")
