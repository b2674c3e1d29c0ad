"""The forward pass of a model, compiled for batches of one size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from spark_keras.backend.tensorflow_program import Program
from spark_keras.backend.xla_rule import forward_gains


def compiled(model: keras.Model, batch_size: int) -> Callable[[Any], Any]:
    """A function from inputs, in the form in which the model takes them, to its outputs, nested as the model's own or
    flat.
    """
    if keras.backend.backend() == "tensorflow":
        return Program(lambda x: model(x, training=False), xla=forward_gains(model, batch_size))
    if keras.backend.backend() == "jax" and model.jit_compile:
        return _jax_program(model)
    return model.predict_on_batch


def _jax_program(model: keras.Model) -> Callable[[Any], Any]:
    import jax

    weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    # Weights are arguments: as constants, XLA would compile them in.
    program = jax.jit(lambda weights, x: model.predict_step(weights, (x,))[0])
    return lambda x: program(weights, x)
