"""The kernels, which run a round of training: one row for each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from spark_keras.backend.steps_round import StepsKernel
from spark_keras.keras_model.state import Layout


class Kernel(NamedTuple):
    """A way to run rounds.

    Args:
        backends: of Keras, on which it is a choice for any model.
        make: makes it for a model with this layout.
        simpler: name of the kernel that runs a model which this one cannot compile; None: there is none.
        for_few_steps: name of the kernel for evaluations and for the short last minibatch, which are too few to win
            back what this one takes to compile; None: itself.
    """

    backends: tuple[str, ...]
    make: Callable[[keras.Model, Layout], Any]
    simpler: str | None = None
    for_few_steps: str | None = None


def _tensorflow(model: keras.Model, layout: Layout, xla: bool) -> Any:
    from spark_keras.backend import tensorflow_round

    return tensorflow_round.make(model, layout, xla)


def _jax(model: keras.Model, layout: Layout, scan: bool) -> Any:
    from spark_keras.backend.jax_round import JaxKernel

    return JaxKernel(model, layout, scan)


# The most compiled ones of a backend come first.
KERNELS = {
    "xla": Kernel(("tensorflow",), functools.partial(_tensorflow, xla=True), simpler="graph", for_few_steps="graph"),
    "graph": Kernel(("tensorflow",), functools.partial(_tensorflow, xla=False), simpler="steps"),
    "scan": Kernel(("jax",), functools.partial(_jax, scan=True), simpler="steps"),
    "jit": Kernel(("jax",), functools.partial(_jax, scan=False), simpler="steps"),
    "steps": Kernel(("jax", "torch"), StepsKernel),
}


def make(name: str, model: keras.Model, layout: Layout) -> Any:
    """The kernel of this name, for a model with this layout."""
    return KERNELS[name].make(model, layout)


def candidates(model: keras.Model) -> list[str]:
    """Names of the kernels that can run a model on this backend, the most compiled one first."""
    of_backend = [name for name, kernel in KERNELS.items() if keras.backend.backend() in kernel.backends]
    return of_backend if of_backend and not model.run_eagerly else ["steps"]


def for_few_steps(name: str) -> str:
    """The kernel for evaluations and for the short last minibatch."""
    return KERNELS[name].for_few_steps or name
