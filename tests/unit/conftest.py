"""The settings of tests without Spark."""

from __future__ import annotations

import keras
import pytest


@pytest.fixture(scope="package", autouse=True)
def programs_as_they_are():
    """Programs of TensorFlow that are not rewritten first, which takes longer than the few calls of each.

    Tests with Spark and of whole kernels have them rewritten, as users do.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
