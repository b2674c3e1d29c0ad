"""A round of training on a worker: state in, minibatches, state out; and the rule that chooses how to compile it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from spark_keras.keras_model import held
from spark_keras.keras_model.metrics import read_metrics
from spark_keras.keras_model.state import Layout, State, derived_from_weights, read, seed_variables, to_numpy, write
from spark_keras.programs import without_gain

# What XLA costs and saves, in seconds: to compile a round, beyond what TensorFlow's own graph takes; saved in a
# minibatch whatever the model, and for each weight, which an optimizer updates in one pass; lost for each
# floating-point operation, because oneDNN is faster, and for each random number. Fitted to 24 MLPs on one core: 10 to
# 1,900,000 weights, minibatches of 8 to 4,096 rows, with and without Dropout and BatchNormalization.
XLA_COMPILE_SECONDS = 1.3
XLA_SAVED_SECONDS = 2e-4
XLA_SAVED_SECONDS_PER_WEIGHT = 2.7e-9
XLA_LOST_SECONDS_PER_OPERATION = 1.5e-12
XLA_LOST_SECONDS_PER_RANDOM_NUMBER = 1e-8


class Choice(NamedTuple):
    """A kernel's name, and why it was chosen."""

    kernel: str
    reason: str


def choose(model: keras.Model, minibatches: int | None, batch_size: int, jit: bool | str = "auto") -> Choice:
    """The kernel for a model: "xla", "graph" or "steps", on JAX "scan", "jit" or "steps". A rule, not a timing: two
    kernels differ in the last bits, and a fit must not depend on which one was faster that day.

    Args:
        minibatches: how many each worker will train in the whole fit; None: unknown, and taken to be many.
        batch_size: rows in each.
        jit: the Param `jitCompile`; True and False leave the rule only what is possible.
    """
    possible = candidates(model)
    if len(possible) == 1:
        return Choice(possible[0], "the model or the backend asks for Keras' own steps")
    if jit != "auto":
        return Choice(possible[0] if jit else possible[-1], "Param jitCompile")
    if keras.backend.backend() == "jax":
        from spark_keras.training import jax_kernel

        return Choice(*jax_kernel.choose(model))
    if type(model).train_step is not keras.Model.train_step:
        return Choice("graph", "the model has a train_step of its own")
    other = without_gain(model)
    if other is not None:
        return Choice("graph", f"XLA is not known to gain with layer {other.name!r} ({type(other).__name__})")
    saved = _saved_by_xla(model, batch_size)
    if saved <= 0:
        return Choice("graph", f"XLA is not expected to gain with minibatches of {batch_size:,} rows")
    needed = math.ceil(XLA_COMPILE_SECONDS / saved)
    if minibatches is None:
        return Choice("xla", f'all layers gain from XLA; rows unknown: below {needed:,} minibatches it is "graph"')
    if minibatches < needed:
        return Choice("graph", f"{minibatches:,} minibatches per worker are too few for XLA ({needed:,} or more)")
    return Choice("xla", f"all layers gain from XLA, and {minibatches:,} minibatches per worker ({needed:,} or more)")


def _saved_by_xla(model: keras.Model, batch_size: int) -> float:
    """Seconds in each minibatch."""
    weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    # A weight of these layers is multiplied once forward and twice backward for each row.
    operations = 6 * batch_size * weights
    # One for each number that Dropout or a kind of noise lets through, where Keras has noted how many these are.
    random_layers = [layer for layer in model._flatten_layers() if hasattr(layer, "seed_generator")]
    shapes = [node.output_tensors[0].shape[1:] for layer in random_layers for node in layer._inbound_nodes[-1:]]
    random_numbers = batch_size * sum(math.prod(size or 1 for size in shape) for shape in shapes)
    return (
        XLA_SAVED_SECONDS
        + XLA_SAVED_SECONDS_PER_WEIGHT * weights
        - XLA_LOST_SECONDS_PER_OPERATION * operations
        - XLA_LOST_SECONDS_PER_RANDOM_NUMBER * random_numbers
    )


def candidates(model: keras.Model) -> list[str]:
    """The kernels that can run a model on this backend, the most compiled one first."""
    of_backend = {"tensorflow": ["xla", "graph"], "jax": ["scan", "jit", "steps"]}
    return ["steps"] if model.run_eagerly else of_backend.get(keras.backend.backend(), ["steps"])


def for_few_steps(kernel: str) -> str:
    """The kernel for evaluations and for the short last minibatch, which are too few to win back XLA's compiling."""
    return "graph" if kernel == "xla" else kernel


class Result(NamedTuple):
    """What a round gives back: the new state and the metric states of this round alone."""

    state: State
    metrics: np.ndarray


class StepsKernel:
    """Plain Keras steps, one call for each minibatch: for every backend, and for what cannot be compiled as a round.

    The later versions of Keras reset the metrics in each of these calls, so their states are added up here.
    """

    name = "steps"

    def __init__(self, model: keras.Model, layout: Layout):
        self.model, self.layout = model, layout
        self._steps = {name: getattr(model, name) for name in ("train_step", "test_step")}
        self._wrap_steps()

    def train(self, state: State, seeds: np.ndarray, batches: Any, first: int, steps: int) -> Result:
        self._write(state)
        self._seed(seeds)
        metrics: Any = np.zeros_like(read_metrics(self.model))
        for step in range(first, first + steps):
            self.model.reset_metrics()
            self.model.train_on_batch(*keras.utils.unpack_x_y_sample_weight(_minibatch(batches, step)))
            metrics = metrics + read_metrics(self.model)
        return Result(read(self.model, self.layout), metrics)

    def evaluate(self, state: State, batches: Any, steps: int) -> np.ndarray:
        """A model that is random when it predicts, too, draws the same numbers in each evaluation, on any worker."""
        self._write(state)
        self._seed(np.zeros((len(seed_variables(self.model)), 2), "int64"))
        metrics: Any = np.zeros_like(read_metrics(self.model))
        for step in range(steps):
            self.model.reset_metrics()
            self.model.test_on_batch(*keras.utils.unpack_x_y_sample_weight(_minibatch(batches, step)))
            metrics = metrics + read_metrics(self.model)
        return metrics

    def _wrap_steps(self) -> None:
        for name, step in self._steps.items():
            # Not as an attribute of a layer, which Keras would look at.
            vars(self.model)[name] = _as_in_fit(step)

    def _seed(self, seeds: np.ndarray) -> None:
        # On JAX, Keras compiles those in that no layer has: always the same.
        fixed = set(map(id, held.of(self.model).generators.values())) if keras.backend.backend() == "jax" else ()
        for variable, seed in zip(seed_variables(self.model), seeds):
            seed = np.zeros_like(seed) if id(variable) in fixed else seed
            variable.assign(seed.astype(keras.backend.standardize_dtype(variable.dtype)))
        if keras.backend.backend() == "torch" and len(seeds):
            import torch

            torch.manual_seed(int(seeds[0, 0]))  # Keras leaves a Dropout without a seed to PyTorch's own generator
            # And what nobody holds draws from Keras' own one, which no program tells of here.
            shared = held.global_state()
            shared.assign(seeds[0].astype(keras.backend.standardize_dtype(shared.dtype)))

    def _write(self, state: State) -> None:
        before = self._constants()
        write(self.model, self.layout, state)
        if not all(map(np.array_equal, before, self._constants())):
            # What Keras has compiled holds the old ones as constants, and JAX knows a function again.
            self._wrap_steps()
            self.model.make_train_function(force=True)
            self.model.make_test_function(force=True)

    def _constants(self) -> list[np.ndarray]:
        """What Keras compiles into its steps; on JAX all that its trainer does not pass on, too."""
        found = held.of(self.model) if keras.backend.backend() == "jax" else None
        unknown = [*found.variables.values(), *found.of_optimizers.values()] if found else []
        return [*derived_from_weights(self.model), *(to_numpy(each.value) for each in unknown)]


def make(name: str, model: keras.Model, layout: Layout) -> Any:
    if name == "steps":
        return StepsKernel(model, layout)
    if name in ("scan", "jit"):
        from spark_keras.training.jax_kernel import JaxKernel

        return JaxKernel(model, layout, scan=name == "scan")
    from spark_keras.training import graph_kernel

    return graph_kernel.make(model, layout, xla=name == "xla")


def _as_in_fit(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of training or evaluation that gets its data as `fit` gives them: `x` alone where there are no labels, and
    (x, y) where there are no weights, where `train_on_batch` gives (x, None, None); on PyTorch as tensors."""
    tensors = keras.backend.backend() == "torch"

    def given(array: Any) -> Any:
        return keras.ops.convert_to_tensor(array) if tensors and isinstance(array, np.ndarray) else array

    @functools.wraps(step)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        *state, data = arguments
        parts = keras.tree.map_structure(given, keras.utils.unpack_x_y_sample_weight(data))
        return step(*state, keras.utils.pack_x_y_sample_weight(*parts), **keywords)

    return wrapped


def _minibatch(batches: Any, step: int) -> Any:
    # An output without a label has None.
    return keras.tree.map_structure(lambda stacked: None if stacked is None else stacked[step], batches)
