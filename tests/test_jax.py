"""Keras on JAX, in processes of their own: a process has one Keras backend, and this one has TensorFlow."""

from __future__ import annotations

import pytest
from conftest import run_on_jax


@pytest.mark.slow
def test_rounds_on_jax_equal_plain_keras():
    run_on_jax("test_rounds.py", "jax_checks.py")


ANY_FREQUENCY = "test_training.py::test_one_worker_equals_plain_keras_at_any_frequency[adamw with decaying rate"


@pytest.mark.slow
def test_fit_and_transform_on_jax_give_what_they_give_on_tensorflow():
    run_on_jax(
        f"{ANY_FREQUENCY}-1-local[2]]",
        f"{ANY_FREQUENCY}-epoch-local[2]]",
        "test_training.py::test_convolutional_net_on_two_workers_equals_one_with_twice_the_batch",
        "test_training.py::test_metrics_over_two_workers_are_those_of_one_process[local[2]]",
        "test_workers.py::test_killed_worker_changes_no_bit[local[2]]",
        "test_transform.py::test_transform_equals_predict",
    )
