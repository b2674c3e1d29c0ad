"""The matrix of optimizers, losses and layers on JAX, in a process of its own."""

from __future__ import annotations

import pytest
from conftest import run_on_jax


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_worker_trains_on_jax_as_keras_does():
    run_on_jax("tests/long/test_keras_parity.py")
