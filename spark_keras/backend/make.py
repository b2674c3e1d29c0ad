"""Kernels by their names."""

from __future__ import annotations

from typing import Any

import keras

from spark_keras.backend.steps_round import StepsKernel
from spark_keras.keras_model.state import Layout


def make(name: str, model: keras.Model, layout: Layout) -> Any:
    if name == "steps":
        return StepsKernel(model, layout)
    if name in ("scan", "jit"):
        from spark_keras.backend.jax_round import JaxKernel

        return JaxKernel(model, layout, scan=name == "scan")
    from spark_keras.backend import tensorflow_round

    return tensorflow_round.make(model, layout, xla=name == "xla")
