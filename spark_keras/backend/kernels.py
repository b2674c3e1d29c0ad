"""The kernels, which run a round of training: one row for each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from spark_keras.backend.steps_round import StepsKernel
from spark_keras.keras_model.state import Layout


class Cost(NamedTuple):
    """The cost of a kernel beside its arithmetic, and the speed of that.

    Args:
        call: milliseconds of a call, which has up to 64 minibatches.
        step: milliseconds of a minibatch, whatever its size.
        gigaflops: of one core, in a second.
        update: gigabytes of state that an optimizer updates in a second.
    """

    call: float
    step: float
    gigaflops: float
    update: float


class Kernel(NamedTuple):
    """A way to run rounds.

    Args:
        backends: of Keras, on which it is a choice for any model.
        make: makes it for a model with this layout.
        cost: of its rounds.
        simpler: name of the kernel that runs a model which this one cannot compile; None: there is none.
        for_few_steps: name of the kernel for evaluations and for the short last minibatch, which are too few to win
            back what this one takes to compile; None: itself.
    """

    backends: tuple[str, ...]
    make: Callable[[keras.Model, Layout], Any]
    cost: Cost
    simpler: str | None = None
    for_few_steps: str | None = None


def _tensorflow(model: keras.Model, layout: Layout, xla: bool) -> Any:
    from spark_keras.backend import tensorflow_round

    return tensorflow_round.make(model, layout, xla)


def _jax(model: keras.Model, layout: Layout, scan: bool) -> Any:
    from spark_keras.backend.jax_round import JaxKernel

    return JaxKernel(model, layout, scan)


# The most compiled ones of a backend come first. Costs were fitted by hand to rounds of ten on one core (TensorFlow
# 2.21 with oneDNN, Keras 3.15, Adam): MLPs 100-128-64-10 with batch 32 and 784-1024-1024-10 with batches of 64 and 256,
# a LeNet with batch 64. "scan" has the speed of "xla", whose compiler it is; "jit" that of the LeNet, because it is for
# convolutions; "steps" is `Model.fit`, otherwise a "graph".
KERNELS = {
    "xla": Kernel(
        ("tensorflow",),
        functools.partial(_tensorflow, xla=True),
        Cost(call=0.6, step=0.01, gigaflops=110, update=5.0),
        simpler="graph",
        for_few_steps="graph",
    ),
    "graph": Kernel(
        ("tensorflow",),
        functools.partial(_tensorflow, xla=False),
        Cost(call=0.6, step=0.13, gigaflops=100, update=1.7),
        simpler="steps",
    ),
    "scan": Kernel(
        ("jax",),
        functools.partial(_jax, scan=True),
        Cost(call=0.1, step=0.01, gigaflops=110, update=5.0),
        simpler="steps",
    ),
    "jit": Kernel(
        ("jax",),
        functools.partial(_jax, scan=False),
        Cost(call=0.6, step=0.08, gigaflops=18, update=5.0),
        simpler="steps",
    ),
    "steps": Kernel(
        ("jax", "torch"),
        StepsKernel,
        Cost(call=0.6, step=1.2, gigaflops=100, update=1.7),
    ),
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
