"""A round of plain Keras steps, on every backend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from spark_keras.backend.arrays import minibatch
from spark_keras.backend.base import Result
from spark_keras.keras_model import frozen, held
from spark_keras.keras_model.metrics import read_metrics
from spark_keras.keras_model.state import Layout, State, derived_from_weights, read, seed_variables, to_numpy, write


class StepsKernel:
    """Plain Keras steps, one call for each minibatch: for every backend, and for what cannot be compiled as a round.

    The later versions of Keras reset the metrics in each of these calls, so their states are added up here.
    """

    name = "steps"

    def __init__(self, model: keras.Model, layout: Layout):
        self.model, self.layout = model, layout
        self._steps = {name: getattr(model, name) for name in ("train_step", "test_step")}
        self._frozen = frozen.of(model) if keras.backend.backend() == "torch" else []
        self._wrap_steps()

    def train(self, state: State, seeds: np.ndarray, batches: Any, first: int, steps: int) -> Result:
        self._write(state)
        self._seed(seeds)
        before = frozen.versions(self._frozen)
        metrics = self._summed(self.model.train_on_batch, batches, range(first, first + steps))
        # The other backends have told it before: they compile the step, and show what it assigns.
        for variable in frozen.written_since(self._frozen, before):
            raise frozen.Assigned(variable)
        return Result(read(self.model, self.layout), metrics)

    def evaluate(self, state: State, batches: Any, steps: int) -> np.ndarray:
        """A model that is random when it predicts, too, draws the same numbers in each evaluation, on any worker."""
        self._write(state)
        self._seed(np.zeros((len(seed_variables(self.model)), 2), "int64"))
        return self._summed(self.model.test_on_batch, batches, range(steps))

    def _summed(self, step: Callable[..., Any], batches: Any, places: Iterable[int]) -> Any:
        """Takes a step with each of these minibatches; the sum of the metrics' states after them."""
        metrics = np.zeros_like(read_metrics(self.model))
        for place in places:
            self.model.reset_metrics()
            step(*keras.utils.unpack_x_y_sample_weight(minibatch(batches, place)))
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
        """Values that Keras compiles into its steps; on JAX all that its trainer does not pass on, too."""
        found = held.of(self.model) if keras.backend.backend() == "jax" else None
        unknown = [*found.variables.values(), *found.of_optimizers.values()] if found else []
        return [*derived_from_weights(self.model), *(to_numpy(each.value) for each in unknown)]


def _as_in_fit(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of training or evaluation that gets its data as `fit` gives them: `x` alone where there are no labels, and
    (x, y) where there are no weights, where `train_on_batch` gives (x, None, None); on PyTorch as tensors.
    """
    tensors = keras.backend.backend() == "torch"

    def given(array: Any) -> Any:
        return keras.ops.convert_to_tensor(array) if tensors and isinstance(array, np.ndarray) else array

    @functools.wraps(step)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        *state, data = arguments
        parts = keras.tree.map_structure(given, keras.utils.unpack_x_y_sample_weight(data))
        return step(*state, keras.utils.pack_x_y_sample_weight(*parts), **keywords)

    return wrapped
