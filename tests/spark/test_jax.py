"""Keras on JAX, in a process of its own: a process has one Keras backend, and this one has TensorFlow."""

from __future__ import annotations

import pytest
from conftest import run_on_jax


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_rounds_fit_and_transform_on_jax_give_what_they_give_on_tensorflow():
    run_on_jax("@tests/on_each_backend.txt", "tests/jax_checks.py")
